"""Make the build files of the ROS wheels in a virtual environment point to that environment.

The wheels are built in a container whose Python lives in /opt/python/cp3XX-cp3XX, and their
exported CMake targets and ament index name its folders. Run by the environment's own
interpreter; a second run changes nothing.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy

# Where the ament index notes the prefix that a package was built in.
PARENT_PREFIXES = "ament_index/resource_index/parent_prefix_path/*"
BUILD_PYTHON = r"/opt/python/cp3\d+-cp3\d+"


def relocations() -> list[tuple[re.Pattern[str], str]]:
    """Return what to replace by what, the more specific paths first."""
    return [
        (re.compile(BUILD_PYTHON + r"/include/python3\.\d+"), sysconfig.get_path("include")),
        (
            re.compile(BUILD_PYTHON + r"/lib/python3\.\d+/site-packages/numpy/_core/include"),
            numpy.get_include(),
        ),
        (re.compile(BUILD_PYTHON), sys.prefix),
    ]


def relocate(share: Path) -> int:
    """Rewrite the files of the prefix's share folder in place; return how many changed."""
    changed = 0
    for path in [*share.rglob("*.cmake"), *share.glob(PARENT_PREFIXES)]:
        before = after = path.read_text(encoding="utf-8")
        for pattern, replacement in relocations():
            after = pattern.sub(lambda _, text=replacement: text, after)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed += 1
    return changed


def main() -> None:
    """Relocate the environment of the running interpreter."""
    if sys.prefix == sys.base_prefix:
        sys.exit("relocate_ros_wheels: run this with the Python of a virtual environment.")
    count = relocate(Path(sys.prefix) / "share")
    print(f"relocated {count} files to {sys.prefix}")


if __name__ == "__main__":
    main()
