"""Whether Python, libraries and the builds of torch fit each other, the driver and the GPU."""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sclip_seg_ros.common.checkup import Finding, fault, ok
from sclip_seg_ros.common.libraries import LIBRARIES
from sclip_seg_ros.common.text import first_line

OLDEST_PYTHON = (3, 10)
# Where Linux shows an NVIDIA GPU: on a PC, on a Jetson, in WSL.
GPU_FILES = tuple(map(Path, ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg")))


def python() -> Finding:
    """Look at Python's version and build."""
    found = f"{platform.python_version()}, {platform.machine()}, '{sys.executable}'"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return fault(found)
    if struct.calcsize("P") < 8:
        return fault(f"{found}, 32 bits")
    return ok(found)


def libraries() -> Finding:
    """Import every required library, and compare its version with the oldest that serves."""
    missing, old = [], []
    for name, (module, least) in LIBRARIES.items():
        try:
            found = import_module(module)
        except Exception as error:  # a library that breaks on import may raise anything
            missing.append(f"{name} ({first_line(error)})")
            continue
        known = _version(name) or str(getattr(found, "__version__", ""))
        if known and _numbers(known) < _numbers(least):
            old.append(f"{name} {known} (older than {least})")
    if missing or old:
        return fault("; ".join(filter(None, (
            f"not to be imported: {', '.join(missing)}" if missing else "", ", ".join(old)))))
    return ok(", ".join(f"{name} {_version(name)}" for name in
                        ("torch", "torchvision", "open_clip_torch", "numpy") if _version(name)))


def torchvision_fits() -> Finding:
    """Have torchvision compute, which it cannot with a torch that it was not built for."""
    import torch
    import torchvision

    both = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    try:
        kept = torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        return fault(f"{both}: {first_line(error)}")
    return ok(both) if kept.tolist() == [0] else fault(f"{both}: it computes nonsense")


def cuda_build() -> Finding:
    """Compare the CUDA that torch was built for with the GPU and its driver."""
    import torch

    built, driver = torch.version.cuda, driver_version()
    what = f"torch {torch.__version__}" + (f" for CUDA {built}" if built else " for the CPU")
    if torch.cuda.is_available():
        return _fits_gpu(torch, what, driver)
    if not gpu_in_sight():
        return ok(f"{what}; no NVIDIA GPU in sight, so the CPU computes")
    if built is None:
        return fault(f"{what}, though there is a GPU",
                     "install a torch for CUDA: `pip install torch torchvision --index-url "
                     "https://download.pytorch.org/whl/cu126`, on a Jetson NVIDIA's own wheels")
    if driver is None:
        return fault(f"{what}; there is a GPU, but its driver (libcuda.so.1) cannot be loaded",
                     "install NVIDIA's driver; start a container with `--gpus all`, on a Jetson "
                     "with `--runtime nvidia`")
    if driver < _numbers(built)[:1] + (0,):
        return fault(f"{what}; the driver serves CUDA up to {driver[0]}.{driver[1]}",
                     f"update NVIDIA's driver, or install a torch for CUDA {driver[0]}")
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return fault(f"{what}, driver for CUDA {driver[0]}.{driver[1]}: {first_line(error)}")
    return fault(f"{what}, driver for CUDA {driver[0]}.{driver[1]}: torch sees no GPU",
                 "see whether CUDA_VISIBLE_DEVICES hides it")


def gpu_in_sight() -> bool:
    """Tell whether the system shows an NVIDIA GPU, whatever torch sees."""
    return any(path.exists() for path in GPU_FILES)


def driver_version() -> tuple[int, int] | None:
    """Return the newest CUDA that the driver serves; None without a driver."""
    try:
        library, number = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
        if library.cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return number.value // 1000, number.value % 1000 // 10


def _fits_gpu(torch, what: str, driver: tuple[int, int] | None) -> Finding:
    major, minor = torch.cuda.get_device_capability()
    what += f", driver for CUDA {driver[0]}.{driver[1]}" if driver else ""
    known = torch.cuda.get_arch_list()
    binaries = [_architecture(name) for name in known if name.startswith("sm_")]
    portable = [_architecture(name) for name in known if name.startswith("compute_")]
    # A binary serves its own and later minor versions; portable code is compiled for later GPUs.
    if any(own[0] == major and own[1] <= minor for own in binaries) \
            or any(own <= (major, minor) for own in portable):
        return ok(f"{what}, GPU of capability {major}.{minor}")
    return fault(f"{what} has no code for this GPU's capability {major}.{minor} "
                 f"(only {', '.join(known)})")


def _architecture(name: str) -> tuple[int, int]:
    digits = "".join(filter(str.isdigit, name.partition("_")[2]))
    return int(digits[:-1]), int(digits[-1])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # as of OpenCV from apt
        return ""


def _numbers(text: str) -> tuple[int, ...]:
    """Return a version's leading numbers: (2, 12, 0) of "2.12.0+cu128"."""
    numbers = []
    for part in text.partition("+")[0].split("."):
        digits = part[:len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)

