"""CRF refinement of class probabilities, by whichever backend is wanted and at hand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.segmentation.refinement.anytime import Iterations
from sclip_seg_ros.segmentation.refinement.dense_crf import (
    bilateral,
    lattice,
    with_pydensecrf,
)
from sclip_seg_ros.segmentation.refinement.dense_crf.reduced import (
    Refine,
    reduced_settings,
    refine_reduced,
)
from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CrfSettings
from sclip_seg_ros.segmentation.refinement.refinement import Refinement

PROBABILITY_FLOOR = 1e-5    # keeps the unary energy -log p finite, as in pydensecrf's own helper
NOTABLE_MEMORY = 2e9        # bytes
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """One way to refine probabilities.

    Attributes:
        refine: takes an (H, W, 3) uint8 image, (C, H, W) float32 probabilities of at least
            ``PROBABILITY_FLOOR`` with two classes or more, settings, and what to ask before each
            iteration whether to go on; returns (C, H, W) float32.
        require: raises ImportError, with the remedy, where it cannot run.
        iterations: returns how many it runs with some settings where it is not stopped.
    """

    refine: Refine
    require: Callable[[], object]
    iterations: Callable[[CrfSettings], int] = attrgetter("iterations")

    def available(self) -> bool:
        """Tell whether it can run on this machine."""
        try:
            self.require()
        except ImportError:
            return False
        return True


# In the order in which "auto" prefers them. The lattice gives pydensecrf's result in less time
# (docs/methods.md), on the CPU too, and runs wherever torch does.
BACKENDS = {
    "lattice": Backend(lattice.mean_field, lambda: None),
    "pydensecrf": Backend(with_pydensecrf.mean_field, with_pydensecrf.load),
    "bilateral": Backend(bilateral.joint_bilateral, lambda: None, bilateral.levels),
}


def resolve_backend(name: str) -> str:
    """Return the backend that will run for a setting.

    Args:
        name: a backend's name, or "auto" for the preferred one.

    Raises:
        ValueError: an unknown name.
        ImportError: a backend that is named but not installed, with how to install it.
    """
    if name == "auto":
        return next(name for name, backend in BACKENDS.items() if backend.available())
    if name not in BACKENDS:
        raise ValueError(f"CRF backend '{name}' is unknown; choose one of auto, "
                         f"{', '.join(BACKENDS)}")
    BACKENDS[name].require()
    return name


def planned_iterations(settings: CrfSettings, classes: int) -> int:
    """Return how many iterations :func:`dense_crf` runs where it is not stopped.

    Raises:
        ValueError, ImportError: see :func:`resolve_backend`.
    """
    if classes == 1:  # nothing to weigh
        return 0
    return BACKENDS[resolve_backend(settings.backend)].iterations(reduced_settings(settings))


class DenseCrf(Refinement):
    """Refine the classes' probabilities at the camera's size."""

    name, switch, group = "densecrf", "use_densecrf", "crf"
    of_probabilities = True

    def refuse(self, settings: CrfSettings, depth: int, prefix: int) -> None:
        """Refuse a backend that is not installed."""
        try:
            resolve_backend(settings.backend)
        except ImportError as error:
            raise ValueError(f"crf.backend='{settings.backend}' cannot run: {error}") from error

    def iterations(self, settings: CrfSettings, maps: int) -> int:
        """Return those of the backend."""
        return planned_iterations(settings, maps)

    def __call__(self, images: Tensor, maps: Tensor, settings: CrfSettings,
                 keep_going: Iterations) -> Tensor:
        """Refine probabilities, see :func:`dense_crf`."""
        return torch.stack([dense_crf(image.permute(1, 2, 0), probabilities, settings, keep_going)
                            for image, probabilities in zip(images, maps, strict=True)])


def _always() -> bool:
    return True


def dense_crf(image: Tensor | np.ndarray, probabilities: Tensor, settings: CrfSettings,
              keep_going: Callable[[], bool] = _always) -> Tensor:
    """Refine class probabilities with the image's edges.

    Args:
        image: (H, W, 3) uint8 RGB.
        probabilities: (C, H, W) floating point, on any device.
        settings: backend, kernels, iterations and resolution.
        keep_going: asked before each iteration; what has been reached when it says no is returned.
            A GPU works behind its queue: there a clock means something only after synchronising.

    Returns:
        (C, H, W) that add up to 1 over the classes, in the probabilities' dtype and on their
        device. A single class has nothing to weigh and comes back as it is.

    Raises:
        ValueError: shapes, types or settings that do not fit.
        ImportError: see :func:`resolve_backend`.
    """
    backend = BACKENDS[resolve_backend(settings.backend)]
    pixels = _as_tensor(image)
    _check(pixels, probabilities, settings)
    if probabilities.shape[0] == 1:
        return probabilities
    _tell_of_memory(*probabilities.shape, settings.resolution)
    evidence = probabilities.float().clamp(PROBABILITY_FLOOR, 1.0)
    refined = refine_reduced(backend.refine, pixels, evidence, settings, keep_going)
    return refined.to(probabilities.dtype)


def memory_estimate(classes: int, pixels: int, resolution: float) -> float:
    """Estimate the bytes that the CRF and the probabilities for it need, as measured on the CPU.

    Full-size probabilities cost 14 to 16 bytes a class, the lattice 350 a pixel it works on
    (docs/methods.md).
    """
    if resolution == 1:
        return pixels * (16 * classes + 350)
    return pixels * (14 * classes + resolution ** 2 * (16 * classes + 350))


@lru_cache(maxsize=256)  # which makes it once a size
def _tell_of_memory(classes: int, height: int, width: int, resolution: float) -> None:
    """Warn where the CRF needs memory that a robot's computer may not have."""
    needed = memory_estimate(classes, height * width, resolution)
    if needed > NOTABLE_MEMORY:
        smaller = memory_estimate(classes, height * width, resolution / 2)
        _log.warning("DenseCRF needs about %.1f GB for %dx%d pixels and %d classes; "
                     "crf.resolution=%g needs %.1f GB and less time, a smaller image less still",
                     needed / 1e9, width, height, classes, resolution / 2, smaller / 1e9)


def _as_tensor(image: Tensor | np.ndarray) -> Tensor:
    """View an image as a tensor; a read-only one, as messages hold, is copied."""
    if isinstance(image, Tensor):
        return image
    return torch.from_numpy(np.require(image, requirements=("C", "W")))


def _check(image: Tensor, probabilities: Tensor, settings: CrfSettings) -> None:
    if image.dim() != 3 or image.shape[2] != 3 or image.dtype != torch.uint8:
        raise ValueError(f"image of shape {tuple(image.shape)} and type {image.dtype} is not an "
                         "RGB image; give (H, W, 3) uint8")
    if probabilities.dim() != 3 or not probabilities.is_floating_point():
        raise ValueError(f"probabilities of shape {tuple(probabilities.shape)} and type "
                         f"{probabilities.dtype} are not class maps; give (C, H, W) floating point")
    if image.shape[:2] != probabilities.shape[1:]:
        raise ValueError(f"an image of {image.shape[1]}x{image.shape[0]} pixels cannot refine "
                         f"probabilities of {probabilities.shape[2]}x{probabilities.shape[1]}; "
                         "resize one to the other")
    if probabilities.numel() == 0:
        raise ValueError(f"probabilities of shape {tuple(probabilities.shape)} are empty; give at "
                         "least one class and one pixel")
    settings.check("crf.")
