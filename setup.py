"""What pyproject.toml cannot say: packages that lie elsewhere in the source tree, compiled code."""

from __future__ import annotations

import platform

from setuptools import Extension, find_packages, setup

PACKAGE = "sclip_seg_ros"
DECODING = f"{PACKAGE}/segmentation/scores/decoding/compiled.cpp"


def library(name: str, *options: str) -> Extension:
    """Describe a library for ctypes; without a compiler the package does without."""
    return Extension(f"{PACKAGE}.{name}", [DECODING], language="c++", optional=True,
                     extra_compile_args=["-std=gnu++17", "-O3", "-Wno-psabi", *options])


setup(
    packages=[*find_packages(include=[PACKAGE, f"{PACKAGE}.*"]), f"{PACKAGE}.config",
              f"{PACKAGE}.interfaces", *find_packages("research")],
    # The profiles and vocabularies of config/ travel as sclip_seg_ros/config, the message
    # definitions of msg/ as sclip_seg_ros/interfaces; models/resources.py finds them there.
    package_dir={f"{PACKAGE}.config": "config", f"{PACKAGE}.interfaces": "msg",
                 "sclip_research": "research/sclip_research"},
    # As in CMakeLists.txt.
    ext_modules=[library("_decoding"), *(
        [library("_decoding_avx2", "-mavx2", "-mfma", "-DLANES=8")]
        if platform.machine() in ("x86_64", "AMD64") else [])],
)
