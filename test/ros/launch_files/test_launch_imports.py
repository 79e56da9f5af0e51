"""`ros2 launch` runs under the system's Python, where libraries that only pip brings are missing.

ROS from apt starts `ros2` with /usr/bin/python3; an activated virtual environment changes PATH
alone. So the launch file, and all that it imports, do with the standard library and ROS.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# What rosdep installs for this package stays; everything else from pip is out of reach.
FROM_APT = {"numpy", "yaml", "typing_extensions", "catkin_pkg", "pkg_resources", "setuptools",
            "_distutils_hack"}

READ_UNDER_SYSTEM_PYTHON = """
import ast, importlib, sys

out_of_reach = set(sys.argv[2].split())

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in out_of_reach:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Missing())
for node in ast.walk(ast.parse(open(sys.argv[1]).read())):
    names = [node.module] if isinstance(node, ast.ImportFrom) else \\
        [item.name for item in node.names] if isinstance(node, ast.Import) else []
    for name in names:
        # The rest is the standard library's, or launch's, which needs nothing of pip.
        if name.startswith("sclip_seg_ros"):
            importlib.import_module(name)
            print(name)
"""


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.py")), ids=lambda p: p.name)
def test_a_launch_file_is_read_without_pips_libraries(ros, path) -> None:
    of_ros = {name for name, owners in packages_distributions().items()
              if any(owner.startswith("ros-") for owner in owners)}
    from_pip = set(packages_distributions()) - of_ros - FROM_APT - {"sclip_seg_ros"}
    assert {"torch", "open_clip", "cv2"} <= from_pip
    done = subprocess.run([sys.executable, "-c", READ_UNDER_SYSTEM_PYTHON, path,
                           " ".join(from_pip)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "sclip_seg_ros" in done.stdout, "the launch file names no module of this package"


def test_the_probe_notices_a_library_of_pips(tmp_path) -> None:
    path = tmp_path / "torch.launch.py"
    path.write_text("from sclip_seg_ros.segmentation import Vocabulary\n")
    done = subprocess.run([sys.executable, "-c", READ_UNDER_SYSTEM_PYTHON, path, "torch"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "No module named 'torch'" in done.stderr
