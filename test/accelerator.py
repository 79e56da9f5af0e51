"""An accelerator that any machine has: a device of its own, whose arithmetic the CPU does.

Its tensors refuse the company of the CPU's as CUDA's do, so that a constant, an index or a cached
matrix on the wrong device is found without a GPU. What the host waits for is noted, and so is what
lives on the device. torch takes one such device a process: set it up in one that does nothing else.
"""

from __future__ import annotations

import gc
import traceback
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration

import sclip_seg_ros

NAME = "standin"
PACKAGE = Path(sclip_seg_ros.__file__).parent

_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default, _aten._copy_from.default}
# The host cannot go on from these before the device has come to them.
_WAITING = {_aten._local_scalar_dense.default, _aten.nonzero.default, _aten.masked_select.default,
            _aten.equal.default, _aten.unique_consecutive.default, _aten._unique2.default,
            _aten.bincount.default}

# What all that makes tensors comes down to, and what would resize one that it has made.
_MAKING = (_aten.empty.memory_format, _aten.empty_strided.default, _aten._copy_from.default,
           _aten.arange.default, _aten.arange.start, _aten.arange.start_step,
           _aten.linspace.default, _aten.eye.default, _aten.eye.m)

_living: weakref.WeakValueDictionary[int, OnDevice] = weakref.WeakValueDictionary()
_waits: list[str] = []
_library = torch.library.Library("aten", "IMPL")
_autocast = torch.library.Library("_", "IMPL")


class OnDevice(Tensor):
    """A tensor of the device; ``held`` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        """Let values appear to be on the device."""
        with torch.inference_mode(False):  # which views of weights must not be
            made = Tensor._make_wrapper_subclass(
                cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
                dtype=held.dtype, layout=held.layout, device=torch.device(NAME, 0))
        made.held = held
        _living[id(made)] = made
        return made

    def __repr__(self) -> str:
        """Say what it holds."""
        return f"OnDevice({self.held})"

    def tolist(self) -> list:
        """Do what torch refuses its subclasses."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        """Run an operation that one of these takes part in, in the parts that a device sees."""
        parts = operation.decompose(*args, **kwargs or {})
        return _run(operation, args, kwargs or {}) if parts is NotImplemented else parts


def available() -> bool:
    """Tell whether this torch lets a device be written in Python."""
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


def set_up() -> torch.device:
    """Make the device known to torch, once in a process."""
    module = backend_registration._DummyBackendModule()
    module.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=module)
    for operation in _MAKING:
        _library.impl(operation, partial(_call, operation), "PrivateUse1")
    _autocast.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")  # casts nothing
    return torch.device(NAME)


def living() -> list[OnDevice]:
    """Return the tensors that take up the device's memory."""
    gc.collect()
    return list(_living.values())


def waits() -> list[str]:
    """Return where the package has made the host wait for the device since the last question."""
    found = list(_waits)
    _waits.clear()
    return found


def _call(operation, *args, **kwargs):
    return _run(operation, args, kwargs)


def _run(operation, args: tuple, kwargs: dict[str, Any]):
    """Run an operation on what its arguments hold; the results are where CUDA would put them."""
    tensors: list[Tensor] = []

    def plain(value):
        if isinstance(value, Tensor):
            tensors.append(value)
        return _held(value)

    plain_args, plain_kwargs = _each(plain, (args, kwargs))
    own = [value for value in tensors if isinstance(value, OnDevice)]
    if own and operation not in _COPIES:
        _refuse_mixture(operation, tensors)
    if own and _is_wait(operation, args, kwargs):
        _waits.append(f"{operation} in {_place()}")
    device = kwargs.get("device")
    if operation in (_aten.copy_.default, _aten._copy_from.default):
        target = args[0] if operation is _aten.copy_.default else args[1]
        source = args[1] if operation is _aten.copy_.default else args[0]
        _held(target).copy_(_held(source))
        return target
    known = {id(value.held): value for value in own}
    if device is not None:
        plain_kwargs["device"] = torch.device("cpu")
    result = operation(*plain_args, **plain_kwargs)
    stays = bool(own) if device is None else torch.device(device).type == NAME
    if operation is _aten._to_copy.default and stays != bool(own):
        result = result.clone()  # memory of another device is never shared
    if not stays:
        return result

    def put(value):
        if not isinstance(value, Tensor):
            return value
        return known[id(value)] if id(value) in known else OnDevice(value)

    return _each(put, result)


def _each(change, value):
    """Change what an operation is given or returns, within lists and the like, too."""
    if isinstance(value, (list, tuple)):
        return type(value)(_each(change, one) for one in value)
    if isinstance(value, dict):
        return {name: _each(change, one) for name, one in value.items()}
    return change(value)


def _held(value):
    return value.held if isinstance(value, OnDevice) else value


def _refuse_mixture(operation, tensors: list[Tensor]) -> None:
    """Raise as CUDA does; it takes single numbers from the CPU too."""
    for value in tensors:
        if not isinstance(value, OnDevice) and value.dim():
            raise RuntimeError(
                "Expected all tensors to be on the same device, but "
                f"{operation} got one of {tuple(value.shape)} on {value.device} in {_place()}")


def _is_wait(operation, args: tuple, kwargs: dict[str, Any]) -> bool:
    if operation is _aten._to_copy.default:
        device = kwargs.get("device")
        return device is not None and torch.device(device).type == "cpu"
    if operation is _aten.copy_.default:
        return not isinstance(args[0], OnDevice)
    if operation in (_aten.index.Tensor, _aten.index_put_.default):
        return any(index is not None and index.dtype == torch.bool for index in args[1])
    return operation in _WAITING


def _place() -> str:
    """Return where in the package we are."""
    for frame in reversed(traceback.extract_stack()):
        if Path(frame.filename).is_relative_to(PACKAGE):
            return f"{Path(frame.filename).name}:{frame.lineno} ({frame.line})"
    return "a test"
