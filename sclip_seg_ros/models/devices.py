"""Which device to compute on, checked before anything is loaded onto it."""

from __future__ import annotations

import torch

AUTO = "auto"


def resolve_device(name: str | torch.device) -> torch.device:
    """Return the torch device to use; "auto" is CUDA where there is one.

    Raises:
        ValueError: an unknown device, or one that this computer does not have.
    """
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={str(name)!r} is unknown; use 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device='{name}' is not there (torch sees {torch.cuda.device_count()} "
                         "CUDA devices); use 'auto' or 'cpu'")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"device='{name}' cannot be computed on ({reason}); use 'auto' or "
                         "'cpu'") from error
    return device
