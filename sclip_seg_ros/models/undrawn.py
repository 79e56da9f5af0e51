"""Networks whose weights are read from a file: nothing is drawn at random that will be replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# All that open_clip, timm and transformers draw weights with.
_FILLING = {"normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"}
_MAKING = {torch.rand, torch.randn}


class Undrawn(TorchFunctionMode):
    """Leave weights as the memory holds them while a network is built within this context.

    Every one of them must be filled in afterwards, as a strict ``load_state_dict`` does. Drawing
    takes longer than reading: a second of a core for ViT-B/16, more than two for ViT-L/14. Buffers
    and constants are made as ever, which the ``meta`` device would leave out.
    """

    def __torch_function__(self, func: Callable, types: Sequence[type],
                           args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None):
        """Do what a call asks for, but for drawing."""
        kwargs = kwargs or {}
        if func in _MAKING:
            return torch.empty(*args, **kwargs)
        if getattr(func, "__name__", "") in _FILLING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
