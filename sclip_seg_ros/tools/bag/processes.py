"""Several recordings at a time, each in a process of its own."""

from __future__ import annotations

import argparse
import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch
from tqdm import tqdm

from sclip_seg_ros.common.cores import usable_cores
from sclip_seg_ros.common.streams import outlive_listeners
from sclip_seg_ros.tools.bag import processing
from sclip_seg_ros.tools.bag.processing import Outcome, load, process
from sclip_seg_ros.tools.console import USER_ERRORS
from sclip_seg_ros.tools.failures import unexpected

# Neither threads nor CUDA survive a fork; so it is one of a process that has imported the libraries
# and done nothing else. Importing them takes seconds, for each recording.
_CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class _Job:
    """A process at work: index of its recording, line of its progress bar, itself, its answer."""

    index: int
    line: int
    child: ForkServerProcess
    pipe: Connection


def process_side_by_side(arguments: argparse.Namespace) -> Iterator[Outcome]:
    """Yield the outcome of each recording as it is done.

    Each process loads the model for itself. When the iterator is closed, by an interruption, the
    processes are ended; what they have finished is safe on disk.
    """
    waiting = list(range(len(arguments.bags)))[::-1]
    free_lines = list(range(arguments.jobs))[::-1]
    lock = _CONTEXT.RLock()
    running: dict[Connection, _Job] = {}
    _CONTEXT.set_forkserver_preload([processing.__name__])
    try:
        while waiting or running:
            while waiting and free_lines:
                job = _start(waiting.pop(), free_lines.pop(), arguments, lock)
                running[job.pipe] = job
            ready = wait(list(running))
            for pipe in [pipe for pipe in running if pipe in ready]:
                job = running.pop(pipe)
                free_lines.append(job.line)
                yield _receive(job, arguments.targets[job.index])
    finally:
        for job in running.values():
            job.child.terminate()
        for job in running.values():
            job.child.join()


def _start(index: int, line: int, arguments: argparse.Namespace, lock: object) -> _Job:
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    child = _CONTEXT.Process(target=_work, args=(theirs, index, line, arguments, lock),
                             daemon=True)
    child.start()
    theirs.close()
    return _Job(index, line, child, ours)


def _receive(job: _Job, target: Path) -> Outcome:
    """Return what a process sent, or say that it died."""
    try:
        outcome = job.pipe.recv()
    except EOFError:
        outcome = None
    job.child.join()
    if outcome is None:
        outcome = Outcome(target, error=f"'{target}' is not done: its process ended with code "
                          f"{job.child.exitcode} (-9 is often a lack of memory); the same command, "
                          "perhaps with fewer --jobs, goes on")
    return outcome


def _work(pipe: Connection, index: int, line: int, arguments: argparse.Namespace,
          lock: object) -> None:
    """Do one recording and send its outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    outlive_listeners()
    tqdm.set_lock(lock)
    torch.set_num_threads(max(1, usable_cores() // arguments.jobs))
    bag, target = arguments.bags[index], arguments.targets[index]
    try:
        outcome = process(bag, target, arguments, *load(arguments), position=line)
    except USER_ERRORS as error:
        outcome = Outcome(target, error=str(error))
    except Exception as error:
        outcome = Outcome(target, error=f"'{bag}' cannot be segmented: {unexpected(error)}")
    pipe.send(outcome)
