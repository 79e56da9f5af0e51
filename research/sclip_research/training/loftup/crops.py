"""Training examples: square crops, each a pure function of the seed and its number.

Nothing depends on how many processes or workers share the work, or on where a run was
interrupted: step, place in the batch and seed decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sclip_research.training.loftup.settings import TOWER, TrainingSettings

_STEP, _ORDER, _EXAMPLE, _BATCH = range(4)  # streams of random numbers


class Source(Protocol):
    """Images with masks."""

    def __len__(self) -> int:
        """Return the number of images."""

    def crop(self, index: int, side: int,
             rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a random square: (side, side, 3) uint8 RGB and its label map (side, side)."""

    def view(self, index: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Return a random part (rows, columns, 3) uint8 RGB of a size, without a label map."""


class Batch(NamedTuple):
    """What one forward takes: images (B, 3, H, W) uint8 RGB, labels (B, H, W) int32.

    A tower that learns from its windows needs no labels: these are then (B, 0, 0).
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class StepPlan:
    """What one batch is used for: input side and factor, the same all over a step, and chance."""

    side: int
    factor: float
    rng: np.random.Generator


def step_plan(settings: TrainingSettings, step: int, batch: int = 0) -> StepPlan:
    """Draw a step's sizes, and open the random numbers of one of its batches.

    Args:
        batch: counted over all processes.
    """
    rng = np.random.default_rng((settings.seed, _STEP, step))
    side = settings.sides[int(rng.integers(len(settings.sides)))]
    factor = settings.factors[int(rng.integers(len(settings.factors)))]
    return StepPlan(side, factor, np.random.default_rng((settings.seed, _BATCH, step, batch)))


class Crops(Dataset):
    """Examples of a run by number; the images come in a new random order every epoch."""

    def __init__(self, source: Source, settings: TrainingSettings, per_step: int) -> None:
        """Join images with the run's settings.

        Args:
            per_step: examples of all processes in one step.
        """
        self._source, self._settings, self._per_step = source, settings, per_step
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Return image (3, H, W) uint8 and labels (H, W) int32."""
        settings = self._settings
        rng = np.random.default_rng((settings.seed, _EXAMPLE, number))
        if settings.trained == TOWER:
            image = self._source.view(self._image(number), settings.size, rng)
            labels = np.empty((0, 0))
        else:
            side = settings.large_side(step_plan(settings, number // self._per_step).side)
            image, labels = self._source.crop(self._image(number), side, rng)
        return (torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1),
                torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int32)))

    def _image(self, number: int) -> int:
        epoch, place = divmod(number, len(self._source))
        if epoch != self._epoch:
            generator = np.random.default_rng((self._settings.seed, _ORDER, epoch))
            self._epoch, self._order = epoch, generator.permutation(len(self._source))
        return int(self._order[place])


class OwnBatches:
    """The numbers of one process's examples, batch by batch, from a step on."""

    def __init__(self, settings: TrainingSettings, start: int, stop: int, rank: int,
                 processes: int) -> None:
        """Share every step's batches out: process r takes batches r, r + processes, ..."""
        self._settings, self._steps = settings, range(start, stop)
        self._rank, self._processes = rank, processes

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._steps) * self._settings.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        """Yield each batch's example numbers."""
        size, turns = self._settings.batch, self._settings.accumulation
        for step in self._steps:
            for turn in range(turns):
                batch = step * turns * self._processes + turn * self._processes + self._rank
                yield list(range(batch * size, (batch + 1) * size))


def load_batches(source: Source, settings: TrainingSettings, start: int, stop: int, rank: int = 0,
                 processes: int = 1, workers: int = 0) -> DataLoader:
    """Return a loader of one process's batches of the steps start..stop-1.

    Args:
        workers: processes that prepare examples ahead; 0 to prepare them in the training process.
    """
    per_step = settings.batch * settings.accumulation * processes
    # Not forked: a lock that another thread holds at that moment would stay locked for good.
    context = "spawn" if workers else None
    return DataLoader(Crops(source, settings, per_step), num_workers=workers,
                      batch_sampler=OwnBatches(settings, start, stop, rank, processes),
                      collate_fn=_collate, multiprocessing_context=context,
                      pin_memory=torch.cuda.is_available())


def _collate(examples: list[tuple[Tensor, Tensor]]) -> Batch:
    images, labels = zip(*examples, strict=True)
    return Batch(torch.stack(images), torch.stack(labels))
