"""Several recordings at a time, each in a process of its own."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch
from tqdm import tqdm

from sclip_seg_ros.models import WeightsError

from .processing import Outcome, load, process

# Neither threads nor CUDA survive a fork.
_CONTEXT = multiprocessing.get_context("spawn")


def process_side_by_side(arguments: argparse.Namespace) -> Iterator[Outcome]:
    """Yield the outcome of each recording as it is done.

    Each process loads the model for itself. When the iterator is closed, by an interruption, the
    processes are ended; what they have finished is safe on disk.
    """
    waiting = list(enumerate(zip(arguments.bags, arguments.targets, strict=True)))[::-1]
    lock = _CONTEXT.RLock()
    running: dict[Connection, tuple[SpawnProcess, int]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < arguments.jobs:
                index, _ = waiting.pop()
                running.update([_start(index, arguments, lock)])
            for pipe in wait(list(running)):
                child, index = running.pop(pipe)
                yield _receive(pipe, child, arguments.targets[index])
    finally:
        for child, _ in running.values():
            child.terminate()
        for child, _ in running.values():
            child.join()


def _start(index: int, arguments: argparse.Namespace,
           lock: object) -> tuple[Connection, tuple[SpawnProcess, int]]:
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    child = _CONTEXT.Process(target=_work, args=(theirs, index, arguments, lock), daemon=True)
    child.start()
    theirs.close()
    return ours, (child, index)


def _receive(pipe: Connection, child: SpawnProcess, target: object) -> Outcome:
    """Return what a process sent, or say that it died."""
    try:
        outcome = pipe.recv()
    except EOFError:
        outcome = None
    child.join()
    if outcome is None:
        outcome = Outcome(target, error=f"'{target}' is not done: its process ended with code "
                          f"{child.exitcode} (of -9: for lack of memory?); the same command goes "
                          "on, with fewer --jobs")
    return outcome


def _work(pipe: Connection, index: int, arguments: argparse.Namespace, lock: object) -> None:
    """Do one recording and send its outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    tqdm.set_lock(lock)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // arguments.jobs))
    bag, target = arguments.bags[index], arguments.targets[index]
    try:
        outcome = process(bag, target, arguments, *load(arguments), position=index)
    except (ValueError, OSError, WeightsError) as error:
        outcome = Outcome(target, error=str(error))
    pipe.send(outcome)
