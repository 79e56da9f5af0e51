"""The node: a lifecycle, parameters and diagnostics around an engine."""

from __future__ import annotations

import atexit
import gc
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from sclip_seg_ros.common.heap import give_back_freed_memory
from sclip_seg_ros.common.text import in_number
from sclip_seg_ros.models import WeightsError
from sclip_seg_ros.ros.diagnostics.health import health_of
from sclip_seg_ros.ros.diagnostics.publisher import Diagnostics
from sclip_seg_ros.ros.diagnostics.verdict import Verdict
from sclip_seg_ros.ros.engine import Engine
from sclip_seg_ros.ros.log import describe, drop_tracebacks, forward_logs, stop_forwarding
from sclip_seg_ros.ros.parameters.groups import WORDS
from sclip_seg_ros.ros.parameters.options import (
    check_change,
    configured_options,
    declare_parameters,
    read_options,
)
from sclip_seg_ros.ros.parameters.pending_changes import Refusal
from sclip_seg_ros.ros.parameters.without_effect import (
    warn_of_idle_qos,
    warn_of_idle_remappings,
    warn_of_others,
    warn_of_unknown,
)
from sclip_seg_ros.ros.services import Answer, Services
from sclip_seg_ros.segmentation.backbones.cuda_graphs import give_back_device_memory

NAME = "sclip_seg"
DEACTIVATE_SECONDS = 10.0  # for the frames in work
_TELLING = (WeightsError, ValueError, OSError)  # whose text says it all


_Transition = Callable[["SegmentNode", LifecycleState], TransitionCallbackReturn]


def _telling(transition: _Transition) -> _Transition:
    """Have a transition say what it raises, which rclpy would swallow."""
    @wraps(transition)
    def run(node: SegmentNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            drop_tracebacks(error)
            node.say(error)
            return TransitionCallbackReturn.ERROR
    return run


class SegmentNode(LifecycleNode):
    """Label camera images with any words.

    ``configure`` loads the weights and creates the outputs, ``activate`` warms up and subscribes,
    ``deactivate`` gives the device's memory back, ``cleanup`` forgets the weights.
    """

    def __init__(self, process_arguments: Sequence[str] = (), **arguments: Any) -> None:
        """Declare the parameters; nothing is loaded before ``configure``.

        Args:
            process_arguments: of a process that runs this node alone; what of them has no effect
                is told.
            arguments: of :class:`rclpy.lifecycle.LifecycleNode`.

        Raises:
            ValueError, OSError, rclpy.exceptions.ParameterException: a parameter that cannot be
                used.
        """
        self._engine: Engine | None = None
        self._diagnostics: Diagnostics | None = None
        self._at_rest: Verdict | None = Verdict.UNCONFIGURED  # None while it works on frames
        self._starting = False
        self._next_version = 1
        self._going_back = False
        self._process_arguments = process_arguments
        self._tasks: deque[Callable[[], None]] = deque()
        super().__init__(NAME, **arguments)
        _nodes.add(self)
        self.context.on_shutdown(self._end_threads)  # up to Jazzy that destroys no node
        forward_logs(self.get_logger())
        options = declare_parameters(self)
        warn_of_unknown(self)
        warn_of_others(self, process_arguments)
        self.autostart: bool = options.values["autostart"]
        self._wake = self.create_guard_condition(self._run_tasks)
        self.add_on_set_parameters_callback(self._on_change)
        self._offered = Services(self, self._words_of_file, self._take_words, self._judge_words,
                                 self._version,
                                 lambda: self._at_rest.word if self._at_rest else "")
        if not self.autostart:
            self.get_logger().info(
                "not configured; waiting for `ros2 lifecycle set "
                f"{self.get_fully_qualified_name()} configure`, then `activate`")
        self._diagnostics = Diagnostics(self, lambda: health_of(self._engine, self._at_rest))

    def start(self) -> bool:
        """Configure and activate, as ``autostart`` asks for; return whether both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        self._starting = True
        try:
            return self.trigger_configure() == success and self.trigger_activate() == success
        finally:
            self._starting = False

    def stop(self, seconds: float) -> bool:
        """End the threads; return whether all ended within so many seconds."""
        deadline = time.monotonic() + seconds
        ended = self._diagnostics is None or self._diagnostics.stop(seconds)
        if self._engine is not None and self._engine.close(max(0.0, deadline - time.monotonic())):
            self._engine = None
        return ended and self._engine is None

    def destroy_node(self) -> None:
        """End the threads, and let go of everything in the middleware."""
        self._end_threads()
        stop_forwarding(self.get_logger())
        super().destroy_node()

    @_telling
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights, encode the words and create the outputs."""
        try:
            self._engine = Engine(self, configured_options(self), self._on_refused,
                                  self._next_version, self._on_words)
        except Exception as error:
            drop_tracebacks(error)
            failure = self._failed(error)
        else:
            self._at_rest = Verdict.INACTIVE
            if not self._starting:
                self.get_logger().info("configured; waiting for `ros2 lifecycle set "
                                       f"{self.get_fully_qualified_name()} activate`")
            return TransitionCallbackReturn.SUCCESS
        _give_memory_back()  # that of weights which were loaded before something else failed
        give_back_device_memory()
        return failure

    @_telling
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Bring the model to its device, warm up, and subscribe to the cameras."""
        engine = self._configured
        try:
            engine.activate()
        except Exception as error:  # e.g. out of the device's memory
            drop_tracebacks(error)
            failure = self._failed(error)
            engine.deactivate(DEACTIVATE_SECONDS)
            return failure
        self._at_rest = None
        warn_of_idle_qos(self)
        warn_of_idle_remappings(self, self._process_arguments)
        self._announce_start()
        return TransitionCallbackReturn.SUCCESS

    @_telling
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Label no more frames and give the device's memory back."""
        self._at_rest = Verdict.DEACTIVATING
        engine = self._configured
        if not engine.deactivate(DEACTIVATE_SECONDS):
            engine.resume()
            self._at_rest = None
            return self._failed(TimeoutError(
                f"a frame is still being worked on after {DEACTIVATE_SECONDS:g} s; the node stays "
                "active, deactivate it again"))
        self._at_rest = Verdict.INACTIVE
        self._offered.look()
        self.get_logger().info("inactive; the device's memory is free")
        return TransitionCallbackReturn.SUCCESS

    @_telling
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the weights and take the outputs down."""
        if not self._close_engine():
            return self._failed(TimeoutError("a word is still being encoded after "
                                             f"{DEACTIVATE_SECONDS:g} s; try again"))
        self._at_rest = Verdict.UNCONFIGURED
        return TransitionCallbackReturn.SUCCESS

    @_telling
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working and give all memory back; the process stays until it is told to end."""
        self._at_rest = Verdict.SHUT_DOWN
        if self._engine is not None \
                and not (self._engine.deactivate(DEACTIVATE_SECONDS) and self._close_engine()):
            self._say_stuck()
        return TransitionCallbackReturn.SUCCESS

    @_telling
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take everything down after a transition that raised, so that it may be tried anew."""
        if self._engine is not None and not self._close_engine():
            self._at_rest = Verdict.SHUT_DOWN
            self._say_stuck()
            return TransitionCallbackReturn.FAILURE
        self._at_rest = Verdict.UNCONFIGURED
        return TransitionCallbackReturn.SUCCESS

    @property
    def _configured(self) -> Engine:
        """The engine that ``configure`` made; rclpy allows no other order of transitions."""
        if self._engine is None:
            raise RuntimeError("the node is not configured")
        return self._engine

    def say(self, error: Exception) -> None:
        """Log an exception in one line."""
        text = str(error) if isinstance(error, _TELLING) else describe(error)
        log = self.get_logger().fatal if self._starting else self.get_logger().error
        log(" ".join(text.split()))

    def _failed(self, error: Exception) -> TransitionCallbackReturn:
        """Say why a transition failed; with the start, the process fails too."""
        self.say(error)
        return TransitionCallbackReturn.FAILURE

    def _end_threads(self) -> None:
        if not self.stop(DEACTIVATE_SECONDS):
            self.get_logger().warning("a thread is still at work, and the node goes all the same")

    def _say_stuck(self) -> None:
        self.get_logger().error("a frame or a word is still being worked on after "
                                f"{DEACTIVATE_SECONDS:g} s; end the process")

    def _close_engine(self) -> bool:
        """Take the engine down and let its memory go; return whether its threads ended in time."""
        engine = self._configured
        if not engine.close(DEACTIVATE_SECONDS):
            return False
        # A version names one vocabulary as long as the process lives.
        self._next_version = engine.vocabularies.current.version + 1
        self._engine = None
        del engine  # it holds the weights, whose memory is to go
        self._offered.look()
        _give_memory_back()
        return True

    def _on_change(self, changes: list[Parameter]) -> SetParametersResult:
        """Check a change; what it becomes is read once it is made, after this callback."""
        result = check_change(self, changes, self._engine.ladder if self._engine else None,
                              self._going_back)
        if result.successful:
            self._later(self._take_parameters)
        return result

    def _take_parameters(self) -> None:
        if self._engine is not None:
            self._engine.options = read_options(self, configured=True)
        self._offered.look()

    def _take_words(self) -> tuple[Any, ...]:
        self._take_parameters()
        return self._words()

    def _words(self) -> tuple[Any, ...]:
        return WORDS.of(read_options(self, self._engine is not None))

    def _words_of_file(self) -> str:
        """Return why words make no difference now, empty where they do."""
        file = self.get_parameter("vocabulary_file").value
        return "" if self._engine is not None or not file else \
            (f"the words will be those of vocabulary_file='{file}', which is read when the node is "
             "configured; change them after that, or set vocabulary_file to ''")

    def _judge_words(self, words: tuple[Any, ...]) -> Answer | None:
        """Return what became of words that were asked for; None while they are encoded."""
        engine = self._engine
        if obstacle := self._words_of_file():
            return Answer(False, obstacle, self._next_version)
        if words != self._words():
            return Answer(False, "other words have been asked for meanwhile", self._version())
        if engine is None:
            return Answer(True, "they hold once the node is configured", self._next_version)
        found = engine.vocabularies.version_of(words)
        if found is None:
            return None
        version, in_force = found
        if in_force:
            return Answer(True, "they hold", version)
        return None if self._at_rest is None else \
            Answer(True, "they hold once the node is active", version)

    def _version(self) -> int:
        """Return the version of the vocabulary in force; before there is one, of the first."""
        engine = self._engine
        return engine.vocabularies.current.version if engine is not None else self._next_version

    def _on_words(self) -> None:
        self._later(self._offered.look)

    def _on_refused(self, refusal: Refusal) -> None:
        self._later(lambda: self._undo(refusal))

    def _undo(self, refusal: Refusal) -> None:
        if refusal.part is WORDS:
            self._offered.refuse(WORDS.of(refusal.asked), str(refusal))
        self._going_back = True
        try:
            refusal.undo(self)
        finally:
            self._going_back = False

    def _later(self, task: Callable[[], None]) -> None:
        """Run something in the executor's thread, where parameters belong, once there is one."""
        self._tasks.append(task)
        self._wake.trigger()

    def _run_tasks(self) -> None:
        while self._tasks:
            self._tasks.popleft()()

    def _announce_start(self) -> None:
        engine = self._configured
        segmentor, vocabulary = engine.segmentor, engine.vocabularies.current
        self.get_logger().info(
            f"'{segmentor.name}' on {segmentor.device} in {segmentor.precision}, attention "
            f"'{segmentor.pipeline.attention}', {segmentor.pipeline.inference}, "
            f"{in_number(len(vocabulary), 'class')}; quality "
            f"levels: {', '.join(engine.quality.state.names)}")
        for camera in engine.cameras:
            self.get_logger().info(f"{camera.topic} -> {', '.join(camera.outputs.topics)}")
        self.get_logger().info("ready")


_nodes: weakref.WeakSet[SegmentNode] = weakref.WeakSet()


@atexit.register
def _end_all_threads() -> None:
    """End what nobody ended: a thread that is inside torch when Python goes aborts the process.

    A signal takes the context away without telling anybody.
    """
    for node in list(_nodes):
        node._end_threads()


def _give_memory_back() -> None:
    """Let the system have the memory of an engine that nobody refers to any more."""
    gc.collect()  # model and threads know each other, which alone would keep the weights
    give_back_freed_memory()
