"""How much memory a run needs, estimated before it starts."""

from __future__ import annotations

import os

import torch
from torch import nn

from sclip_research.training.loftup.featurizer import Featurizer
from sclip_research.training.loftup.settings import TrainingSettings
from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUp

_PROBES = (16, 32)     # output sides of the forwards that are measured
_TARGET_COPIES = 4     # bicubic features, refined target, and what the losses make of them
_TEMPORARIES = 6       # maps of the widest layer that the backward pass holds at once
_HALF_SHARE = 0.6      # of the activations that autocast keeps in half precision, about


def estimate(network: LoftUp, featurizer: Featurizer,
             settings: TrainingSettings) -> dict[str, float]:
    """Estimate the memory of one process, in MB, by what it is for.

    What autograd keeps is measured on two small outputs and grows in proportion to the output's
    pixels; the rest follows from the shapes of the largest step.
    """
    side, factor = max(settings.sides), max(settings.factors)
    pixels = featurizer.output_size(side, factor)[0] ** 2
    grid = side // featurizer.patch_size
    small, large = (_kept(network, grid, probe) for probe in _PROBES)
    per_pixel = (large - small) / (_PROBES[1] ** 2 - _PROBES[0] ** 2)
    kept = settings.batch * (small + per_pixel * (pixels - _PROBES[0] ** 2))
    if settings.precision != "fp32":
        kept *= _HALF_SHARE
    targets = 4 * settings.batch * pixels * featurizer.dimension * _TARGET_COPIES
    widest = max(network.upsampler.fourier_feat[1].channels, network.sizes.width)
    temporaries = 4 * settings.batch * pixels * widest * _TEMPORARIES
    weights = _bytes(network)
    copies = 4 + (settings.average > 0) + (settings.stage == 2)  # weights, gradients, two moments
    affinity = 0
    if settings.stage == 2:
        affinity = 4 * 4 * settings.batch * min(settings.affinity_pixels, pixels) ** 2
    parts = {"backbone": featurizer.bytes, "weights and optimiser": copies * weights,
             "activations": kept, "backward pass": temporaries,
             "targets and losses": targets + affinity}
    return {name: value / 2**20 for name, value in parts.items()}


def describe(parts: dict[str, float], device: torch.device) -> str:
    """Say an estimate in one line, beside what the device has free."""
    listed = ", ".join(f"{name} {value:.0f} MB" for name, value in parts.items())
    return (f"memory of one process, estimated: {sum(parts.values()):.0f} MB ({listed}); "
            f"free on {device}: {free(device):.0f} MB")


def free(device: torch.device) -> float:
    """Return a device's free memory in MB."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**20
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20


def _kept(network: LoftUp, grid: int, side: int) -> int:
    """Count the bytes that autograd keeps of one image's forward."""
    weight = network.channelnorm.norm.weight
    seen: dict[int, int] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    features = torch.zeros(1, network.sizes.dimension, grid, grid, device=weight.device)
    guidance = torch.zeros(1, 3, side, side, device=weight.device)
    statistics = {name: value.clone() for name, value in network.named_buffers()}
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        output = network(features, guidance, None)
    del output
    for name, value in network.named_buffers():
        value.copy_(statistics[name])
    parameters = {value.untyped_storage().data_ptr() for value in network.parameters()}
    return sum(size for pointer, size in seen.items() if pointer not in parameters)


def _bytes(module: nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in module.parameters())
