"""torch and its kin, imported as programs import them: without looking for garbage meanwhile."""

from sclip_seg_ros.common.entry import loading_libraries

with loading_libraries():
    import sclip_seg_ros.segmentation.segmentor  # noqa: F401
