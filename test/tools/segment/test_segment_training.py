"""`sclip-segment --export-training`: pictures, labels and weights that others can train with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sclip_research.scenes.held_out import held_out_scene

from sclip_seg_ros.tools.benchmark.datasets import open_dataset
from sclip_seg_ros.tools.segment.command import main

pytestmark = pytest.mark.usefixtures("one_commit")
FLAGS = ["--whole", "--set", "short_side=112", "--device", "cpu", "--vocabulary", "floor|ground",
         "wall", "table"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Lay out two rooms, one stored on its side, and one in a folder of its own."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(held_out_scene(1)[0].image).save(folder / "a.JPG", "JPEG")
    Image.fromarray(held_out_scene(2)[0].image).save(folder / "b.jpg", exif=turned)
    Image.fromarray(held_out_scene(3)[0].image).save(folder / "deeper/c.png")
    return folder


def plane(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_folder_is_one_that_benchmark_reads(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([str(photos), "--output", str(out), *FLAGS, "--export-training",
                 "--least-confidence", "0.6"]) == 0
    training = out / "training"
    dataset = open_dataset("folder", training)
    assert dataset.classes == ("floor|ground", "wall", "table")
    samples = {dataset.name(index): dataset.load(index) for index in dataset.choose(None)}
    assert sorted(samples) == ["a", "b", "deeper/c"]
    for name, sample in samples.items():
        labels, confidence = plane(out / f"{name}.label.png"), plane(out / f"{name}.confidence.png")
        sure = confidence >= 0.6 * 255
        assert 0 < sure.mean() < 1
        assert np.array_equal(sample.truth, np.where(sure, labels, 255))
        assert np.array_equal(plane(training / f"weights/{name}.png"), confidence)
        assert sample.image.shape[:2] == labels.shape
    assert (training / "images/a.jpg").read_bytes() == (photos / "a.JPG").read_bytes()
    assert samples["b"].image.shape == (640, 480, 3), "upright, as it was labelled"
    summary = json.loads((training / "training.json").read_text())
    pixels = {index: sum(int((sample.truth == index).sum()) for sample in samples.values())
              for index in range(3)}
    assert {entry["id"]: entry["pixels"] for entry in summary["classes"]} == pixels
    assert summary["pictures"] == 3 and summary["least_confidence"] == 0.6
    assert summary["labelled"] == pytest.approx(sum(pixels.values()) / (3 * 640 * 480), abs=1e-5)
    assert all(entry["mean_weight"] >= 0.6 for entry in summary["classes"] if entry["pixels"])


def test_a_run_that_goes_on_exports_what_is_missing_and_counts_all(
        photos: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main([str(photos / "a.JPG"), "--output", str(out), *FLAGS]) == 0
    assert not (out / "training").exists()
    assert main([str(photos), "--output", str(out), *FLAGS, "--export-training"]) == 0
    assert json.loads((out / "training/training.json").read_text())["pictures"] == 3
    assert json.loads((out / "training/training.json").read_text())["labelled"] == 1.0
    assert main([str(photos), "--output", str(out), *FLAGS, "--export-training"]) == 0
    assert "3 files done by an earlier run" in capsys.readouterr().out


def test_labels_of_other_words_are_not_mixed_with_the_new_ones(photos: Path, tmp_path: Path,
                                                               capsys) -> None:
    out = tmp_path / "out"
    assert main([str(photos), "--output", str(out), *FLAGS, "--export-training"]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (photos / "a.JPG").unlink()
    capsys.readouterr()
    other = [*FLAGS[:FLAGS.index("--vocabulary")], "--vocabulary", "ball", "chair"]
    for more in ([], ["--restart"]):
        assert main([str(photos), "--output", str(out), *other, "--export-training", *more]) == 2
        assert "training data with other words, those of '" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert main([str(photos), "--output", str(tmp_path / "new"), *other, "--export-training"]) == 0
    assert json.loads((tmp_path / "new/training/training.json").read_text())["pictures"] == 2


@pytest.mark.parametrize(("flags", "complaint"), [
    (["--least-confidence", "0.5"], "has no effect without --export-training"),
    (["--export-training", "--least-confidence", "1.5"], "must be 0 to 1, got 1.5"),
    (["{film}", "--export-training"], "clip.mp4' is a video")])
def test_what_cannot_be_exported_is_refused(photos: Path, flags: list[str], complaint: str,
                                            tmp_path: Path, capsys) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"film")
    flags = [flag.format(film=tmp_path / "clip.mp4") for flag in flags]
    assert main([str(photos), *flags, "--output", str(tmp_path / "out"), *FLAGS]) == 2
    assert complaint in capsys.readouterr().err
