"""Find the files of config/ (profiles, vocabularies) wherever the package is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PACKAGE = "sclip_seg_ros"
PACKAGE_FOLDER = Path(__file__).parents[1]


def config_path(relative: str) -> Path:
    """Return the path of a file below config/, such as "vocabularies/indoor.yaml".

    The share folder of a ROS installation comes first, then the data of a pip installation, then
    the source tree.

    Raises:
        ValueError: `relative` is absolute or leads out of config/.
        FileNotFoundError: no config folder holds the file.
    """
    parts = PurePosixPath(relative)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ValueError(
            f"config file {relative!r} must be named relative to the config folder, without '..'; "
            "open a file of your own by its path instead."
        )
    folders = list(config_folders())
    for folder in folders:
        if (folder / parts).is_file():
            return folder / parts
    searched = ", ".join(str(folder) for folder in folders) or "no config folder was found"
    raise FileNotFoundError(
        f"config file {relative!r} does not exist (searched: {searched}); check its name, and "
        "build or install the package again if the file is new."
    )


def config_folders() -> Iterator[Path]:
    """Yield the existing config folders, the most specific installation first."""
    for folder in (_ament_config(), PACKAGE_FOLDER / "config", _source_config()):
        if folder is not None and folder.is_dir():
            yield folder


def _ament_config() -> Path | None:
    """Return the config folder in the ament share folder; None without ROS or without a build."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(PACKAGE)) / "config"
    except (ImportError, LookupError, OSError):
        # No ROS, package not in the ament index, and AMENT_PREFIX_PATH not set, in this order.
        return None


def _source_config() -> Path | None:
    """Return config/ beside this package's source; links of --symlink-install are followed."""
    root = Path(__file__).resolve().parents[2]
    return root / "config" if (root / "package.xml").is_file() else None
