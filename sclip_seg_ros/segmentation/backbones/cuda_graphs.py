"""CUDA graphs: a fixed sequence of kernels, recorded once and launched as one.

A small tower has some hundred kernels of a few microseconds each; launching them one by one takes
longer than running them. A graph holds for one shape of the input and for tensors that stay where
they are. So it is recorded at warm-up, kept only where a trial finds it faster, and not used for
anything else than what was recorded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sclip_seg_ros.common.text import first_line

WARM_UP, TRIALS = 3, 10  # calls
GAIN = 0.98              # share of the eager time below which a graph is worth its memory
MOST = 32                # recordings of a function, each of which takes memory; the oldest goes

Call = Callable[[Tensor], Tensor]

# The second is its name before torch 2.8.
_END_ALLOCATION = ("_cuda_endAllocateToPool", "_cuda_endAllocateCurrentStreamToPool")

_log = logging.getLogger(__name__)
# torch bears one recording at a time in a process, and all of a device's share a stream.
_one_recording = threading.Lock()


@dataclass(frozen=True)
class Recording:
    """A recorded call.

    Attributes:
        replay: runs it on an input of the recorded shape.
        constants: what it reads besides its input and the weights. A graph knows addresses alone:
            once freed, the memory would be another tensor's.
    """

    replay: Call
    constants: object


class Replayed:
    """A function of one tensor that is replayed for the shapes it was recorded for.

    Attributes:
        failure: why the last recording failed; None while none has.
    """

    def __init__(self, call: Call, place: Callable[[], object],
                 constants: Callable[[Tensor], object] = lambda argument: None) -> None:
        """Hold a function.

        Args:
            call: to be run; nothing in it may depend on the input's values or wait for the device.
            place: returns an object that stands for the weights' place in memory. Recordings go,
                and their memory with them, when nobody holds that object any more.
            constants: returns the tensors other than weights that a call reads.
        """
        self.failure: str | None = None
        self._call = call
        self._place = place
        self._constants = constants
        self._recordings: WeakKeyDictionary[object, dict[object, Recording]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, argument: Tensor) -> Tensor:
        """Run the function, as a graph where there is one that holds."""
        shape, recordings = _shape(argument), self._recordings.get(self._place(), {})
        with self._lock:  # a recording has one place for its input, whichever thread brings it
            if shape in recordings:
                recordings[shape] = recordings.pop(shape)  # the newest in use stands last
                return recordings[shape].replay(argument)
        return self._call(argument)

    def record(self, argument: Tensor) -> None:
        """Record the function for inputs like this one, and keep that if it is faster."""
        shape, recordings = _shape(argument), self._recordings.setdefault(self._place(), {})
        if shape in recordings:
            return
        try:
            # Graphs and events belong to the current device.
            with _one_recording, torch.cuda.device_of(argument):
                replay = capture(self._call, argument)
                eager, replayed = (milliseconds(call, argument) for call in (self._call, replay))
        except RuntimeError as error:  # an operation that cannot be recorded, or memory
            self.failure = first_line(error)
            _log.warning("the image tower cannot be recorded as a CUDA graph (%s); its kernels are "
                         "launched one by one", self.failure)
            return
        kept = replayed < GAIN * eager
        _log.info("image tower on %s: %.2f ms launched one by one, %.2f ms as a CUDA graph, %s",
                  shape[0], eager, replayed, "which is kept" if kept else "which is dropped")
        if kept:
            with self._lock:
                recordings[shape] = Recording(replay, self._constants(argument))
                if len(recordings) > MOST:
                    del recordings[next(iter(recordings))]


def capture(call: Call, argument: Tensor) -> Call:
    """Record a call as a CUDA graph on the current device; the function returned replays it.

    Other threads may go on using the device meanwhile, on streams of their own.

    Raises:
        RuntimeError: what is called cannot be recorded.
    """
    source, graph = argument.clone(), torch.cuda.CUDAGraph()
    device, pool = torch.cuda.current_device(), torch.cuda.graph_pool_handle()
    stream = _side_stream(device)
    stream.wait_stream(torch.cuda.current_stream())
    try:
        # A statement of its own: torch does not leave the stream where ending a capture fails.
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):  # libraries set themselves up at first use, with no kernel
                call(source)
            # "thread_local": by default CUDA refuses memory to all threads while one captures, and
            # so a word encoded in another thread would fail, and spoil the graph.
            with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
                output = call(source)
    except RuntimeError:
        _end_allocation(device, pool)
        raise
    torch.cuda.current_stream().wait_stream(stream)

    @torch.inference_mode()  # the mode that the input's copy was made in
    def replay(argument: Tensor) -> Tensor:
        source.copy_(argument)
        graph.replay()
        return output.clone()  # the next replay overwrites it

    return replay


def _end_allocation(device: int, pool: tuple[int, int]) -> None:
    """Tell torch's allocator that a failed recording is over.

    Where CUDA refuses to end a recording, torch leaves out what it would do next, and from then on
    refuses to give any memory back: ``torch.cuda.empty_cache`` raises.
    """
    name = next(name for name in _END_ALLOCATION if hasattr(torch._C, name))
    try:
        getattr(torch._C, name)(device, pool)
    except RuntimeError:  # torch has ended it
        return
    torch._C._cuda_releasePool(device, pool)


@lru_cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """Return the stream for recordings, one a device: cuBLAS keeps memory for every stream."""
    return torch.cuda.Stream(device)


def give_back_device_memory() -> None:
    """Let go of the device memory that no tensor needs, which torch refuses amid a recording."""
    with _one_recording:
        torch.cuda.empty_cache()


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
