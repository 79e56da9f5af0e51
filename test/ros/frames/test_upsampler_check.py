"""A LoftUp trained on other features is looked at once, and warned of if it does not help."""

from __future__ import annotations

import numpy as np
from checkpoints import save_loftup

from sclip_seg_ros.latency.ladder import QualityLadder, QualityLevel
from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.frames.upsampler_check import UpsamplerCheck
from sclip_seg_ros.segmentation import SCLIPSegmentor

IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


class Log:
    """Collects warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def quality_of(segmentor: SCLIPSegmentor) -> QualityControl:
    return QualityControl(segmentor, QualityLadder((QualityLevel("full", {}),)))


def test_a_loftup_of_unknown_descent_that_does_not_help_is_warned_of_once(tmp_path):
    # A checkpoint that does not say what it was trained on counts as the published one.
    source = save_loftup(tmp_path / "loftup.safetensors", dimension=128)
    segmentor = SCLIPSegmentor("embedded", short_side=96, use_loftup=True, loftup__source=source)
    vocabulary = segmentor.vocabulary(["floor", "wall", "door"])
    log = Log()
    check = UpsamplerCheck(segmentor, quality_of(segmentor), log)
    for _ in range(3):
        check.look(IMAGE, vocabulary)
    [warning] = log.warnings
    assert "backbone is 'embedded'" in warning and "sclip-check-upsampler" in warning
    assert segmentor.settings.use_loftup  # it is the user's choice


def test_nothing_is_checked_without_loftup():
    segmentor = SCLIPSegmentor("embedded", short_side=96)
    log = Log()
    check = UpsamplerCheck(segmentor, quality_of(segmentor), log)
    check.look(IMAGE, segmentor.vocabulary(["floor", "wall"]))
    assert not log.warnings
