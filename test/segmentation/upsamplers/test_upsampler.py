"""Reading LoftUp's weights: from caches and files, never running what they carry."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sclip_seg_ros.models.weights import WeightsError, checksum
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import read_loftup

STATE = {"channelnorm.norm.weight": torch.arange(4.0), "channelnorm.norm.bias": torch.ones(4),
         "upsampler.lr_pe.biases": torch.zeros(2, 2, 5)}


class Intruder:
    """A pickle that would write a file when loaded."""

    def __init__(self, path: Path) -> None:
        """Remember what to write."""
        self.path = path

    def __reduce__(self):
        """Ask the unpickler to run code."""
        return Path.write_text, (self.path, "ran")


def test_a_torch_file_is_read(tmp_path):
    path = tmp_path / "loftup.bin"
    torch.save(STATE, path)
    weights = read_loftup(str(path))
    assert weights.state.keys() == STATE.keys()
    assert torch.equal(weights.state["channelnorm.norm.weight"], torch.arange(4.0))
    assert weights.metadata == {}
    assert str(path) in weights.origin and checksum(path) in weights.origin


def test_a_safetensors_file_brings_its_metadata(tmp_path):
    path = tmp_path / "loftup.safetensors"
    save_file(STATE, path, metadata={"feature_layer": "attended"})
    assert read_loftup(str(path)).metadata["feature_layer"] == "attended"


def test_a_training_checkpoint_is_renamed_and_stripped(tmp_path):
    path = tmp_path / "loftup_stage2.ckpt"
    training = {"model.0.visual.proj": torch.ones(2), "model.1.norm.weight": torch.arange(4.0),
                "model.1.norm.bias": torch.ones(4), "upsampler.lr_pe.biases": torch.zeros(2, 2, 5),
                "crop_upsampler.ema_model.lr_pe.biases": torch.ones(2, 2, 5),
                "downsampler.w": torch.ones(1)}
    torch.save({"state_dict": training, "epoch": 1}, path)
    state = read_loftup(str(path)).state
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "loftup.bin"
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(WeightsError, match="cut short.*copy it again"):
        read_loftup(str(path))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    path, trace = tmp_path / "loftup.bin", tmp_path / "trace"
    torch.save({**STATE, "extra": Intruder(trace)}, path)
    with pytest.raises(WeightsError, match="not loaded"):
        read_loftup(str(path))
    assert not trace.exists()


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="absent.bin' does not exist"):
        read_loftup(str(tmp_path / "absent.bin"))


@pytest.mark.parametrize("source", ["hub", "torch-hub"])
def test_an_unreachable_hub_names_the_remedies(offline, tmp_path, source):
    with pytest.raises(WeightsError, match="haiwen/loftup-clip@main.*pytorch_model.bin.*source"):
        read_loftup(source, cache_dir=str(tmp_path))
    assert not list(tmp_path.rglob("*.bin"))


def test_a_hub_file_that_was_fetched_once_needs_no_network(offline, tmp_path):
    repository = tmp_path / "models--haiwen--loftup-clip"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    torch.save(STATE, repository / "snapshots" / commit / "pytorch_model.bin")
    for revision in ("main", commit):
        weights = read_loftup(f"hub@{revision}", cache_dir=str(tmp_path))
        assert weights.state.keys() == STATE.keys()
        assert f"haiwen/loftup-clip@{commit}" in weights.origin


def test_a_hub_file_that_was_damaged_in_the_cache_is_refused(offline, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--haiwen--loftup-clip"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    torch.save(STATE, tmp_path / "good.bin")
    blob = repository / "blobs" / checksum(tmp_path / "good.bin")
    (tmp_path / "good.bin").rename(blob)
    (snapshot / "pytorch_model.bin").symlink_to(blob)
    assert read_loftup(f"hub@{commit}", cache_dir=str(tmp_path)).state.keys() == STATE.keys()
    torch.save({name: value + 1 for name, value in STATE.items()}, blob)
    with pytest.raises(WeightsError, match="SHA-256 .* not .*fetch it again"):
        read_loftup(f"hub@{commit}", cache_dir=str(tmp_path))


@pytest.mark.parametrize("source", ["loftup.bin", "hub", "torch-hub@main"])
def test_a_checksum_that_is_asked_for_must_be_the_file_s(offline, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    snapshot = tmp_path / "models--haiwen--loftup-clip" / "snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    for path in (tmp_path / "loftup.bin", snapshot / "pytorch_model.bin"):
        torch.save(STATE, path)
    path = snapshot / "pytorch_model.bin" if "hub" in source else tmp_path / "loftup.bin"
    read_loftup(f"{source}#sha256={checksum(path)}", cache_dir=str(tmp_path))
    wrong = "0" * 64
    with pytest.raises(WeightsError, match=f"not .*{wrong}; .*correct"):
        read_loftup(f"{source}#sha256={wrong}", cache_dir=str(tmp_path))
    with pytest.raises(WeightsError, match="ends in no SHA-256; write '#sha256=' and 64"):
        read_loftup(f"{source}#sha256=00ff", cache_dir=str(tmp_path))
