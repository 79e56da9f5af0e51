"""Read the tensors of a TorchScript archive, such as OpenAI's ViT-B-16.pt, and run none of it.

The archive is a zip: ``<name>/data.pkl`` pickles a tree of objects whose classes lie under
``__torch__``; ``<name>/data/<key>`` holds the raw numbers. An unpickler that knows nothing but an
inert stand-in for those classes, a builder of tensors and a few containers cannot run anything.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

_DTYPES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16,
           "BFloat16Storage": torch.bfloat16, "DoubleStorage": torch.float64,
           "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16,
           "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool}


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors under the names that the module's ``state_dict`` has.

    Raises:
        pickle.UnpicklingError: the archive asks for more than tensors and plain containers.
        OSError, KeyError, ValueError, zipfile.BadZipFile: it is broken.
    """
    with zipfile.ZipFile(path) as archive:
        data = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        root = _Reader(archive, data.rpartition("/")[0]).load()
    found: dict[str, torch.Tensor] = {}
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        prefix, module = waiting.pop()
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                found[prefix + name] = value
            elif isinstance(value, _Inert):
                waiting.append((f"{prefix}{name}.", value))
    return found


class _Inert:
    """Stands for any class of the archive: keeps its state, does nothing."""

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state if isinstance(state, dict) else {})


def _first(value: Any, *_: Any) -> Any:
    return value


class _Reader(pickle.Unpickler):
    """Build the tree of stand-ins and tensors."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive, self._root = archive, root
        self._storages: dict[str, torch.Tensor] = {}
        self._allowed = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): _first,
            ("collections", "OrderedDict"): OrderedDict,
            ("torch.jit._pickle", "restore_type_tag"): _first,
            **{("torch.jit._pickle", f"build_{kind}list"): list
               for kind in ("int", "tensor", "double", "bool")},
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a class; see :class:`pickle.Unpickler`."""
        if module.split(".")[0] == "__torch__":
            return _Inert
        if module == "torch" and name in _DTYPES:
            return name
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a tensor")
        return self._allowed[module, name]

    def persistent_load(self, identity: Any) -> torch.Tensor:
        """Return a storage as a flat tensor; see :class:`pickle.Unpickler`."""
        _, kind, key, _, _ = identity
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._storages[key] = torch.frombuffer(content, dtype=_DTYPES[kind]) if content \
                else torch.empty(0, dtype=_DTYPES[kind])
        return self._storages[key]

    @staticmethod
    def _tensor(storage: torch.Tensor, offset: int, size: Any, stride: Any,
                *_: Any) -> torch.Tensor:
        return torch.as_strided(storage, tuple(size), tuple(stride), offset)
