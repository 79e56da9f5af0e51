"""Read tensors from a file without ever running code from it."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from sclip_seg_ros.models.messages import first_line


class WeightsError(RuntimeError):
    """Weights cannot be had or do not fit; the message says which and what to do."""


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict from a safetensors file or from a torch file loaded with weights_only.

    A checkpoint that wraps its weights in ``state_dict`` or ``model`` is unwrapped, and the
    ``module.`` prefix that data-parallel training leaves behind is dropped.

    Raises:
        WeightsError: the file is missing, cut short, a TorchScript archive, or holds something
            other than tensors (a pickle that would run code is refused, not run).
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(f"weights file '{path}' does not exist; give the path of an existing "
                           "safetensors or torch file")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(state.get(wrapper), Mapping):
            state = dict(state[wrapper])
    _refuse_other_than_tensors(state, path)
    return {name.removeprefix("module."): value for name, value in state.items()}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the text metadata inside a safetensors file; empty for any other file."""
    if Path(path).suffix != ".safetensors":
        return {}
    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"'{path}' is not a readable safetensors file ({error}); "
                           "copy it again") from error


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _read_safetensors(path: Path) -> dict:
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"'{path}' is not a readable safetensors file ({error}); "
                           "copy it again") from error


def _read_torch(path: Path) -> dict:
    if _is_torchscript(path):
        raise WeightsError(f"'{path}' is a TorchScript archive, which carries code; save its "
                           "state_dict() as safetensors once and give that file")
    if not _looks_like_torch(path):
        raise _broken(path, ValueError("neither a zip archive nor a pickle"))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unexpected EOF" in str(error):  # which torch before 2.6 does not tell apart
            raise _broken(path, error) from error
        raise WeightsError(f"'{path}' holds more than tensors and was not loaded, because that "
                           "could run code; save its state_dict() as safetensors") from error
    except Exception as error:  # the unpickler answers a broken file with any of a dozen types
        raise _broken(path, error) from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"'{path}' holds a {type(state).__name__} where a state dict belongs; "
                           "save the model's state_dict()")
    return dict(state)


def _broken(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"'{path}' is cut short or no torch file ({first_line(error)}); copy it "
                        "again")


def _refuse_other_than_tensors(state: Mapping, path: Path) -> None:
    if not state:
        raise WeightsError(f"'{path}' is an empty table; save the model's state_dict() and give "
                           "that file")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(f"'{path}' holds no plain table of tensors (its entry {name!r} is "
                               f"of type {type(value).__name__}); save the model's state_dict() "
                               "and give that file")


def _looks_like_torch(path: Path) -> bool:
    """Tell by the first bytes, because torch reports any other file as possibly malicious."""
    with open(path, "rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80"))


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())
