"""`sclip-check-attention`: points and label images, the table, the recommendation, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sclip_research.scenes.held_out import held_out_scene

from sclip_seg_ros.io.points import read_points
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.check_attention.command import main
from sclip_seg_ros.tools.check_attention.trials import (
    Trial,
    mean_scores,
    recommendation,
    trials_of,
    verdicts,
)

FAST = ["--device", "cpu", "--whole", "--set", "short_side=112"]
SCENES = ["--dataset", "demo-scenes", "--num-samples", "10"]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out ten rooms, each class's point in the middle of where it is by the true labels."""
    folder, images, classes = tmp_path_factory.mktemp("points"), {}, {}
    for number in range(10):
        scene, words = held_out_scene(number)[:2]
        Image.fromarray(scene.image).save(folder / f"{number}.png")
        truth, entries = scene.labels(words), []
        for index, name in enumerate(words):
            rows, columns = np.nonzero(truth == index)
            if len(rows):
                middle = len(rows) // 2
                entries.append([int(columns[middle]), int(rows[middle]), name])
                classes[name] = None
        images[f"{number}.png"] = entries
    path = folder / "points.json"
    path.write_text(json.dumps({"classes": list(classes), "images": images}))
    return path


def made_up(scores: list[list[tuple[int, int]]]) -> list[Trial]:
    """Return trials by (right, true) pixels of one class in each picture."""
    return [Trial(f"rule{index}", True, milliseconds=[1.0 + index],
                  pictures=[{"floor": np.array([right, true, true])} for right, true in pictures])
            for index, pictures in enumerate(scores)]


def test_scores_are_means_over_the_classes_that_occur():
    counts = np.array([[4, 8, 6], [1, 2, 1], [0, 0, 5]])
    assert mean_scores(counts, iou=True) == pytest.approx((4 / 10 + 1 / 2) / 2)
    assert mean_scores(counts, iou=False) == pytest.approx((4 / 8 + 1 / 2) / 2)
    assert mean_scores(np.zeros((2, 3)), iou=True) == 0.0


def test_a_rule_better_in_every_picture_is_taken():
    trials = made_up([[(50 + i, 100) for i in range(12)], [(60 + i, 100) for i in range(12)]])
    found = verdicts(trials, iou=False)
    assert found[1].gain == pytest.approx(0.1) and found[1].surely == 1.0
    assert found[1].time == 2.0
    assert recommendation(trials, found, 12).startswith(
        "take attention: rule1, which is 10.0 points better than rule0")


def test_a_gain_in_few_pictures_may_be_chance():
    mixed = [(90 if i < 6 else 40, 100) for i in range(12)]
    trials = made_up([[(60, 100)] * 12, mixed])
    found = verdicts(trials, iou=False)
    assert found[1].gain > 0 and 0.5 < found[1].surely < 0.95
    assert "keep attention: rule0; rule1 is ahead by 5.0 points, which may be chance" \
        in recommendation(trials, found, 12)


def test_few_pictures_tell_nothing():
    trials = made_up([[(50, 100)] * 9, [(90, 100)] * 9])
    assert recommendation(trials, verdicts(trials, iou=False), 9).startswith(
        "cannot say from 9 pictures: give 10 or more")


def test_every_rule_is_tried_once_and_what_cannot_run_says_why():
    segmentor = SCLIPSegmentor(use_resclip=True)
    trials = trials_of(segmentor, ["sclip", "naclip", "scclip", "naclip"])
    assert [trial.title for trial in trials] == [
        "sclip", "sclip, residual: false", "naclip", "naclip, residual: false", "scclip"]
    assert [trial.title for trial in trials if trial.pipeline is None] == ["scclip"]
    assert "changes more than the last block's" in trials[-1].reason


def test_a_better_rule_is_found_on_rooms(capsys):
    assert main([*SCENES, *FAST, "attention=naclip", "residual=false", "--rules", "sclip",
                 "maskclip"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "embedded, 10 pictures"
    assert lines[4].startswith("| naclip, residual: false (in force) |")
    assert [line.split(" |")[0] for line in lines[5:8]] == [
        "| sclip", "| sclip, residual: false", "| maskclip"]
    assert lines[-1].startswith("take attention: sclip, which is ")


def test_points_tell_the_same(points, capsys):
    assert main(["--points", str(points), *FAST, "--rules", "sclip", "scclip", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["in_force"] == "sclip" and result["pictures"] == 10
    sclip, scclip = (next(rule for rule in result["rules"]
                          if rule["attention"] == name and rule["residual"])
                     for name in ("sclip", "scclip"))
    assert sclip["gain"] == 0 and sclip["time"] == 1
    assert sclip["score"] > scclip["score"] + 0.1
    assert result["recommendation"].startswith("keep attention: sclip")


def test_pictures_of_ones_own_with_label_images(points, tmp_path, capsys):
    (tmp_path / "images").mkdir(), (tmp_path / "labels").mkdir()
    scene, words = held_out_scene(0)[:2]
    Image.fromarray(scene.image).save(tmp_path / "images/room.png")
    Image.fromarray(scene.labels(words)).save(tmp_path / "labels/room.png")
    (tmp_path / "classes.txt").write_text("\n".join(words))
    assert main(["--dataset", "folder", "--data-root", str(tmp_path), *FAST,
                 "--rules", "sclip"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("cannot say from 1 pictures")


@pytest.mark.parametrize(("content", "complaint"), [
    ("{", "is not JSON"), ("[]", "has no \"images\""), ('{"images": []}', "has no \"images\""),
    ('{"images": {}}', "names no point"), ('{"images": {"0.png": []}}', "names no point"),
    ('{"images": {"0.png": [[1, 2]]}}', "[1, 2] of '0.png' is not a point"),
    ('{"images": {"0.png": [[1.5, 2, "wall"]]}}', "[1.5, 2, \"wall\"] of '0.png' is not a point"),
    ('{"images": {"0.png": 3}}', "'0.png' has no list of points"),
    ('{"images": {}, "class": []}', "'class' is unknown"),
    ('{"images": {"0.png": [[9999, 2, "wall"]]}}', "[9999, 2] lies outside '0.png'"),
    ('{"images": {"0.png": [[1, 2, "dragon"]]}}', "class 'dragon' of '0.png' is none of wall"),
    ('{"images": {"none.png": [[1, 2, "wall"]]}}', "none.png' cannot be read"),
    ('{"images": {"0.png": [[1, 2, "wall"]]}, "classes": ["wall", "wall"]}', "twice")])
def test_unusable_points_are_refused_in_one_line(points, content, complaint, capsys):
    path = points.parent / "faulty.json"
    path.write_text(content)
    words = [] if "classes" in content else ["--vocabulary", "wall"]
    assert main(["--points", str(path), *words, *FAST, "--rules", "sclip"]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("sclip-check")]
    assert len(lines) == 1 and complaint in lines[0]


@pytest.mark.parametrize(("flags", "complaint"), [
    ([], "one of the arguments --points --dataset is required"),
    (["--dataset", "demo-scenes", "--vocabulary", "wall"], "--dataset brings its own words"),
    (["--dataset", "demo-scenes", "--prompt-templates", "a {}"], "--dataset brings its own words"),
    (["--dataset", "folder"], "needs --data-root"),
    (["--points", "absent.json", "--vocabulary", "wall"], "absent.json"),
    (["--dataset", "demo-videos"], "invalid choice")])
def test_flags_that_make_no_sense_are_refused(flags, complaint, capsys):
    assert main([*flags, *FAST]) == 2
    assert complaint in capsys.readouterr().err


def test_a_file_of_points_may_begin_with_the_mark_that_windows_writes(points):
    marked = points.with_name("marked.json")
    marked.write_text(points.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert read_points(marked).points == read_points(points).points


def test_a_file_of_points_may_leave_the_words_to_a_flag(points):
    content = json.loads(points.read_text())
    bare = points.parent / "bare.json"
    bare.write_text(json.dumps({"images": content["images"]}))
    assert read_points(bare).classes == ()
    assert read_points(points).classes == tuple(content["classes"])
