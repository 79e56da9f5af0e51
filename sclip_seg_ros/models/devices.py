"""Which device to compute on, checked before anything is loaded onto it."""

from __future__ import annotations

import torch

from sclip_seg_ros.common.text import first_line

AUTO = "auto"
# Compute capabilities before 7.0 that multiply in float16 at more than float32's rate: Tegra X1,
# P100, Tegra X2. Other Pascal GPUs reach a 64th of it (CUDA C++ Programming Guide, "Arithmetic
# Instructions").
_EARLY_HALF = ((5, 3), (6, 0), (6, 2))


def resolve_device(name: str | torch.device) -> torch.device:
    """Return the torch device to use; "auto" is CUDA where there is one.

    Raises:
        ValueError: an unknown device, or one that this computer does not have.
    """
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={str(name)!r} is unknown; use 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device='{name}' is not there (torch sees {torch.cuda.device_count()} "
                         "CUDA devices); use 'auto' or 'cpu'")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device='{name}' cannot be computed on ({first_line(error)}); use "
                         "'cpu', or install a torch that supports it") from error
    return device


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = (AUTO, *DTYPES)


def fast_precision(device: torch.device) -> str:
    """Return the arithmetic in which a device multiplies matrices fastest, of what CLIP bears.

    Returns:
        "bf16" on a GPU or an x86 processor with instructions for it (AVX512_BF16, AMX), "fp16" on
        an older GPU that is fast at that, else "fp32": without such instructions a processor
        emulates half precision.
    """
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability >= (8, 0):
            return "bf16"
        return "fp16" if capability >= (7, 0) or capability in _EARLY_HALF else "fp32"
    if device.type == "cpu" and _multiplies_bfloat16():
        return "bf16"
    return "fp32"


def _multiplies_bfloat16() -> bool:
    """Tell whether the processor has bfloat16 products and this torch knows of it."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)
