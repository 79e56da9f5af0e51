"""Weights files are read exactly, or refused in one sentence; none of them ever runs code."""

from __future__ import annotations

import errno
import hashlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sclip_seg_ros.models import formats
from sclip_seg_ros.models.weights import WeightsError, checksum, read_metadata, read_state_dict

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.5, -2.0])}


class Intruder:
    """Creates a file when unpickled, as a malicious checkpoint would do worse."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def same(state) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(state[k], STATE[k]) for k in STATE)


def written(path: Path, content, **options) -> Path:
    torch.save(content, path, **options)
    return path


def test_safetensors_come_back_with_their_metadata(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(STATE, path, metadata={"trained_on": "scenes"})
    assert same(read_state_dict(path))
    assert same(read_state_dict(str(path)))
    assert read_metadata(path) == {"trained_on": "scenes"}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torch_files_of_either_format_come_back(tmp_path, zipped):
    path = written(tmp_path / "weights.pt", STATE, _use_new_zipfile_serialization=zipped)
    assert same(read_state_dict(path))
    assert read_metadata(path) == {}


@pytest.mark.parametrize("wrap", [
    lambda state: {"state_dict": state, "epoch": 3},
    lambda state: {"model": state, "optimizer": {"step": 1}},
    lambda state: {"model_state_dict": state, "optimizer_state_dict": {"step": 1}, "epoch": 3},
    lambda state: {"module": state, "lr_scheduler": None},
    lambda state: {"state_dict": {"module." + name: value for name, value in state.items()}},
], ids=["state_dict", "model", "model_state_dict", "DeepSpeed", "data-parallel"])
def test_a_training_checkpoint_is_unwrapped(tmp_path, wrap):
    assert same(read_state_dict(written(tmp_path / "checkpoint.pt", wrap(STATE))))


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "weights.pt", STATE)
    assert same(read_state_dict("~/weights.pt"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="absent.pt' does not exist; give the path"):
        read_state_dict(tmp_path / "absent.pt")
    with pytest.raises(WeightsError, match="does not exist"):
        read_state_dict(tmp_path)  # a folder is not a file


def test_a_web_address_is_told_as_that():
    address = "https://huggingface.co/x/y/resolve/main/f.safetensors"
    for given in (address, Path(address)):
        with pytest.raises(WeightsError, match=f"'{address}' is a web address; download it and"):
            read_state_dict(given)


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_torch_file_cut_short_is_refused(tmp_path, zipped, kept):
    path = written(tmp_path / "weights.pt", STATE, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[:int(kept * len(content))])
    with pytest.raises(WeightsError, match="weights.pt' .*copy it again"):
        read_state_dict(path)


@pytest.mark.parametrize("kept", [0, 4, 40, -3])
def test_safetensors_cut_short_are_refused(tmp_path, kept):
    path = tmp_path / "weights.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="not a readable safetensors file.*copy it again"):
        read_state_dict(path)
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        read_metadata(path)


@pytest.mark.parametrize("content", [b"<html>404 Not Found</html>", b"version https://git-lfs"])
def test_a_page_saved_in_place_of_weights_is_called_broken_not_dangerous(tmp_path, content):
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a torch file.*copy it again"):
        read_state_dict(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("save", [
    lambda content, path: path.write_bytes(pickle.dumps(content)),
    lambda content, path: torch.save(content, path),
    lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
], ids=["pickle", "zip", "legacy"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, save):
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    save({**STATE, "extra": Intruder(trace)}, path)
    with pytest.raises(WeightsError, match="was not loaded.*could run code.*safetensors"):
        read_state_dict(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Intruder(trace)))  # the same object does act where it is let
    assert trace.exists()


class Scripted(torch.nn.Module):
    """A module whose code leaves a trace where it is run, with all kinds of tensors."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
        self.transposed = torch.nn.Parameter(torch.randn(4, 4).half().T)  # not contiguous
        self.register_buffer("vocab_size", torch.tensor(49408))
        self.shared = self.layer[0].weight

    def forward(self, x):
        return self.layer(x) + self.transposed.sum() + self.vocab_size


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda module: torch.jit.trace(
    module, torch.zeros(1, 3))], ids=["scripted", "traced"])
def test_of_a_torchscript_archive_the_tensors_are_read_and_nothing_is_run(
        tmp_path, monkeypatch, make):
    path = tmp_path / "ViT-B-16.pt"
    make(Scripted()).save(str(path))
    wanted = torch.jit.load(str(path)).state_dict()
    for name in ("load", "script", "trace"):
        monkeypatch.delattr(torch.jit, name)
    found = read_state_dict(path)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype
               for name, value in wanted.items())


def test_code_in_the_pickle_of_a_torchscript_archive_is_not_run(tmp_path):
    path, trace = tmp_path / "evil.pt", tmp_path / "trace"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(Intruder(trace)))
        archive.writestr("evil/code/__torch__.py", "raise SystemExit")
    with pytest.raises(WeightsError, match="was not loaded.*could run code"):
        read_state_dict(path)
    assert not trace.exists()


@pytest.mark.parametrize(("content", "what"), [
    (b"\x08\x07\x12\x07pytorch\x1a\x052.3.0", "an ONNX model"),
    (b"GGUF\x03\0\0\0" + bytes(90), "a GGUF file"),
    (b"ftrt" + bytes(90), "a TensorRT engine"),
    (b"\x93NUMPY\x01\0v\0", "a NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "a Git LFS pointer"),
    (b"\n<!DOCTYPE html><html><head>", "a web page"),
    (b"\x1f\x8b\x08\0", "a gzip archive"),
    (b'{"metadata": {}, "weight_map": {}}', "an index of several files"),
    (b'{"model_cfg": {}}', "JSON text"),
])
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model"])
def test_a_file_is_named_as_what_it_is_whatever_its_ending(tmp_path, content, what, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name}' is not a torch file but {what}.*; .+"):
        read_state_dict(path)


def test_an_archive_of_numpy_is_named(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    with pytest.raises(WeightsError, match="not a torch file but a NumPy archive"):
        read_state_dict(tmp_path / "weights.npz")


@pytest.mark.parametrize("name", ["weights.pt", "weights.bin", "d2f0"])
def test_safetensors_are_read_under_any_name(tmp_path, name):
    save_file(STATE, tmp_path / name, metadata={"made": "here"})
    assert same(read_state_dict(tmp_path / name))
    assert read_metadata(tmp_path / name) == {"made": "here"}


def test_a_torch_file_is_read_under_any_name(tmp_path):
    assert same(read_state_dict(written(tmp_path / "weights.safetensors", STATE)))


def test_a_folder_and_a_file_without_permission_are_called_so(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match="it is a folder; .* give model 'local-dir:"):
        read_state_dict(tmp_path)
    save_file(STATE, tmp_path / "weights.safetensors")

    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(formats, "open", refuse, raising=False)  # root may read anything
    with pytest.raises(WeightsError, match="cannot be read .Permission denied.; see to its perm"):
        read_state_dict(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(("content", "reason"), [
    ([torch.ones(1)], "holds a list where a state dict belongs"),
    (torch.ones(1), "holds a Tensor where a state dict belongs"),
    ({}, "is an empty table"),
    ({"state_dict": {}}, "is an empty table"),
    ({**STATE, "epoch": 3}, "entry 'epoch' is of type int"),
    ({0: torch.ones(1)}, "entry 0 is of type Tensor"),
])
def test_anything_but_a_table_of_tensors_is_refused(tmp_path, content, reason):
    with pytest.raises(WeightsError, match=f"weights.pt' .*{reason}.*state_dict"):
        read_state_dict(written(tmp_path / "weights.pt", content))


def test_sha256_is_the_files_own_across_blocks(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 5000)
    assert checksum(path) == hashlib.sha256(path.read_bytes()).hexdigest()
