"""`sclip-train-loftup --train tower`: one forward learns what windows see, from pictures alone."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sclip_research.scenes import render, sample_scene
from sclip_research.train_loftup import main
from sclip_research.training.loftup.featurizer import Featurizer
from sclip_research.training.loftup.views import random_view
from sclip_research.training.loftup.windows import Tower, WindowTeacher
from tiny_clip import write_tiny_clip
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate, normalize

from sclip_seg_ros.models import load_clip
from sclip_seg_ros.segmentation import SCLIPSegmentor

HEIGHT, WIDTH, CROP, STRIDE = 96, 128, 32, 16
WORDS = ["road", "sky", "tree|bush"]
WEIGHTS = "model/open_clip_model.safetensors"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny CLIP and eight pictures of rooms, without masks."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "clip").mkdir()
    write_tiny_clip(folder / "clip")
    (folder / "images").mkdir()
    for index in range(8):
        cv2.imwrite(str(folder / "images" / f"{index}.png"), room(index, 144, 192)[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def flags(world: Path) -> list[str]:
    """Return the flags of a short run of the tiny CLIP."""
    return ["--model", f"local-dir:{world / 'clip'}", *shared(world)]


def shared(world: Path) -> list[str]:
    """Return the flags that all runs share."""
    return ["--train", "tower", "--images", str(world / "images"), "--size", str(HEIGHT),
            str(WIDTH), "--crop", str(CROP), "--stride", str(STRIDE), "--batch", "2", "--warm-up",
            "2", "--log-every", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def trained(world: Path) -> Path:
    """Train the embedded model once; return the run's folder."""
    work = world / "run"
    assert main(["--model", "embedded", *shared(world), "--work", str(work), "--steps", "40",
                 "--average", "0.8", "--contrast-weight", "0"]) == 0
    return work


def room(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return a picture of a room."""
    return render(sample_scene(np.random.default_rng(seed)), height, width).image


def as_batch(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def teacher_of(model: str) -> WindowTeacher:
    return WindowTeacher(Featurizer(load_clip(model), "attended", "clip"), CROP, STRIDE)


def curve(work: Path, name: str = "windows") -> list[float]:
    with open(work / "log.csv", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("model", ["embedded", "tiny"])
def test_the_teacher_gives_the_scores_of_the_segmentors_windows(world: Path, model: str):
    name = "embedded" if model == "embedded" else f"local-dir:{world / 'clip'}"
    segmentor = SCLIPSegmentor(name, precision="fp32", inference="slide", short_side=HEIGHT,
                               crop=CROP, stride=STRIDE, use_pamr=False)
    words = segmentor.vocabulary(WORDS)
    scores = segmentor.predict_dense(room(50), words).scores
    features = teacher_of(name)(as_batch(room(50)))[0]
    found = torch.einsum("dhw,qd->qhw", features, words.embeddings.float())
    assert torch.allclose(interpolate(scores[None], size=found.shape[1:], mode="bilinear")[0],
                          found, atol=1e-4)


def test_the_student_begins_as_what_the_segmentor_sees_whole(world: Path):
    name = f"local-dir:{world / 'clip'}"
    segmentor = SCLIPSegmentor(name, precision="fp32", short_side=HEIGHT, inference="whole",
                               use_pamr=False)
    words = segmentor.vocabulary(WORDS)
    scores = segmentor.predict_dense(room(50), words).score_map.values.transpose(0, 1)
    features = normalize(Tower(load_clip(name))(as_batch(room(50))), dim=1)[0].detach()
    found = torch.einsum("dhw,qd->qhw", features, words.embeddings.float())
    assert torch.allclose(scores, found, atol=1e-4)


def test_the_loss_falls_and_rooms_never_seen_come_nearer_to_their_windows(trained: Path):
    losses, teacher = curve(trained), teacher_of("embedded")
    assert len(losses) == 40 and np.mean(losses[-8:]) < 0.85 * np.mean(losses[:4])
    before, after = (Tower(load_clip(name)) for name in (
        "embedded", f"local-dir:{trained / 'model'}"))
    missing: list[list[float]] = [[], []]
    for image in (as_batch(room(seed)) for seed in (1000, 1001, 1002)):
        wanted = teacher(image)
        with torch.no_grad():
            for tower, found in zip((before, after), missing, strict=True):
                found.append(1 - float(cosine_similarity(tower(image), wanted).mean()))
    assert np.mean(missing[1]) < 0.95 * np.mean(missing[0])


def test_the_result_is_a_model_with_its_texts_as_they_were(trained: Path):
    name = f"local-dir:{trained / 'model'}"
    segmentor = SCLIPSegmentor(name, precision="fp32", short_side=HEIGHT, use_pamr=False)
    assert segmentor.decide(segmentor.settings).inference == "whole"
    old = SCLIPSegmentor(precision="fp32")
    assert segmentor.segment(room(50), WORDS).shape == (HEIGHT, WIDTH)
    assert torch.equal(segmentor.vocabulary(WORDS).embeddings, old.vocabulary(WORDS).embeddings)
    before, after = load_clip("embedded").model.state_dict(), load_file(trained / WEIGHTS)
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert before.keys() == after.keys()
    assert changed and all(key.startswith("visual.") for key in changed)


def test_an_interrupted_run_ends_bit_for_bit_where_an_uninterrupted_one_does(
        flags: list[str], tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*flags, "--steps", "4", "--work", str(whole)]) == 0
    assert main([*flags, "--steps", "4", "--work", str(parts), "--stop-after", "2"]) == 0
    assert main([*flags, "--steps", "4", "--work", str(parts), "--resume"]) == 0
    one, other = load_file(whole / WEIGHTS), load_file(parts / WEIGHTS)
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert curve(whole) == curve(parts)


def test_the_contrast_falls_too_and_is_left_out_without_a_weight(
        world: Path, trained: Path, tmp_path: Path):
    assert "contrast" not in (trained / "log.csv").read_text()
    assert main(["--model", "embedded", *shared(world), "--work", str(tmp_path), "--steps", "40",
                 "--learning-rate", "3e-4"]) == 0
    contrasts = curve(tmp_path, "contrast")
    assert len(contrasts) == 40 and np.mean(contrasts[-10:]) < 0.8 * np.mean(contrasts[:10])


def test_rooms_and_mixed_precision_train_too(flags: list[str], tmp_path: Path):
    rooms = [flag for flag in flags if flag != "--images" and not flag.endswith("images")]
    assert main([*rooms, "--rooms", "2", "--precision", "bf16", "--half", "--attention", "naclip",
                 "--no-residual", "--steps", "2", "--work", str(tmp_path)]) == 0
    assert np.isfinite(curve(tmp_path)).all()
    assert load_file(tmp_path / WEIGHTS)["visual.proj"].dtype == torch.float16


@pytest.mark.parametrize("arguments, message", [
    (["--alpha", "0.5"], "--alpha has no effect with --train tower"),
    (["--masks", "nowhere"], "--masks has no effect with --train tower"),
    (["--stage", "2"], "--stage has no effect with --train tower"),
    (["--train", "loftup", "--masks", "nowhere"], "--size has no effect with --train loftup"),
    (["--size", "90", "128"], "size=90 128 is not in whole patches of 16 pixels"),
    (["--crop", "70"], "crop=70 is not in whole patches of 16 pixels"),
    (["--stride", "33"], "stride=33 is out of range; give 1 to 32"),
    (["--size", "32", "32"], "holds one window of crop=32 alone"),
    (["--output", __file__], "is a file; a tower is written as a folder")])
def test_what_cannot_work_is_said_in_one_line(flags: list[str], tmp_path: Path, capsys,
                                              arguments: list[str], message: str):
    assert main([*flags, *arguments, "--steps", "1", "--work", str(tmp_path / "run")]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines()
               if line.startswith("sclip-train-loftup: ")]
    assert message in line


@pytest.mark.parametrize("shape", [(100, 300), (300, 100), (40, 60), (96, 128)])
def test_views_are_parts_of_their_picture_in_its_proportions(shape: tuple[int, int]):
    rows, columns = np.mgrid[:shape[0], :shape[1]]
    plane = np.stack([rows * 255 / shape[0], columns * 255 / shape[1], 0 * rows], -1)
    for seed in range(5):
        view = random_view(plane.astype(np.uint8), (48, 64), 0.5, np.random.default_rng(seed))
        assert view.shape == (48, 64, 3)
        down, across = (np.ptp(view[..., channel].astype(float)) * side / 255
                        for channel, side in enumerate(shape))
        assert down / across == pytest.approx(48 / 64, rel=0.15)    # neither is stretched
        assert 0.4 < max(down / shape[0], across / shape[1]) <= 1.0
