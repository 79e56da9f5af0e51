"""Dense features as colours: their three principal components, before and after LoftUp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.segmentation.backbones.preprocessing import resize, to_tensor
from sclip_seg_ros.segmentation.scores.scoring import WindowScorer
from sclip_seg_ros.segmentation.upsamplers.sizes import upsample_bilinear
from sclip_seg_ros.tools.gallery.sheet import Tile

_CUT = 0.01  # share of the values at either end that are clipped, so that few do not take all room


def working_image(segmentor: SCLIPSegmentor, image: np.ndarray) -> Tensor:
    """Return an image as one window at its working size: (1, 3, h, w) in 0..1.

    Raises:
        ValueError: an image that cannot be used.
    """
    pixels = to_tensor(image, segmentor.device)
    _, height, width = pixels.shape
    size = segmentor.working_size(height, width, segmentor.settings.with_changes(
        inference="whole"))
    if min(size) < segmentor.backbone.patch_size:
        raise ValueError(f"image of {image.shape[1]}x{image.shape[0]} pixels is smaller than one "
                         f"patch of {segmentor.backbone.patch_size}; give a larger one")
    return resize(pixels, size, segmentor.settings.antialias)[None]


@torch.inference_mode()
def feature_tiles(plain: WindowScorer, loftup: WindowScorer | None, window: Tensor,
                  vocabulary: Vocabulary) -> list[Tile]:
    """Show the features that meet the words, and what LoftUp makes of those it is fed.

    Args:
        plain: without LoftUp.
        loftup: with it; None where the model has none.
        window: (1, 3, h, w) in 0..1.
        vocabulary: words, which steer ResCLIP alone.
    """
    features = plain.features(window, vocabulary.embeddings)
    [colours] = principal_colours([features])
    tiles = [_tile("features of the last block", colours, features)]
    if loftup is None or loftup.upsampler is None:
        return tiles
    fed = loftup.features(window, vocabulary.embeddings)
    upsampled = loftup.upsampler(fed, window)
    bilinear = upsample_bilinear(fed.float(), tuple(upsampled.shape[-2:]))
    titles = ("before LoftUp", "enlarged bilinearly", "after LoftUp")
    maps = (fed, bilinear, upsampled)
    return tiles + [_tile(title, colours, one) for title, colours, one
                    in zip(titles, principal_colours(maps), maps, strict=True)]


def principal_colours(maps: Sequence[Tensor]) -> list[np.ndarray]:
    """Project feature maps on the three principal components that they have in common.

    One basis and one scale for all, so that the same colour means the same feature; each map has
    the same weight in them, whatever its size.

    Args:
        maps: (1, D, h, w) each.

    Returns:
        (h, w, 3) uint8 each.
    """
    points = [normalize(one[0].float(), dim=0).flatten(1).T for one in maps]
    centre = torch.stack([one.mean(0) for one in points]).mean(0)
    scatter = sum((one - centre).T @ (one - centre) / len(one) for one in points)
    basis = torch.linalg.eigh(scatter).eigenvectors[:, -3:].flip(1)
    basis = torch.where(basis.sum(0) < 0, -basis, basis)  # the sign is arbitrary
    values = [(one - centre) @ basis for one in points]
    ends = torch.stack([torch.quantile(one, torch.tensor([_CUT, 1 - _CUT], device=one.device),
                                       dim=0) for one in values])
    low, high = ends[:, 0].amin(0), ends[:, 1].amax(0)
    return [((one - low) / (high - low).clamp_min(1e-6)).clamp(0, 1).mul(255).round()
            .to(torch.uint8).reshape(*map_.shape[-2:], 3).cpu().numpy()
            for one, map_ in zip(values, maps, strict=True)]


def _tile(title: str, colours: np.ndarray, features: Tensor) -> Tile:
    _, channels, rows, columns = features.shape
    return Tile(colours, title, f"{columns}x{rows}, {channels} channels", grid=True)
