"""CUDA graphs: a fixed sequence of kernels, recorded once and launched as one.

A small tower has some hundred kernels of a few microseconds each; launching them one by one takes
longer than running them. A graph holds for one shape of the input and for weights that stay where
they are. So it is recorded at warm-up, kept only where a trial finds it faster, and not used for
anything else than what was recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

WARM_UP, TRIALS = 3, 10  # calls
GAIN = 0.98              # share of the eager time below which a graph is worth its memory

Call = Callable[[Tensor], Tensor]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """A recorded call.

    Attributes:
        replay: runs it on an input of the recorded shape.
        weights: state of the weights it was recorded with.
    """

    replay: Call
    weights: object


class Replayed:
    """A function of one tensor that is replayed for the shapes it was recorded for.

    Attributes:
        failure: why the last recording failed; None while none has.
    """

    def __init__(self, call: Call, weights: Callable[[], object]) -> None:
        """Hold a function.

        Args:
            call: to be run; nothing in it may depend on the input's values or wait for the device.
            weights: tells the state of the weights by a value that changes when they move.
        """
        self.failure: str | None = None
        self._call = call
        self._weights = weights
        self._recordings: dict[object, Recording] = {}

    def __call__(self, argument: Tensor) -> Tensor:
        """Run the function, as a graph where there is one that holds."""
        recording = self._recordings.get(_shape(argument))
        if recording is None or recording.weights != self._weights():
            return self._call(argument)
        return recording.replay(argument)

    def record(self, argument: Tensor) -> None:
        """Record the function for inputs like this one, and keep that if it is faster."""
        shape = _shape(argument)
        recording = self._recordings.pop(shape, None)
        if recording is not None and recording.weights == self._weights():
            self._recordings[shape] = recording
            return
        try:
            with torch.cuda.device_of(argument):  # graphs and events belong to the current device
                replay = capture(self._call, argument)
                eager, replayed = (milliseconds(call, argument) for call in (self._call, replay))
        except RuntimeError as error:  # an operation that cannot be recorded, or memory
            self.failure = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            _log.warning("the image tower cannot be recorded as a CUDA graph (%s); its kernels are "
                         "launched one by one", self.failure)
            return
        kept = replayed < GAIN * eager
        _log.info("image tower on %s: %.2f ms launched one by one, %.2f ms as a CUDA graph, %s",
                  shape[0], eager, replayed, "which is kept" if kept else "which is dropped")
        if kept:
            self._recordings[shape] = Recording(replay, self._weights())


def capture(call: Call, argument: Tensor) -> Call:
    """Record a call as a CUDA graph; the function returned replays it.

    Raises:
        RuntimeError: what is called cannot be recorded.
    """
    source = argument.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries set themselves up at first use, which is no kernel
        for _ in range(WARM_UP):
            call(source)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call(source)

    def replay(argument: Tensor) -> Tensor:
        source.copy_(argument)
        graph.replay()
        return output.clone()  # the next replay overwrites it

    return replay


def milliseconds(call: Call, argument: Tensor) -> float:
    """Return the time of one of several calls on a CUDA device."""
    for _ in range(WARM_UP):
        call(argument)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(TRIALS):
        call(argument)
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / TRIALS


def _shape(argument: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
    return tuple(argument.shape), argument.dtype
