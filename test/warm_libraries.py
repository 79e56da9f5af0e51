"""torch and its kin, imported as programs import them: without looking for garbage meanwhile."""

import inspect

from sclip_seg_ros.common.entry import loading_libraries

with loading_libraries():
    import sclip_seg_ros.segmentation.segmentor  # noqa: F401

# The first line that a node logs has rclpy ask this, which goes through all modules there are.
inspect.getmodule(inspect.currentframe())
