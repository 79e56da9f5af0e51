"""Fully connected CRF by mean field on the permutohedral lattice, in torch, on any device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sclip_seg_ros.common.device_cache import device_cache
from sclip_seg_ros.segmentation.refinement.dense_crf.permutohedral import (
    Lattice,
    build_lattice,
    interpolate,
)
from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CrfSettings

CPU_BLOCK = 1 << 18     # floats updated at a time on the CPU, which bounds the memory in passing
CPU_VECTOR = 16         # floats in the widest vector register


class MeanField:
    """Q <- softmax(-U + w_g K_g Q + w_b K_b Q), one step at a time.

    Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
    Potentials", NIPS 2011, algorithm 1: U = -log p, Potts compatibility, kernels normalised
    symmetrically. As in their code a pixel's message to itself is included.

    Memory for N pixels, C classes and M lattice vertices: 2 N C floats for U and Q, at most 4 M C
    in passing, and 24 bytes for each of the 9 N corners. M is near N / 5 for photographs and cannot
    exceed 9 N.
    """

    def __init__(self, image: Tensor, probabilities: Tensor, settings: CrfSettings) -> None:
        """Build the lattices, once for all steps, and start from the given probabilities.

        Args:
            image: (H, W, 3) uint8 RGB.
            probabilities: (C, H, W) float32, above zero; their device does the work.
            settings: the kernels.

        Raises:
            ValueError: kernel widths too small for a lattice.
        """
        self._shape = probabilities.shape
        image = image.to(probabilities.device)
        self._kernels = _kernels(image, settings)
        # One table of all kernels' vertices, so that a pixel's messages come in one pass.
        offset, corners = 0, []
        for lattice, _ in self._kernels:
            corners.append(lattice.corners + offset)
            offset += lattice.vertices + 1
        if self._kernels:
            self._corners = torch.cat(corners, dim=1)
            self._weights = torch.cat([lattice.weights for lattice, _ in self._kernels], dim=1)
        belief = probabilities.detach().reshape(len(probabilities), -1).T.contiguous()
        self._evidence = belief.log()
        self._belief = belief.div_(belief.sum(1, keepdim=True))

    def step(self) -> None:
        """Pass messages between all pixels once."""
        if not self._kernels:
            return
        table = torch.cat([lattice.blurred_splat(self._belief, weight)
                           for lattice, weight in self._kernels])
        for pixels in _blocks(self._belief):
            energy = interpolate(self._corners[pixels], self._weights[pixels], table)
            _softmax(energy.add_(self._evidence[pixels]), out=self._belief[pixels])

    def probabilities(self) -> Tensor:
        """Return the current Q as (C, H, W) float32."""
        return self._belief.T.reshape(self._shape)


def mean_field(image: Tensor, probabilities: Tensor, settings: CrfSettings,
               keep_going: Callable[[], bool]) -> Tensor:
    """Run the mean field for the settings' iterations, or until told to stop.

    Args:
        image: (H, W, 3) uint8 RGB.
        probabilities: (C, H, W) float32, above zero.
        settings: kernels and iterations.
        keep_going: asked before each iteration.

    Returns:
        (C, H, W) float32 on the probabilities' device.
    """
    field = MeanField(image, probabilities, settings)
    for _ in range(settings.iterations):
        if not keep_going():
            break
        field.step()
    return field.probabilities()


def _softmax(energy: Tensor, out: Tensor) -> None:
    """Normalise exp(energy) over each row; the energies are overwritten.

    On the CPU torch's own is several times slower where a row is shorter than a vector register.
    """
    if energy.shape[1] >= CPU_VECTOR or energy.device.type != "cpu":
        torch.softmax(energy, 1, out=out)
        return
    energy.sub_(energy.amax(1, keepdim=True)).exp_()
    torch.div(energy, energy.sum(1, keepdim=True), out=out)


def _blocks(belief: Tensor) -> list[slice]:
    """Split the pixels into pieces of bounded memory on the CPU; a GPU takes all at once."""
    points, classes = belief.shape
    size = max(CPU_BLOCK // classes, 1) if belief.device.type == "cpu" else points
    return [slice(start, start + size) for start in range(0, points, size)]


def _kernels(image: Tensor, settings: CrfSettings) -> tuple[tuple[Lattice, float], ...]:
    """Return the lattices of the kernels that have a weight, with it."""
    kernels = []
    if settings.gaussian_compat:
        height, width = image.shape[:2]
        lattice = smoothness_lattice(height, width, settings.gaussian_sxy, image.device)
        kernels.append((lattice, settings.gaussian_compat))
    if settings.bilateral_compat:
        kernels.append((_appearance(image, settings), settings.bilateral_compat))
    return tuple(kernels)


@device_cache(maxsize=2)
def smoothness_lattice(height: int, width: int, deviation: float, device: torch.device) -> Lattice:
    """Return the lattice of places, which is the same for all images of one size."""
    return build_lattice(_places(height, width, deviation, device)).normalised()


def _appearance(image: Tensor, settings: CrfSettings) -> Lattice:
    """Return the lattice of places and colours."""
    height, width = image.shape[:2]
    places = _places(height, width, settings.bilateral_sxy, image.device)
    colours = image.reshape(-1, 3).T / places.new_tensor(settings.bilateral_srgb)
    return build_lattice(torch.cat([places, colours])).normalised()


def _places(height: int, width: int, deviation: float, device: torch.device) -> Tensor:
    """Return (2, H W) columns and rows in standard deviations."""
    rows = torch.arange(height, dtype=torch.float32, device=device)
    columns = torch.arange(width, dtype=torch.float32, device=device)
    x, y = torch.meshgrid(columns, rows, indexing="xy")
    # A tensor divides exactly on every device; by a plain number, CUDA multiplies by its inverse.
    return torch.stack([x, y]).reshape(2, -1) / columns.new_tensor(deviation)
