"""Find the files of config/ and msg/ wherever the package is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PACKAGE = "sclip_seg_ros"
PACKAGE_FOLDER = Path(__file__).parents[1]


def config_path(relative: str) -> Path:
    """Return the path of a file below config/, such as "vocabularies/demo.txt".

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


def own_or_config_path(name: str, folder: str) -> Path:
    """Return the path of a file that is given by path, or by its name in a folder of config/.

    Raises:
        ValueError: `name` leads out of config/.
        FileNotFoundError: there is no such file; an absolute path is not looked for.
    """
    path = Path(name).expanduser()
    if path.is_file() or path.is_absolute():
        return path
    try:
        return config_path(f"{folder}/{name}")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"file {name!r} is neither in the current folder, {str(Path.cwd())!r}, nor in "
            f"config/{folder}; give its whole path, or a name in config/{folder}"
        ) from error


def config_folders() -> Iterator[Path]:
    """Yield the existing config folders, the most specific installation first."""
    return _folders("config", "config")


def message_files() -> list[Path]:
    """Return the definitions of this package's messages, sorted by name.

    Raises:
        FileNotFoundError: there are none.
    """
    # Not "msg" in a pip installation: that would pass for the Python module that ROS generates.
    for folder in _folders("msg", "interfaces"):
        if found := sorted(folder.glob("*.msg")):
            return found
    raise FileNotFoundError("the message definitions (*.msg) are not installed; build or install "
                            "the package again")


def _folders(name: str, pip_name: str) -> Iterator[Path]:
    """Yield the existing folders of a name: in the ROS share, of pip, in the source tree."""
    for root, folder in ((_ament_share(), name), (PACKAGE_FOLDER, pip_name),
                         (_source_root(), name)):
        if root is not None and (root / folder).is_dir():
            yield root / folder


def _ament_share() -> Path | None:
    """Return the ament share folder; None without ROS or without a build."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(PACKAGE))
    except (ImportError, LookupError, OSError):
        # No ROS, package not in the ament index, and AMENT_PREFIX_PATH not set, in this order.
        return None


def _source_root() -> Path | None:
    """Return the folder around this package's source; links of --symlink-install are followed."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "package.xml").is_file() else None
