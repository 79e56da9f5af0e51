"""Read quality ladders: files of one's own, and those that come with the package."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from sclip_seg_ros.latency.ladder import QualityLadder, parse_ladder
from sclip_seg_ros.models.resources import own_or_config_path

AUTO = "auto"
_TEGRA = Path("/etc/nv_tegra_release")  # on every Jetson


def read_ladder(name: str, device: torch.device) -> QualityLadder:
    """Read a ladder file.

    Args:
        name: path of a file, the name of one in config/ladders such as "cpu.yaml", or "auto" for
            the one that suits the device.
        device: that the model runs on.

    Raises:
        ValueError: a file that is not a ladder; a sentence that names the level and the remedy.
        OSError: a file that cannot be read.
    """
    if name == AUTO:
        name = ladder_for(device)
    path = own_or_config_path(name, "ladders")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"ladder file '{path}' is not YAML: {' '.join(str(error).split())}; mend "
                         "it, or use one of config/ladders") from error
    return parse_ladder(data)


def ladder_for(device: torch.device) -> str:
    """Return the name of the ladder that suits a device."""
    if device.type != "cuda":
        return "cpu.yaml"
    return "jetson.yaml" if _TEGRA.exists() else "desktop_gpu.yaml"
