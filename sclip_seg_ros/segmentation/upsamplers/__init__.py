"""Upsamplers of features: what enlarges them before they meet the words.

The registry names them all. At most one is on.
"""

from operator import attrgetter

from sclip_seg_ros.common.settings import Settings
from sclip_seg_ros.segmentation.upsamplers.anyup.upsampler import (
    AnyUpUpsampler,
    anyup_at_hand,
    fetch_anyup,
    load_anyup,
)
from sclip_seg_ros.segmentation.upsamplers.interface import FeatureUpsampler, UpsamplerKind
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import LoftUpUpsampler, load_loftup
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import fetch_loftup_for

UPSAMPLERS: dict[str, UpsamplerKind] = {
    LoftUpUpsampler.name: UpsamplerKind(
        LoftUpUpsampler.title, "use_loftup", "loftup", load_loftup, attrgetter("source"),
        fetch=fetch_loftup_for,
        # It is trained on squares, and gains nothing from whole images.
        suits={"inference": "slide", "short_side": 336}),
    AnyUpUpsampler.name: UpsamplerKind(
        AnyUpUpsampler.title, "use_anyup", "anyup", load_anyup, attrgetter("source"),
        fetch=lambda backbone, cache_dir, update: fetch_anyup(cache_dir), at_hand=anyup_at_hand,
        of_scores=True),
}


def upsampler_of(settings: Settings) -> str | None:
    """Return the name of the upsampler that settings switch on; None where none is.

    Raises:
        ValueError: two are on.
    """
    on = [name for name, kind in UPSAMPLERS.items() if getattr(settings, kind.switch, False)]
    if len(on) > 1:
        raise ValueError(f"{' and '.join(UPSAMPLERS[name].switch for name in on)} cannot both be "
                         "on, because each makes the grid that the other would start from; switch "
                         "one of them off")
    return on[0] if on else None


__all__ = ["UPSAMPLERS", "FeatureUpsampler", "UpsamplerKind", "upsampler_of"]
