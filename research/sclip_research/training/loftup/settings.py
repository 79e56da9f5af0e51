"""Everything that decides what a training run computes, in one immutable object."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUpSizes

LOFTUP, TOWER = TRAINED = ("loftup", "tower")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class TrainingSettings:
    """A run's settings; two runs with the same ones see the same data and take the same steps.

    The losses are sums of terms, each with a weight; a weight of 0 switches its term off.
    """

    trained: str = LOFTUP             # or the image tower itself, whole against windows
    stage: int = 1
    steps: int = 20_000
    batch: int = 8                    # images a process holds at once
    accumulation: int = 1             # batches of a process that make one step
    learning_rate: float = 1e-3
    warm_up: int = 100                # steps of linear warm-up, before half a cosine down to 1 %
    weight_decay: float = 0.0
    clip: float = 1.0                 # largest norm of the gradient
    seed: int = 1
    precision: str = "fp32"

    sides: tuple[int, ...] = (224,)   # of the square images; one is drawn for each step
    factors: tuple[float, ...] = (16.0,)  # output side / patch grid's side; one drawn for each step

    alpha: float = 0.8                # share of a mask's mean in the target (eq. 1)
    mask_weight: float = 1.0          # L2 to the mask-refined target (eq. 2)
    direction_weight: float = 0.0     # 1 - cosine to the same target
    contrast_weight: float = 0.0      # resemblance to the batch's masks, as the target's
    contrast_scale: float = 20.0      # inverse temperature of that resemblance
    balance: float = 0.0              # pixels count as their mask's area to the power of -balance

    affinity_weight: float = 1.0      # stage 2: affinity matrices of student and teacher (eq. 3)
    teacher_weight: float = 0.0       # stage 2: L2 to the teacher's features themselves
    enlargement: float = 2.0          # stage 2: side of the teacher's image / the student's
    teacher_alpha: float = 0.5        # stage 2: share of a mask's mean in the teacher's features
    affinity_pixels: int = 2048       # stage 2: pixels drawn for an affinity matrix, at most
    teacher_decay: float = 0.99       # stage 2: share of itself that the teacher keeps ...
    teacher_every: int = 10           # ... every so many steps

    size: tuple[int, int] = (336, 448)  # tower: (rows, columns) of its images, in pixels
    crop: int = 224                   # tower: side of the teacher's windows
    stride: int = 112                 # tower: step between them

    average: float = 0.999            # decay of the averaged weights that are saved; 0: none

    def __post_init__(self) -> None:
        """Refuse what no run could work with.

        Raises:
            ValueError: naming the setting, its value and what is allowed.
        """
        if self.trained not in TRAINED:
            raise ValueError(f"trained='{self.trained}' is unknown; choose one of "
                             f"{', '.join(TRAINED)}")
        if self.stage not in (1, 2):
            raise ValueError(f"stage={self.stage} is unknown; choose 1 or 2")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision='{self.precision}' is unknown; choose one of "
                             f"{', '.join(PRECISIONS)}")
        for name in ("steps", "batch", "accumulation", "affinity_pixels", "teacher_every"):
            self._within(name, 1, 10**9)
        for name in ("alpha", "teacher_alpha", "balance"):
            self._within(name, 0, 1)
        for name in ("average", "teacher_decay"):
            self._within(name, 0, 0.999999)
        for name in ("mask_weight", "direction_weight", "contrast_weight", "affinity_weight",
                     "teacher_weight", "weight_decay", "warm_up"):
            self._within(name, 0, 1e6)
        for name in ("learning_rate", "clip", "contrast_scale"):
            self._within(name, 1e-12, 1e6)
        self._within("enlargement", 1.0001, 16)
        self._within("crop", 16, 4096)
        self._within("stride", 1, self.crop)
        for name, low, high in (("sides", 16, 4096), ("factors", 1, 64), ("size", 16, 4096)):
            values = getattr(self, name)
            if not values or not all(low <= value <= high for value in values):
                raise ValueError(f"{name}={values} is unusable; give numbers of {low} to "
                                 f"{high}")
        if self.trained == TOWER and max(self.size) <= self.crop:
            raise ValueError(f"size={self.size} holds one window of crop={self.crop} alone, so "
                             "that there is nothing to learn; give a larger size, or a smaller "
                             "crop")
        if not any(self.weights().values()):
            raise ValueError("all losses of this stage have weight 0; give one of them a weight")

    def weights(self) -> dict[str, float]:
        """Return the weight of each loss that LoftUp has in this stage."""
        weights = {"mask": self.mask_weight, "direction": self.direction_weight,
                   "contrast": self.contrast_weight}
        if self.stage == 2:
            weights |= {"affinity": self.affinity_weight, "teacher": self.teacher_weight}
        return weights

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1, done))))

    def large_side(self, side: int) -> int:
        """Return the side of the image that the data path must give for a student's side."""
        return side if self.stage == 1 else round(side * self.enlargement)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON keeps them."""
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in asdict(self).items()}

    def for_processes(self, processes: int) -> TrainingSettings:
        """Return one process's settings such that all of them together take the same steps.

        Raises:
            ValueError: an accumulation that cannot be shared out.
        """
        if self.accumulation % processes:
            raise ValueError(f"accumulation={self.accumulation} cannot be shared by {processes} "
                             "processes; give a multiple of their number")
        return replace(self, accumulation=self.accumulation // processes)

    def _within(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            raise ValueError(f"{name}={value} is out of range; give {low:g} to {high:g}")


def network_sizes(dimension: int, heads: int, depth: int, frequencies: int,
                  hidden: int) -> LoftUpSizes:
    """Return the sizes of a new network.

    Args:
        hidden: width of the feed-forward networks; 0 for the features' own.

    Raises:
        ValueError: sizes that no network has.
    """
    for name, value, low in (("heads", heads, 1), ("depth", depth, 1),
                             ("frequencies", frequencies, 2), ("hidden", hidden, 0)):
        if value < low:
            raise ValueError(f"{name}={value} is too small; give {low} or more")
    return LoftUpSizes(dimension=dimension, heads=heads, depth=depth, frequencies=frequencies,
                       hidden=hidden or None)
