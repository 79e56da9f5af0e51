"""LoftUp's network by the name it had before it moved to `upsamplers/loftup/`."""

from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUp, LoftUpSizes

__all__ = ["LoftUp", "LoftUpSizes"]
