"""Read tensors from a file without ever running code from it."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from sclip_seg_ros.common.errors import Unusable
from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.models.formats import (
    EMPTY,
    SAFETENSORS,
    TORCH,
    TORCHSCRIPT,
    foreign,
    format_of,
    safetensors_length,
)
from sclip_seg_ros.models.torchscript import read_torchscript

_WRAPPERS = ("state_dict", "model_state_dict", "module", "model")  # where trainers put weights
_WEB_ADDRESS = re.compile(r"(https?):/+(.*)")  # of a Path, too, which leaves one stroke
_PART = re.compile(r"-(\d+)-of-(\d+)(?=\.)")  # as transformers numbers the parts of large weights


class WeightsError(Unusable):
    """Weights cannot be had or do not fit; the message says which and what to do."""


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict from a safetensors, torch or TorchScript file, whatever its name ends in.

    A checkpoint that wraps its weights, as trainers do, is unwrapped, and the ``module.`` prefix
    that data-parallel training leaves behind is dropped. Of a TorchScript archive the tensors are
    read and nothing is run.

    Raises:
        WeightsError: the file is missing, cut short, of another kind, or holds something other
            than tensors (a pickle that would run code is refused, not run), or a part of a model.
    """
    if address := _WEB_ADDRESS.match(str(path)):
        raise WeightsError(f"weights file '{address[1]}://{address[2]}' is a web address; download "
                           "it and give its path, or leave pretrained empty and give a model of "
                           "the hub, 'hf-hub:<owner>/<name>'")
    path = Path(path).expanduser()
    if path.is_dir():
        raise WeightsError(f"weights file '{path}' does not exist: it is a folder; give the file "
                           f"in it, or leave pretrained empty and give model 'local-dir:{path}'")
    if not path.is_file():
        raise WeightsError(f"weights file '{path}' does not exist; give the path of an existing "
                           "safetensors or torch file")
    if is_part(path):
        raise WeightsError(f"'{path}' is one of several parts of a model's weights; save them as "
                           "one file, with transformers by save_pretrained(FOLDER, "
                           "max_shard_size='100GB')")
    state = _READERS[_readable_format(path)](path)
    for wrapper in _WRAPPERS:
        if isinstance(state.get(wrapper), Mapping):
            state = dict(state[wrapper])
    _refuse_other_than_tensors(state, path)
    return {name.removeprefix("module."): value for name, value in state.items()}


def is_part(path: Path) -> bool:
    """Tell by its name whether a file is one of several that hold a model's weights together."""
    numbers = _PART.search(path.name)
    return numbers is not None and int(numbers[2]) > 1


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the text metadata inside a safetensors file; empty for any other file."""
    if _readable_format(Path(path)) != SAFETENSORS:
        return {}
    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _broken_safetensors(Path(path), error) from error


def is_safetensors(path: str | Path) -> bool:
    """Tell whether a file is one of safetensors, whatever its name ends in."""
    return _readable_format(Path(path)) == SAFETENSORS


def checksum(path: str | Path, kind: str = "sha256", prefix: bytes = b"") -> str:
    """Return a checksum, as hashlib names it, of some bytes and a file behind them."""
    digest = hashlib.new(kind, prefix)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _readable_format(path: Path) -> str:
    """Return the format of a file that can be read, or say what it is instead."""
    try:
        found = format_of(path)
        if found in _READERS:
            return found
        other = foreign(path) if found == "" else None
    except OSError as error:
        raise WeightsError(f"'{path}' cannot be read ({error.strerror}); see to its permissions "
                           "and its disk") from error
    if other:
        raise WeightsError(f"'{path}' is not a torch file but {other[0]}; {other[1]}")
    reason = ValueError("it is empty" if found == EMPTY else "neither a zip archive, a pickle nor "
                        "safetensors")
    raise _broken_safetensors(path, reason) if path.suffix == ".safetensors" \
        else _broken(path, reason)


def _read_safetensors(path: Path) -> dict:
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise _broken_safetensors(path, error) from error


def _read_torchscript(path: Path) -> dict:
    try:
        return read_torchscript(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"'{path}' holds more than tensors and was not loaded, because that "
                           "could run code; save its state_dict() as safetensors") from error
    except Exception as error:  # as of other torch files
        raise _broken(path, error) from error


def _read_torch(path: Path) -> dict:
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


_READERS = {SAFETENSORS: _read_safetensors, TORCH: _read_torch, TORCHSCRIPT: _read_torchscript}


def _broken(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"'{path}' is cut short or no torch file ({first_line(error)}); copy it "
                        "again")


def _broken_safetensors(path: Path, error: Exception) -> WeightsError:
    whole, there = safetensors_length(path), path.stat().st_size
    reason = f"cut short: {there} of {whole} bytes" if whole and there < whole \
        else first_line(error)
    return WeightsError(f"'{path}' is not a readable safetensors file ({reason}); copy it again")


def _refuse_other_than_tensors(state: Mapping, path: Path) -> None:
    if not state:
        raise WeightsError(f"'{path}' is an empty table; save the model's state_dict() and give "
                           "that file")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(f"'{path}' holds no plain table of tensors (its entry {name!r} is "
                               f"of type {type(value).__name__}); save the model's state_dict() "
                               "and give that file")
