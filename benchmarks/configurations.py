"""What is measured: models, image sizes, numbers of classes, sliding windows or the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from sclip_research.scenes import COLOURS, NOUNS, render, sample_scene
from torch.nn.functional import normalize

from sclip_seg_ros.models import EMBEDDED
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings, Vocabulary
from sclip_seg_ros.segmentation.text.palette import palette_of
from sclip_seg_ros.segmentation.text.vocabulary import validate_classes

BASE = "ViT-B/16"
VGA, HD = (480, 640), (1080, 1920)
SCENE = 1
MOST_CLASSES = 150


@dataclass(frozen=True)
class Configuration:
    """One row of the table."""

    model: str = EMBEDDED
    size: tuple[int, int] = VGA
    classes: int = 20
    inference: str = "slide"
    densecrf: bool = False
    precision: str = "auto"  # or "fp32"

    def settings(self, precision: str) -> SegmentorSettings:
        """Return the pipeline's defaults with this configuration's changes, without PAMR.

        All models work at one size here, whatever suits them. The plain form has no PAMR, which is
        measured by itself (benchmarks/pamr.py).
        """
        return SegmentorSettings(inference=self.inference, short_side=336,
                                 use_densecrf=self.densecrf, use_pamr=False, precision=precision)


FULL = (*(Configuration(model, size, classes, inference) for model, size, classes, inference in
          product((EMBEDDED, BASE), (VGA, HD), (8, 20, 150), ("slide", "whole"))),
        Configuration(densecrf=True), Configuration(BASE, densecrf=True),
        Configuration(precision="fp32"), Configuration(BASE, precision="fp32"))
SHORT = (Configuration(), Configuration(classes=150), Configuration(inference="whole"),
         Configuration(size=HD, classes=150), Configuration(densecrf=True),
         Configuration(precision="fp32"), Configuration(BASE),
         Configuration(BASE, precision="fp32"))


@dataclass(frozen=True)
class Model:
    """The pipeline with a model, and the same weights in float32 for the reference."""

    fast: SCLIPSegmentor
    plain: SCLIPSegmentor
    vocabulary: Vocabulary

    def words(self, count: int) -> Vocabulary:
        """Return the first words alone."""
        whole = self.vocabulary
        return Vocabulary(whole.classes[:count], None, 1, whole.embeddings[:count],
                          whole.query_class[:count], palette_of(whole.names[:count]))


def load(name: str, device: torch.device, precision: str = "auto") -> Model:
    """Load a model twice; ViT-B/16 has random weights, which take the same time as real ones."""
    found = []
    for arithmetic in (precision, "fp32"):
        torch.manual_seed(0)  # the same random weights both times
        found.append(SCLIPSegmentor(name, "" if name == EMBEDDED else "random", device,
                                    precision=arithmetic))
    fast, plain = found
    words = phrases() if name == EMBEDDED else None
    return Model(fast, plain, plain.vocabulary(words) if words else seen_places(plain))


def image(height: int, width: int, scene: int = SCENE) -> np.ndarray:
    """Render a room: (height, width, 3) uint8 RGB."""
    return render(sample_scene(np.random.default_rng(scene)), height, width).image


def phrases() -> list[str]:
    """Return 150 phrases of the embedded model's world, those of the scene first."""
    present = render(sample_scene(np.random.default_rng(SCENE)), 120, 160).phrases
    others = [f"{colour} {noun}" for noun in NOUNS for colour in COLOURS]
    return list(dict.fromkeys([*present, *others]))[:MOST_CLASSES]


def seen_places(segmentor: SCLIPSegmentor) -> Vocabulary:
    """Return 150 "words" that are what a random tower makes of places in another room.

    Random text would be equally far from everything, and labels would be decided by rounding.
    """
    device = segmentor.device
    with torch.inference_mode():
        pixels = torch.from_numpy(image(224, 224, SCENE + 1)).to(device).permute(2, 0, 1) / 255
        tokens = segmentor.backbone.tokens(pixels[None] * 4 - 2)[0, 1:].float()
        centred = normalize(tokens - tokens.mean(0), dim=1)
    order = torch.randperm(len(centred), generator=torch.Generator().manual_seed(0))
    chosen = centred[order[:MOST_CLASSES].to(device)]
    classes = validate_classes([f"place {index}" for index in range(MOST_CLASSES)])
    return Vocabulary(classes, None, 1, chosen, torch.arange(MOST_CLASSES, device=device),
                      palette_of([entry.name for entry in classes]))
