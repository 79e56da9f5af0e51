"""Weights that are cut short, of another model, or would run code: a clear end, or a refusal."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from checkpoints import save_loftup
from right_labels import SHORT_SIDE, expect_right_labels
from ros_harness import NodeProcess, Probe, domain_for, picture, running_node
from safetensors.torch import save_file
from sclip_seg_ros.msg import SegmentationStatus
from tiny_clip import write_config, write_tiny_clip

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall"]


class Intruder:
    """What leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def cut_short(folder: Path, trace: Path) -> None:
    write_tiny_clip(folder)
    path = folder / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def of_another_model(folder: Path, trace: Path) -> None:
    weights = write_tiny_clip(folder)
    save_file({**weights, "visual.proj": torch.zeros(64, 48)},
              folder / "open_clip_model.safetensors")


def code(folder: Path, trace: Path) -> None:
    write_config(folder)
    torch.save({"logit_scale": Intruder(trace)}, folder / "open_clip_pytorch_model.bin")


@pytest.mark.parametrize("spoil, complaint", [
    (cut_short, "is not a readable safetensors file"),
    (of_another_model, "visual.proj has shape (64, 48)"),
    (code, "could run code"),
])
def test_a_model_that_cannot_be_trusted_ends_the_start(tmp_path, spoil, complaint):
    folder = tmp_path / "model"
    folder.mkdir()
    spoil(folder, tmp_path / "trace")
    node = NodeProcess(DOMAIN, tmp_path / "log.txt", {"model": f"local-dir:{folder}"})
    try:
        assert node.process.wait(60) == 1
    finally:
        node.kill()
    [line] = [line for line in node.log.splitlines() if "[FATAL]" in line]
    assert complaint in line, line
    assert str(folder) in line
    assert "Traceback" not in node.log
    assert not (tmp_path / "trace").exists()


def test_a_stages_weights_are_refused_and_the_node_goes_on(tmp_path):
    """The file of LoftUp is replaced under the running node, each time by another evil."""
    path, trace = tmp_path / "loftup.safetensors", tmp_path / "trace"
    good = Path(save_loftup(tmp_path / "good.safetensors", 512)).read_bytes()
    evils = [good[:-1000], good[:100], b"", pickle.dumps({"weight": Intruder(trace)}),
             b"<html>not found</html>"]
    path.write_bytes(evils[0])
    with running_node(DOMAIN, tmp_path / "log.txt", {
            "classes": CLASSES, "short_side": SHORT_SIDE, "loftup.source": str(path)}) as node:
        with Probe(DOMAIN) as probe:
            for evil in evils:
                path.write_bytes(evil)
                with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
                    refusals = node.log.count("settings refused")
                    assert probe.set_parameters(use_loftup=True).successful
                    # The log comes first; a frame before it says nothing of the refusal.
                    probe.feed_until(lambda count=refusals: statuses
                                     and node.log.count("settings refused") > count
                                     and "WeightsError" in statuses[-1].last_error,
                                     "a status that tells the refusal", picture)
                    probe.wait(lambda: probe.get_parameter("use_loftup") is False, "the old value")
                    assert str(path) in statuses[-1].last_error
                expect_right_labels(probe, CLASSES)
        assert not trace.exists()
        assert "Traceback" not in node.log
