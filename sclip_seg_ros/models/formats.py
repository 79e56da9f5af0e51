"""What a weights file is, by its content: endings are not believed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

SAFETENSORS, TORCH, TORCHSCRIPT = "safetensors", "torch", "torchscript"
EMPTY, UNKNOWN = "empty", "unknown"

# Beginnings of other files, what they are, and what to do with them.
_FOREIGN = (
    (b"GGUF", "a GGUF file (llama.cpp)", "give the model's safetensors or torch file"),
    (b"ftrt", "a TensorRT engine", "give the weights that it was built from"),
    (b"ptrt", "a TensorRT engine", "give the weights that it was built from"),
    (b"\x93NUMPY", "a NumPy array", "convert it to safetensors"),
    (b"\x89HDF", "an HDF5 file (Keras)", "convert it to safetensors"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file that it stands for ('git lfs "
                                                    "pull'), and copy it again"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it first"),
)
_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head")


def format_of(path: Path) -> str:
    """Return one of the names above for a file that may be read, UNKNOWN, EMPTY, or "".

    The last stands for a file that :func:`foreign` names.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return EMPTY
    if _begins_safetensors(head):
        return SAFETENSORS
    if head.startswith(b"PK\x03\x04"):
        return _zip_format(path)
    if head[:1] == b"\x80" and len(head) > 1 and head[1] in range(2, 6):  # a pickle's protocol
        return TORCH
    return "" if foreign(path) else UNKNOWN


def foreign(path: Path) -> tuple[str, str] | None:
    """Return what a file is that holds no weights for torch, and the remedy."""
    with open(path, "rb") as file:
        head = file.read(512)
    for beginning, what, remedy in _FOREIGN:
        if head.startswith(beginning):
            return what, remedy
    text = head.lstrip().lower()
    if text.startswith(_PAGE):
        return "a web page (HTML)", "download the file itself, and copy it again"
    if text.startswith((b"{", b"[")):
        if b"weight_map" in path.read_bytes()[:1 << 16] or path.name.endswith(".index.json"):
            return "an index of several files", "give one file that holds all tensors"
        return "JSON text", "give the weights file beside it"
    # ONNX is a protocol buffer: field 1 (ir_version, a small number), then a string field.
    if head[0:1] == b"\x08" and len(head) > 3 and head[1] < 32 and head[2] in (0x12, 0x1A, 0x22,
                                                                               0x2A, 0x32, 0x3A):
        return "an ONNX model", "give the weights that it was exported from"
    if head.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith(".npy") for name in names):
            return "a NumPy archive", "convert it to safetensors"
        if not any(name.endswith("data.pkl") for name in names):
            return "a zip archive without tensors", "unpack it first"
    return None


def _begins_safetensors(head: bytes) -> bool:
    """Tell by the length of the header and the brace that it begins with."""
    return len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < 1 << 27


def _zip_format(path: Path) -> str:
    if not zipfile.is_zipfile(path):  # without its directory at the end
        return TORCH
    if foreign(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        scripted = any("/code/" in name for name in archive.namelist())
    return TORCHSCRIPT if scripted else TORCH


def safetensors_length(path: Path) -> int | None:
    """Return how long a safetensors file should be by its header; None if that is cut, too."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            table = json.loads(file.read(size))
        return 8 + size + max((entry["data_offsets"][1] for name, entry in table.items()
                               if name != "__metadata__"), default=0)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError):
        return None
