"""A process that was forked from one that computed: torch's threads stay behind, so one must do."""

from __future__ import annotations

import logging
import os

import torch

_log = logging.getLogger(__name__)
_computed_in: int | None = None  # the process that computed last


def survive_fork() -> None:
    """Compute with one thread from here on in a process that was forked after something computed.

    OpenMP's threads do not survive a fork, and whoever hands them work waits for ever
    (https://github.com/pytorch/pytorch/issues/17199). Called before anything is computed.
    """
    global _computed_in
    here = os.getpid()
    if _computed_in not in (None, here) and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        _log.warning("this process was forked from one that had computed, and computes with one "
                     "thread; start processes with multiprocessing.get_context('spawn') to use all "
                     "cores")
    _computed_in = here
