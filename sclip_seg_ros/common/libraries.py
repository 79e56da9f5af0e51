"""The libraries that the package needs, and how one that is missing is installed.

Light: programs read this when they can import nothing else.
"""

from __future__ import annotations

# Of requirements.txt: what pip installs, the module to import, and the oldest version.
LIBRARIES = {
    "torch": ("torch", "2.4"), "open_clip_torch": ("open_clip", "3.0"),
    "huggingface_hub": ("huggingface_hub", "0.25"), "safetensors": ("safetensors", "0.4"),
    "numpy": ("numpy", "1.21"), "opencv-python-headless": ("cv2", "4.6"),
    "Pillow": ("PIL", "9.0"), "PyYAML": ("yaml", "5.4"), "tqdm": ("tqdm", "4.60"),
    "torchvision": ("torchvision", "0.19"), "timm": ("timm", "1.0.17"),
    "einops": ("einops", "0.7"), "ftfy": ("ftfy", "6.1")}
# Without these limits pip replaces libraries that apt's ROS was built with.
_ON_APT = "on a ROS from apt with `-c scripts/constraints-apt/$ROS_DISTRO.txt`"
REMEDY = f"`pip install -r requirements.txt` in the environment that the node runs in; {_ON_APT}"


def remedy_for(module: str, extra: str = "") -> str:
    """Say how a module that is not there is installed.

    Args:
        module: that was to be imported, or a part of it.
        extra: of this package, that brings it where it is not among what is always needed.
    """
    library = module.partition(".")[0]
    if library in (known for known, _ in LIBRARIES.values()):
        return REMEDY
    extras = f", and so does this package's extra '{extra}'" if extra else ""
    return f"`pip install {library}` brings it{extras}; {_ON_APT}"
