"""The node: a lifecycle, parameters and diagnostics around an engine."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from sclip_seg_ros.io.heap import give_back_freed_memory
from sclip_seg_ros.models import WeightsError
from sclip_seg_ros.ros.diagnostics import Diagnostics
from sclip_seg_ros.ros.engine import Engine
from sclip_seg_ros.ros.errors import describe, drop_tracebacks
from sclip_seg_ros.ros.health import ACTIVE, health_of
from sclip_seg_ros.ros.ledger import Refusal
from sclip_seg_ros.ros.log_bridge import forward_logs
from sclip_seg_ros.ros.parameters import (
    NodeOptions,
    check_change,
    configured_options,
    declare_parameters,
    read_values,
    warn_of_unknown,
)
from sclip_seg_ros.segmentation.replay import give_back_device_memory

NAME = "sclip_seg"
# Phases beside ACTIVE.
UNCONFIGURED, INACTIVE, SHUT_DOWN = "not configured", "inactive", "shut down"
DEACTIVATING = "being deactivated"
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

    def __init__(self, **arguments: Any) -> None:
        """Declare the parameters; nothing is loaded before ``configure``.

        Args:
            arguments: of :class:`rclpy.lifecycle.LifecycleNode`.

        Raises:
            ValueError, OSError, rclpy.exceptions.ParameterException: a parameter that cannot be
                used.
        """
        self._engine: Engine | None = None
        self._diagnostics: Diagnostics | None = None
        self._phase = UNCONFIGURED
        self._starting = False
        self._next_version = 1
        self._going_back = False
        self._tasks: deque[Callable[[], None]] = deque()
        super().__init__(NAME, **arguments)
        forward_logs(self.get_logger())
        options = declare_parameters(self)
        warn_of_unknown(self)
        self.autostart: bool = options.values["autostart"]
        self._wake = self.create_guard_condition(self._run_tasks)
        self.add_on_set_parameters_callback(self._on_change)
        if not self.autostart:
            self.get_logger().info("not configured; waiting for a lifecycle transition")
        self._diagnostics = Diagnostics(self, lambda: health_of(self._engine, self._phase))

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
        if not self.stop(DEACTIVATE_SECONDS):
            self.get_logger().warning("destroyed, though a thread is still at work")
        super().destroy_node()

    @_telling
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights, encode the words and create the outputs."""
        try:
            self._engine = Engine(self, configured_options(self), self._on_refused,
                                  self._next_version)
        except Exception as error:
            drop_tracebacks(error)
            failure = self._failed(error)
        else:
            self._phase = INACTIVE
            return TransitionCallbackReturn.SUCCESS
        _give_memory_back()  # that of weights which were loaded before something else failed
        give_back_device_memory()
        return failure

    @_telling
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Bring the model to its device, warm up, and subscribe to the cameras."""
        try:
            self._engine.activate()
        except Exception as error:  # e.g. out of the device's memory
            drop_tracebacks(error)
            failure = self._failed(error)
            self._engine.deactivate(DEACTIVATE_SECONDS)
            return failure
        self._phase = ACTIVE
        self._announce_start()
        return TransitionCallbackReturn.SUCCESS

    @_telling
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Label no more frames and give the device's memory back."""
        self._phase = DEACTIVATING
        if not self._engine.deactivate(DEACTIVATE_SECONDS):
            self._engine.resume()
            self._phase = ACTIVE
            return self._failed(TimeoutError(
                f"a frame is still being worked on after {DEACTIVATE_SECONDS:g} s; the node stays "
                "active, deactivate it again"))
        self._phase = INACTIVE
        self.get_logger().info("inactive; the device's memory is free")
        return TransitionCallbackReturn.SUCCESS

    @_telling
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the weights and take the outputs down."""
        if not self._close_engine():
            return self._failed(TimeoutError("a word is still being encoded after "
                                             f"{DEACTIVATE_SECONDS:g} s; try again"))
        self._phase = UNCONFIGURED
        return TransitionCallbackReturn.SUCCESS

    @_telling
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working and give all memory back; the process stays until it is told to end."""
        self._phase = SHUT_DOWN
        if self._engine is not None \
                and not (self._engine.deactivate(DEACTIVATE_SECONDS) and self._close_engine()):
            self._say_stuck()
        return TransitionCallbackReturn.SUCCESS

    @_telling
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take everything down after a transition that raised, so that it may be tried anew."""
        if self._engine is not None and not self._close_engine():
            self._phase = SHUT_DOWN
            self._say_stuck()
            return TransitionCallbackReturn.FAILURE
        self._phase = UNCONFIGURED
        return TransitionCallbackReturn.SUCCESS

    def say(self, error: Exception) -> None:
        """Log an exception in one line."""
        text = str(error) if isinstance(error, _TELLING) else describe(error)
        log = self.get_logger().fatal if self._starting else self.get_logger().error
        log(" ".join(text.split()))

    def _failed(self, error: Exception) -> TransitionCallbackReturn:
        """Say why a transition failed; with the start, the process fails too."""
        self.say(error)
        return TransitionCallbackReturn.FAILURE

    def _say_stuck(self) -> None:
        self.get_logger().error("a frame or a word is still being worked on after "
                                f"{DEACTIVATE_SECONDS:g} s; end the process")

    def _close_engine(self) -> bool:
        """Take the engine down and let its memory go; return whether its threads ended in time."""
        if not self._engine.close(DEACTIVATE_SECONDS):
            return False
        # A version names one vocabulary as long as the process lives.
        self._next_version = self._engine.vocabularies.current.version + 1
        self._engine = None
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
            self._engine.options = NodeOptions.from_values(read_values(self))

    def _on_refused(self, refusal: Refusal) -> None:
        self._later(lambda: self._undo(refusal))

    def _undo(self, refusal: Refusal) -> None:
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
        engine = self._engine
        segmentor, vocabulary = engine.segmentor, engine.vocabularies.current
        self.get_logger().info(
            f"'{segmentor.name}' on {segmentor.device} in {segmentor.precision}, "
            f"{len(vocabulary)} classes; quality levels: "
            f"{', '.join(engine.quality.state.names)}")
        for camera in engine.cameras:
            self.get_logger().info(f"{camera.topic} -> {', '.join(camera.outputs.topics)}")
        self.get_logger().info("ready")


def _give_memory_back() -> None:
    """Let the system have the memory of an engine that nobody refers to any more."""
    gc.collect()  # model and threads know each other, which alone would keep the weights
    give_back_freed_memory()
