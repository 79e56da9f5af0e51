"""Print exact versions of every package in this interpreter's environment, for constraints.txt.

The ROS wheels carry the metadata of the packages inside them (rclpy, std_msgs, ...) as egg-info
folders. Those are no packages of an index and are left out.
"""

from __future__ import annotations

from importlib.metadata import distributions

HEADER = """\
# Exact versions known to work together; `make constraints` writes this file from .venv."""
NOT_OURS = {"pip"}


def pins() -> list[str]:
    """Return one `name==version` for each installed wheel, sorted by name."""
    wheels = {
        dist.name: dist.version
        for dist in distributions()
        if dist.read_text("WHEEL") is not None and dist.name.lower() not in NOT_OURS
    }
    return [f"{name}=={wheels[name]}" for name in sorted(wheels, key=str.lower)]


if __name__ == "__main__":
    print(HEADER, *pins(), sep="\n")
