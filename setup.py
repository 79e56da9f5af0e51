"""Install the segmentation core and the command-line tools with pip; ROS is not needed.

`colcon build` does not read this file: CMakeLists.txt builds the ROS 2 package.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
PACKAGE = "sclip_seg_ros"

# One line a program: its command, and the function that runs it.
CONSOLE_SCRIPTS: list[str] = [
    "sclip-benchmark = sclip_seg_ros.tools.benchmark.command:main",
    "sclip-gallery = sclip_seg_ros.tools.gallery.command:main",
    "sclip-segment = sclip_seg_ros.tools.segment.command:main",
    "sclip-bag = sclip_seg_ros.tools.bag.command:main",
    "sclip-level-costs = sclip_seg_ros.tools.level_costs:main",
    "sclip-check-upsampler = sclip_seg_ros.tools.check_upsampler:main",
    "sclip-train-loftup = sclip_seg_ros.tools.train_loftup:main",
]

EXTRAS = {
    "crf": ["pydensecrf2>=1.1"],
    "test": ["catkin_pkg", "hypothesis", "packaging", "pytest>=8", "pytest-timeout"],
}


def read_version() -> str:
    """Return `__version__` without importing the package, whose dependencies may be missing."""
    text = (ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


def read_requirements() -> list[str]:
    """Return the lines of requirements.txt that name a package."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


setup(
    name=PACKAGE,
    version=read_version(),
    description="Open-vocabulary semantic segmentation for robots: SCLIP and its refinements",
    author="The sclip_seg_ros maintainers",
    author_email="maintainers@sclip-seg-ros.org",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=[PACKAGE, f"{PACKAGE}.*"]), f"{PACKAGE}.config",
              f"{PACKAGE}.interfaces"],
    # The profiles and vocabularies of config/ travel as sclip_seg_ros/config, the message
    # definitions of msg/ as sclip_seg_ros/interfaces; models/resources.py finds them there.
    package_dir={f"{PACKAGE}.config": "config", f"{PACKAGE}.interfaces": "msg"},
    package_data={
        f"{PACKAGE}.config": ["*.yaml", "*.rviz", "*/*.yaml", "*/*.txt", "*/*.xml"],
        f"{PACKAGE}.interfaces": ["*.msg"],
        f"{PACKAGE}.tools.benchmark.page": ["*.html", "*.css"],
        f"{PACKAGE}.models": ["embedded/*.safetensors", "embedded/*.json", "embedded/*.md"],
    },
    install_requires=read_requirements(),
    extras_require=EXTRAS,
    entry_points={"console_scripts": CONSOLE_SCRIPTS},
)
