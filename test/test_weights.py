"""Weights files are read exactly, or refused in one sentence; none of them ever runs code."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sclip_seg_ros.models.weights import WeightsError, read_metadata, read_state_dict, sha256

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
    lambda state: {"state_dict": {"module." + name: value for name, value in state.items()}},
], ids=["state_dict", "model", "data-parallel"])
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
        read_state_dict(tmp_path)  # a folder is no file


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
    with pytest.raises(WeightsError, match="no torch file.*copy it again"):
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


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_refused(tmp_path):
    path = tmp_path / "ViT-B-16.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    with pytest.raises(WeightsError, match="TorchScript archive, which carries code.*safetensors"):
        read_state_dict(path)


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
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
