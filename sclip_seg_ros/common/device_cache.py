"""Caches of tensors that depend on sizes alone, and a way to give their memory back."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

_forgetters: list[Callable[[], None]] = []


def device_cache(maxsize: int) -> Callable[[_Function], _Function]:
    """Remember a function's newest results until :func:`forget_tensors`.

    Args:
        maxsize: results kept at most.
    """
    def remembering(function: _Function) -> _Function:
        cached: Any = lru_cache(maxsize)(function)
        _forgetters.append(cached.cache_clear)
        return cached

    return remembering


def forget_tensors() -> None:
    """Let go of all results, whose tensors would keep a device's memory; they are made anew."""
    for forget in _forgetters:
        forget()
