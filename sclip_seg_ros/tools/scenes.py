"""The rendered rooms of research/, for programs that can do without them."""

from __future__ import annotations

from sclip_seg_ros.common.errors import Unusable

try:
    from sclip_research.scenes import camera_path, render, sample_scene
    from sclip_research.scenes.films import FRAMES, film
    from sclip_research.scenes.held_out import held_out_scene
except ModuleNotFoundError as error:
    if error.name != "sclip_research":
        raise
    raise Unusable(
        "rendered rooms are not installed on robots; run this from a source tree "
        "(scripts/run_in_overlay COMMAND), or `pip install .` there, or take pictures of your own "
        "(level-costs --image PICTURE, benchmark --dataset ...)") from None

__all__ = ["FRAMES", "camera_path", "film", "held_out_scene", "render", "sample_scene"]
