"""What pyproject.toml cannot say: packages whose folders lie elsewhere in the source tree."""

from __future__ import annotations

from setuptools import find_packages, setup

PACKAGE = "sclip_seg_ros"

setup(
    packages=[*find_packages(include=[PACKAGE, f"{PACKAGE}.*"]), f"{PACKAGE}.config",
              f"{PACKAGE}.interfaces", *find_packages("research")],
    # The profiles and vocabularies of config/ travel as sclip_seg_ros/config, the message
    # definitions of msg/ as sclip_seg_ros/interfaces; models/resources.py finds them there.
    package_dir={f"{PACKAGE}.config": "config", f"{PACKAGE}.interfaces": "msg",
                 "sclip_research": "research/sclip_research"},
)
