"""Open-vocabulary segmentation for robots: name the things, get labels from the camera."""

from pkgutil import extend_path

# After `colcon build` the generated messages (sclip_seg_ros.msg) live in the install tree while
# these modules may be imported from the source tree; one package, two folders.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
