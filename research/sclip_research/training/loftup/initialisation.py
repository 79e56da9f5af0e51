"""The weights that a new network starts from."""

from __future__ import annotations

import torch

from sclip_research.training.loftup.crops import Source, load_batches
from sclip_research.training.loftup.featurizer import Featurizer
from sclip_research.training.loftup.settings import TrainingSettings
from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUp, LoftUpSizes


def new_network(sizes: LoftUpSizes, featurizer: Featurizer, source: Source,
                settings: TrainingSettings) -> LoftUp:
    """Draw a network's weights by the seed; its outputs start with the features' mean and spread.

    CLIP's features have a few channels far larger than the rest, which the weights of the output's
    LayerNorm would otherwise have to grow to. The first batch tells them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = LoftUp(sizes)
    sample = next(iter(load_batches(source, settings, 0, 1)))
    features = featurizer(sample.images.to(featurizer.device).float() / 255).cpu()
    norm = network.upsampler.final_conv[1]
    with torch.no_grad():
        norm.bias.copy_(features.mean(dim=(0, 2, 3)))
        norm.weight.copy_(features.std(dim=(0, 2, 3)).clamp_min(1e-3))
    return network
