"""`sclip-train-loftup` in the small: it learns in both stages, resumes exactly, and shares work."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sclip_research.train_loftup import main
from sclip_research.training.loftup.crops import load_batches
from sclip_research.training.loftup.photographs import open_photographs
from sclip_research.training.loftup.settings import TrainingSettings
from tiny_clip import write_tiny_clip

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import read_loftup

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--sides", "64", "--factors", "4", "--batch", "2", "--frequencies", "6", "--hidden", "32",
         "--log-every", "1", "--warm-up", "5", "--device", "cpu"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny CLIP, ten pictures of rectangles, and their masks."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "clip").mkdir()
    write_tiny_clip(folder / "clip")
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for index in range(10):
        labels = np.zeros((128, 128), np.uint8)
        for number in range(1, 5):
            top, left = rng.integers(0, 90, 2)
            labels[top:top + 50, left:left + 50] = number
        colours = rng.integers(0, 256, (5, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / f"{index}.png"), colours[labels])
        cv2.imwrite(str(folder / "masks" / f"{index}.png"), labels)
    return folder


@pytest.fixture(scope="module")
def flags(world: Path) -> list[str]:
    """Return the flags that all runs share."""
    return ["--model", f"local-dir:{world / 'clip'}", "--images", str(world / "images"),
            "--masks", str(world / "masks"), *SMALL]


@pytest.fixture(scope="module")
def first_stage(world: Path, flags: list[str]) -> Path:
    """Train stage 1 once; return its folder."""
    work = world / "first"
    assert main([*flags, "--work", str(work), "--steps", "40", "--average", "0.9"]) == 0
    return work


def curve(work: Path, name: str) -> list[float]:
    """Read a loss's curve."""
    with open(work / "log.csv", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def fell(values: list[float], share: float) -> bool:
    """Tell whether the last values are below a share of the first ones."""
    return np.mean(values[-8:]) < share * np.mean(values[:4])


def same(first: Path, second: Path) -> bool:
    """Tell whether two checkpoints hold the same bits."""
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def test_the_first_stage_learns(first_stage):
    assert len(curve(first_stage, "mask")) == 40
    assert fell(curve(first_stage, "mask"), 0.8)
    assert all(0 <= share < 1 for share in curve(first_stage, "data_share"))


def test_the_second_stage_learns_from_its_teacher(world, flags, first_stage):
    work = world / "second"
    arguments = ["--stage", "2", "--initial", str(first_stage / "loftup.safetensors"),
                 "--mask-weight", "0", "--teacher-weight", "0.5", "--teacher-every", "1",
                 "--affinity-pixels", "40", "--steps", "30", "--work", str(work)]
    assert main([*flags, *arguments]) == 0
    assert fell(curve(work, "affinity"), 0.9)
    assert not same(work / "loftup.safetensors", first_stage / "loftup.safetensors")


def test_the_result_states_its_contract_and_segments(world, first_stage):
    path = str(first_stage / "loftup.safetensors")
    metadata = read_loftup(path).metadata
    name = f"local-dir:{world / 'clip'}"
    assert FeatureContract.from_metadata(metadata) == FeatureContract(name, "attended", "clip")
    assert json.loads(metadata["training"])["alpha"] == 0.8
    segmentor = SCLIPSegmentor(name, use_loftup=True, loftup__source=path, short_side=64, crop=64,
                               stride=64)
    labels = segmentor.segment(np.zeros((64, 96, 3), np.uint8), ["road", "sky"])
    assert labels.shape == (64, 96)


@pytest.mark.parametrize("stage", ["1", "2"])
def test_an_interrupted_run_ends_bit_for_bit_where_an_uninterrupted_one_does(
        world, flags, first_stage, stage, tmp_path):
    arguments = [*flags, "--steps", "6", "--accumulation", "2", "--stage", stage, "--factors", "2",
                 "4", "--contrast-weight", "0.5", "--teacher-every", "2"]
    if stage == "2":
        arguments += ["--initial", str(first_stage / "loftup.safetensors")]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*arguments, "--work", str(whole)]) == 0
    assert main([*arguments, "--work", str(parts), "--stop-after", "4"]) == 0
    assert not same(whole / "loftup.safetensors", parts / "loftup.safetensors")
    assert main([*arguments, "--work", str(parts), "--resume"]) == 0
    assert same(whole / "loftup.safetensors", parts / "loftup.safetensors")
    losses = [name for name in ("mask", "contrast", "affinity") if stage == "2" or name[0] != "a"]
    assert all(curve(whole, name) == curve(parts, name) for name in losses)


def test_two_processes_end_where_one_with_accumulation_does(world, flags, tmp_path):
    arguments = [*flags, "--steps", "4", "--accumulation", "2", "--average", "0"]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert main([*arguments, "--work", str(alone)]) == 0
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "sclip_research.train_loftup", *arguments, "--work", str(shared)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    one, other = (load_file(work / "loftup.safetensors") for work in (alone, shared))
    for name, value in one.items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(other[name], value, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(curve(shared, "rate"), curve(alone, "rate"))


def test_a_state_of_two_processes_is_resumed_by_one(world, flags, tmp_path):
    """Only the whole number of batches in a step must stay the same."""
    arguments = [*flags, "--steps", "2", "--work", str(tmp_path)]
    assert main([*arguments, "--accumulation", "2", "--stop-after", "1"]) == 0
    assert main([*arguments, "--accumulation", "1", "--resume"]) == 2
    assert main([*arguments, "--accumulation", "2", "--resume"]) == 0


def test_values_in_mixed_precision_with_imagenets_statistics(world, flags, tmp_path):
    assert main([*flags, "--features", "value", "--normalisation", "imagenet", "--precision",
                 "bf16", "--steps", "12", "--half", "--work", str(tmp_path)]) == 0
    assert fell(curve(tmp_path, "mask"), 1.0)
    weights = read_loftup(str(tmp_path / "loftup.safetensors"))
    assert FeatureContract.from_metadata(weights.metadata).normalisation == "imagenet"
    assert weights.state["upsampler.final_conv.0.weight"].dtype == torch.float16


def test_rendered_rooms_train_too(world, flags, tmp_path):
    rooms = [flag for flag in flags if flag not in ("--images", str(world / "images"), "--masks",
                                                    str(world / "masks"))]
    assert main([*rooms, "--rooms", "2", "--steps", "2", "--work", str(tmp_path)]) == 0
    assert np.isfinite(curve(tmp_path, "mask")).all()


def test_a_memory_estimate_comes_first_and_grows_with_the_batch(world, flags, tmp_path, caplog):
    megabytes = []
    for batch in ("2", "8"):
        assert main([*flags, "--batch", batch, "--steps", "1", "--factors", "16", "--work",
                     str(tmp_path / batch)]) == 0
        (line,) = [text for text in caplog.messages if "estimated" in text]
        megabytes.append(float(line.partition("activations ")[2].partition(" MB")[0]))
        caplog.clear()
    assert megabytes[1] == pytest.approx(4 * megabytes[0], rel=0.1)


def test_examples_depend_on_nothing_but_their_number(world):
    source = open_photographs(world / "images", str(world / "masks"))
    settings = TrainingSettings(batch=2, accumulation=2, sides=(32, 48))
    alone = list(load_batches(source, settings, 1, 3))
    shared = [load_batches(source, settings.for_processes(2), 1, 3, rank, 2) for rank in (0, 1)]
    taken = [batch for pair in zip(*shared, strict=True) for batch in pair]
    elsewhere = list(load_batches(source, settings, 1, 3, workers=1))
    for batch, other, third in zip(alone, taken, elsewhere, strict=True):
        assert all(part.equal(match) for part, match in zip(batch, other, strict=True))
        assert all(part.equal(match) for part, match in zip(batch, third, strict=True))
    assert not alone[0].images.equal(alone[1].images)


@pytest.mark.parametrize("arguments, message", [
    (["--features", "attended", "--normalisation", "imagenet"], "does not go with attended"),
    (["--precision", "fp16"], "precision='fp16' does not train on 'cpu'"),
    (["--factors", "32"], "give at most 16"),
    (["--stage", "2"], "give its checkpoint with --initial"),
    (["--mask-weight", "0"], "all losses of this stage have weight 0"),
    (["--alpha", "1.2"], "alpha=1.2 is out of range"),
    (["--heads", "5"], "5 heads"),
    (["--resume"], "to resume from; leave --resume out"),
    (["--output", "loftup.bin"], "must end in .safetensors"),
    (["--tensorboard"], "needs the package 'tensorboard'"),
    (["--masks", "nowhere"], "neither a folder, nor a JSON file, nor module:function")])
def test_what_cannot_work_is_said_in_one_line(flags, tmp_path, capsys, arguments, message):
    if arguments == ["--tensorboard"]:
        for name in ("tensorboard", "torch.utils.tensorboard"):
            sys.modules.pop(name, None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "tensorboard", None)
            status = main([*flags, *arguments, "--steps", "1", "--work", str(tmp_path / "run")])
    else:
        status = main([*flags, *arguments, "--steps", "1", "--work", str(tmp_path / "run")])
    (line,) = [line for line in capsys.readouterr().err.splitlines()
               if line.startswith("sclip-train-loftup: ")]
    assert status == 2 and message in line


def test_a_stage_one_checkpoint_of_other_features_is_refused(flags, first_stage, tmp_path, capsys):
    assert main([*flags, "--initial", str(first_stage / "loftup.safetensors"), "--features",
                 "value", "--steps", "1", "--work", str(tmp_path)]) == 2
    assert "layer is 'value' but it was trained with 'attended'" in capsys.readouterr().err


def test_a_checkpoint_with_no_number_of_heads_is_refused(flags, first_stage, tmp_path, capsys):
    with safe_open(first_stage / "loftup.safetensors", "pt") as file:
        stated = file.metadata()
    state = load_file(first_stage / "loftup.safetensors")
    save_file(state, tmp_path / "odd.safetensors", {**stated, "loftup_heads": "many"})
    assert main([*flags, "--stage", "2", "--initial", str(tmp_path / "odd.safetensors"),
                 "--steps", "1", "--work", str(tmp_path / "run")]) == 2
    assert "loftup_heads='many', which is not a number of heads" in capsys.readouterr().err


def test_an_older_run_is_not_overwritten(flags, first_stage, capsys):
    assert main([*flags, "--steps", "40", "--average", "0.9", "--work", str(first_stage)]) == 2
    assert "add --resume to go on with it, --restart to begin anew" in capsys.readouterr().err
    assert main([*flags, "--steps", "41", "--average", "0.9", "--resume", "--work",
                 str(first_stage)]) == 2
    assert "was trained with steps=40, now it is 41" in capsys.readouterr().err
