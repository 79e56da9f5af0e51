"""Write exact versions of every package in this interpreter's environment to the constraints files.

    python scripts/write_constraints.py kilted

constraints.txt gets what has nothing to do with ROS, constraints-ros-kilted.txt the ROS wheels. Of
any other distribution than the first only the latter is written: what is pinned is one set of
versions that all of them work with.

The ROS wheels carry the metadata of the packages inside them (rclpy, std_msgs, ...) as egg-info
folders. Those are not packages of an index and are left out.
"""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIRST = "kilted"  # whose environment the other pins are from
HEADER = """\
# Exact versions known to work together, on Python 3.11 and 3.12; `make constraints` writes this
# file from .venv. Those of ROS stand beside it, one file a distribution."""
HEADER_OF_ROS = """\
# Exact versions of the ROS wheels; `make constraints ROS={}` writes this file."""
OF_ROS = "ros-"
NOT_OURS = {"pip"}
# What pyftpdlib wants of Python 3.12, which .venv seldom is.
LATER = ("pyasynchat==1.0.5", "pyasyncore==1.0.5")


def pins() -> list[str]:
    """Return one `name==version` for each installed wheel, sorted by name."""
    wheels = {
        dist.name: dist.version
        for dist in distributions()
        if dist.read_text("WHEEL") is not None and dist.name.lower() not in NOT_OURS
    }
    later = dict(pin.split("==") for pin in LATER)
    found = later | wheels
    return [f"{name}=={found[name]}" for name in sorted(found, key=str.lower)]


def main(distribution: str) -> None:
    """Write the files of a distribution whose environment this is."""
    found = pins()
    of_ros = [pin for pin in found if pin.startswith(OF_ROS)]
    _write(f"constraints-ros-{distribution}.txt", HEADER_OF_ROS.format(distribution), of_ros)
    if distribution == FIRST:
        _write("constraints.txt", HEADER, [pin for pin in found if pin not in of_ros])


def _write(name: str, header: str, lines: list[str]) -> None:
    (ROOT / name).write_text("\n".join([header, *lines]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
