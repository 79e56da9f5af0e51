"""Several processes on one run, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed as dist


@dataclass(frozen=True)
class Processes:
    """This process's place among those that share a run.

    Attributes:
        rank: from 0; process 0 writes files and shows progress.
        count: how many there are.
        device: where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Tell whether this process writes files."""
        return self.rank == 0


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the other processes if torchrun started this one, and part from them in the end.

    Args:
        device: of the command line; a bare "cuda" means one GPU for each process of a machine.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(0, 1, device)
        return
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), count, device)
    finally:
        dist.destroy_process_group()


@contextmanager
def first_alone(processes: Processes) -> Iterator[None]:
    """Let the first process do something before the others do it too."""
    if processes.count > 1 and not processes.first:
        dist.barrier()
    yield
    if processes.count > 1 and processes.first:
        dist.barrier()
