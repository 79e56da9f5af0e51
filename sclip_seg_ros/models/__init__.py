"""Where weights come from: the embedded model, a local file, or a hub's cache and the hub."""

from sclip_seg_ros.models.clip import EMBEDDED, EMBEDDED_HINT, RANDOM, ClipModel, load_clip
from sclip_seg_ros.models.devices import fast_precision, resolve_device
from sclip_seg_ros.models.weights import WeightsError, read_state_dict

__all__ = ["EMBEDDED", "EMBEDDED_HINT", "RANDOM", "ClipModel", "WeightsError", "load_clip",
           "read_state_dict", "fast_precision", "resolve_device"]
