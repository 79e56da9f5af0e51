"""Upsamplers of features: what enlarges them before they meet the words.

The registry names them all. At most one is on.
"""

from sclip_seg_ros.segmentation.settings.settings import (
    AnyUpSettings,
    LoftUpSettings,
    SegmentorSettings,
    two_upsamplers,
)
from sclip_seg_ros.segmentation.upsamplers.anyup.upsampler import ScoreUpsampler, make_anyup
from sclip_seg_ros.segmentation.upsamplers.interface import FeatureUpsampler, UpsamplerKind
from sclip_seg_ros.segmentation.upsamplers.upsampler import Upsampler, make_upsampler


def _source(settings: LoftUpSettings | AnyUpSettings) -> str:
    return settings.source


UPSAMPLERS: dict[str, UpsamplerKind] = {
    Upsampler.name: UpsamplerKind(Upsampler.title, "use_loftup", "loftup", make_upsampler, _source),
    ScoreUpsampler.name: UpsamplerKind(ScoreUpsampler.title, "use_anyup", "anyup", make_anyup,
                                       _source),
}


def upsampler_of(settings: SegmentorSettings) -> str | None:
    """Return the name of the upsampler that settings switch on; None where none is.

    Raises:
        ValueError: two are on.
    """
    on = [name for name, kind in UPSAMPLERS.items() if getattr(settings, kind.switch, False)]
    if len(on) > 1:
        raise ValueError(two_upsamplers(*(UPSAMPLERS[name].switch for name in on)))
    return on[0] if on else None


__all__ = ["UPSAMPLERS", "FeatureUpsampler", "UpsamplerKind", "upsampler_of"]
