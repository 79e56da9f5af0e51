"""Batch normalisation's running statistics, the same however a step's batches are spread."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch import distributed as dist

MOMENTUM = 0.02  # slower than torch's 0.1: one output size after the other passes by


class NormStatistics:
    """Move the running statistics once a step, by the mean over its batches and processes.

    Left alone, they would move with every batch of a process and differ between processes, and one
    process with accumulation would not end where several end.
    """

    def __init__(self, network: nn.Module) -> None:
        """Find the network's batch norms, and slow them down."""
        self._norms = [module for module in network.modules()
                       if isinstance(module, nn.BatchNorm2d)]
        for norm in self._norms:
            norm.momentum = MOMENTUM
        self._before: list[Tensor] = []
        self._sums: list[Tensor] = []

    def begin(self) -> None:
        """Remember the statistics before a step."""
        self._before = [value.clone() for value in self._values()]
        self._sums = [torch.zeros_like(value) for value in self._before]

    def collect(self) -> None:
        """Take what a batch did to them, and undo it; call it after the batch's backward pass."""
        for value, before, total in zip(self._values(), self._before, self._sums, strict=True):
            total += value
            value.copy_(before)

    def finish(self, batches: int) -> None:
        """Set them to the mean over a number of batches of every process."""
        processes = dist.get_world_size() if dist.is_initialized() else 1
        for value, total in zip(self._values(), self._sums, strict=True):
            if processes > 1:
                dist.all_reduce(total)
            value.copy_(total / (batches * processes))

    def _values(self) -> list[Tensor]:
        return [value for norm in self._norms for value in (norm.running_mean, norm.running_var)]
