"""The demo's footage and its report: what it shows, and what it calls a failure."""

import json

import cv2
import numpy as np
import pytest
from sclip_research.scenes import Thing

from examples.demo.footage import Footage, read_footage, render_footage
from examples.demo.report import write_report

THINGS = (Thing("white", "floor", None), Thing("red", "ball", None))
NAMES = {1: ["floor", "ball"], 2: ["red ball", "white floor"]}


@pytest.fixture
def footage():
    masks = np.zeros((4, 24, 32), np.uint8)
    masks[:, 8:16, 8:16] = 1
    return Footage(np.full((4, 24, 32, 3), 90, np.uint8), masks, THINGS)


@pytest.fixture
def record(tmp_path, footage):
    """Write what recorder and camera leave behind, with the node labelling all frames rightly."""
    def write(shift_ns: int = 0, extra_id: int = 0, accepted: bool = True):
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        stamps = [1000, 2000, 3000, 4000]
        versions = {stamp + shift_ns: 1 + index // 2 for index, stamp in enumerate(stamps)}
        labels = {str(stamp): footage.truth(index, NAMES[version]) + np.uint8(extra_id)
                  for index, (stamp, version) in enumerate(versions.items())}
        pictures = {stamp: np.zeros((24, 32, 3), np.uint8) for stamp in labels}
        np.savez(work / "labels.npz", **labels)
        np.savez(work / "confidences.npz", **{s: p[..., 0] for s, p in pictures.items()})
        np.savez(work / "overlays.npz", **pictures)
        (work / "stamps.json").write_text(json.dumps(stamps))
        (work / "recording.json").write_text(json.dumps({
            "stamps": {"labels": list(versions), "status": list(versions)}, "versions": versions,
            "vocabularies": NAMES, "delays_ms": {s: 30.0 for s in versions},
            "total_ms": {s: 25.0 for s in versions}, "stage_ms": {s: {"encode": 20.0}
                                                                 for s in versions},
            "evidence_age_ms": {s: 40.0 * (s % 2000 == 0) for s in stamps},
            "frames_received": 3, "frames_dropped": 0, "model": "embedded", "device": "cpu",
            "change_accepted": accepted}))
        return write_report(footage, tmp_path)
    return write


def test_a_thing_answers_to_its_noun_and_to_its_phrase(footage):
    assert footage.truth(0, ["ball", "floor"])[10, 10] == 0
    assert footage.truth(0, ["floor", "red ball"])[10, 10] == 1
    assert footage.truth(0, ["floor"])[10, 10] == 255


def test_right_labels_score_one_and_pass_every_check(record, tmp_path):
    summary = record()
    assert summary["miou"] == 1.0
    assert summary["miou_by_version"] == {"1": 1.0, "2": 1.0}
    assert summary["stamps_matched"] and summary["vocabulary_changed"]
    assert summary["ids_within_vocabulary"]
    assert summary["latency_ms"] == {"p50": 25.0, "p95": 25.0, "p99": 25.0}
    assert summary["frames_lost"] == 1
    assert summary["keyframes"] == 2 and summary["flips"] == 0.0
    assert summary["evidence_age_ms"] == {"p50": 20.0, "p95": 40.0, "p99": 40.0}
    assert summary["frames_received"] == summary["frames_labelled"] + summary["frames_dropped"] \
        + summary["frames_unheard"]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary | {
        "vocabularies": {str(version): names for version, names in NAMES.items()}}
    assert all(cv2.imread(str(tmp_path / name)) is not None for name in summary["images"])
    assert "contact_sheet.png" in summary["images"]


def test_a_stamp_that_no_frame_has_is_noticed(record):
    summary = record(shift_ns=7)
    assert not summary["stamps_matched"]
    assert summary["miou"] == 0.0  # there is no truth to measure such labels by


def test_an_id_beyond_the_vocabulary_is_noticed(record):
    assert not record(extra_id=1)["ids_within_vocabulary"]


def test_a_refused_change_is_noticed(record):
    assert not record(accepted=False)["vocabulary_changed"]


def test_a_rendered_room_moves_and_has_a_truth_for_every_frame():
    film = render_footage(seed=12, count=3, height=48, width=64)
    assert film.frames.shape == (3, 48, 64, 3)
    assert film.masks.shape == (3, 48, 64)
    assert (film.masks[0] != film.masks[1]).any()
    assert film.masks.max() < len(film.things)


def test_pictures_are_repeated_and_brought_to_one_size(tmp_path):
    for name, shape in (("a.png", (20, 30, 3)), ("b.jpg", (40, 60, 3))):
        cv2.imwrite(str(tmp_path / name), np.full(shape, 200, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    film = read_footage(tmp_path, 5)
    assert film.frames.shape == (5, 20, 30, 3)
    assert film.masks is None


def test_a_folder_without_pictures_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=f"'{tmp_path}' holds no picture"):
        read_footage(tmp_path, 5)
