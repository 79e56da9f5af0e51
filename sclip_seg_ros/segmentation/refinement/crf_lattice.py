"""Fully connected CRF by mean field on the permutohedral lattice, in torch, on any device."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from sclip_seg_ros.segmentation.refinement.permutohedral import Lattice, build_lattice
from sclip_seg_ros.segmentation.settings import CrfSettings

CPU_BLOCK = 1 << 17     # floats updated at a time on the CPU, few enough to stay in its cache


class MeanField:
    """Q <- softmax(-U + w_g K_g Q + w_b K_b Q), one step at a time.

    Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
    Potentials", NIPS 2011, algorithm 1: U = -log p, Potts compatibility, kernels normalised
    symmetrically. As in their code a pixel's message to itself is included.

    Memory for N pixels, C classes and M_g, M_b lattice vertices: 2 N C floats for U and Q, 3 M C
    floats in passing for the larger M, and 16 bytes for each of the 9 N corners.
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
        height, width = self._shape[1:]
        image = image.to(probabilities.device)
        self._kernels = tuple((lattice(), weight) for lattice, weight in (
            (lambda: _smoothness(height, width, settings.gaussian_sxy, image.device),
             settings.gaussian_compat),
            (lambda: _appearance(image, settings), settings.bilateral_compat)) if weight)
        belief = probabilities.reshape(len(probabilities), -1).T.contiguous()
        self._evidence = belief.log()
        self._belief = belief.div_(belief.sum(1, keepdim=True))

    def step(self) -> None:
        """Pass messages between all pixels once."""
        vertices = [lattice.blurred_splat(self._belief, weight)
                    for lattice, weight in self._kernels]
        for points in _blocks(self._belief):
            energy = self._evidence[points].clone()
            for (lattice, _), values in zip(self._kernels, vertices, strict=True):
                energy += lattice.slice(values, points)
            energy -= energy.amax(1, keepdim=True)
            energy.exp_()
            torch.div(energy, energy.sum(1, keepdim=True), out=self._belief[points])

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


def _blocks(belief: Tensor) -> list[slice]:
    """Split the pixels: into pieces for the CPU's cache, not at all for other devices."""
    points, classes = belief.shape
    size = max(CPU_BLOCK // classes, 1) if belief.device.type == "cpu" else points
    return [slice(start, start + size) for start in range(0, points, size)]


@lru_cache(maxsize=2)
def _smoothness(height: int, width: int, deviation: float, device: torch.device) -> Lattice:
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
