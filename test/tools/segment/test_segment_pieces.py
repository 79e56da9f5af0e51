"""`sclip-segment` in pieces: films are those of one go, but for what their seams tell."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sclip_seg_ros.tools.segment.command import main
from sclip_seg_ros.tools.segment.video import VideoSource

pytestmark = pytest.mark.usefixtures("one_commit")

PIECES = ("--piece-seconds", "1", "--run-in", "0.5")
FILMS = (".overlay.mp4", ".label.mkv", ".confidence.mkv", ".frames.jsonl")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Lay out two films of 40 frames, of one scene and of a new one each frame, and 18 photos."""
    folder = tmp_path / "files"
    folder.mkdir()
    still = np.random.default_rng(0).integers(90, 160, (48, 64, 3), np.uint8)
    for name in ("walk", "cuts"):
        film = cv2.VideoWriter(str(folder / f"{name}.mkv"), cv2.CAP_FFMPEG,
                               cv2.VideoWriter_fourcc(*"FFV1"), 10.0, (64, 48))
        for index in range(40):
            frame = still.copy() if name == "walk" else \
                np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
            frame[10:30, index:index + 20] = 255
            film.write(frame)
        film.release()
    for index in range(18):
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)).save(
            folder / f"{index:02}.png")
    return folder


def segment(model: str, output: Path, *flags: object) -> int:
    return main([*map(str, flags), "--model", model, "--output", str(output),
                 "--vocabulary", "floor", "table", "cup"])


def frames_of(path: Path) -> list[np.ndarray]:
    return list(VideoSource(path).frames())


def content(folder: Path, name: str) -> dict:
    """Return what a JSON file says, but for times and for what tells how it was made."""
    said = json.loads((folder / name).read_text())
    return {key: value for key, value in said.items()
            if key not in ("made_of", "seams", "stage_ms")}


def test_photos_and_a_film_of_cuts_are_those_of_one_go(files, tiny_model, tmp_path, capsys):
    assert segment(tiny_model, tmp_path / "go", files) == 0
    assert segment(tiny_model, tmp_path / "out", files, *PIECES) == 0
    said = capsys.readouterr()
    assert "18 images and 2 videos (80 frames)" in said.out
    assert "cuts.mkv: 4 pieces, with the labels of one go" in said.err
    assert "walk.mkv: 4 pieces; labels may differ from those of one go behind 3 seams" in said.err
    names = {path.name for path in (tmp_path / "go").iterdir()}
    assert names == {path.name for path in (tmp_path / "out").iterdir()}
    for name in names - {f"walk{ending}" for ending in FILMS} - {"walk.json", "run.json"}:
        if name.endswith(".json"):
            assert content(tmp_path / "go", name) == content(tmp_path / "out", name)
        elif name.endswith(".mkv"):  # Matroska gives every file an identifier of its own
            np.testing.assert_array_equal(frames_of(tmp_path / "go" / name),
                                          frames_of(tmp_path / "out" / name))
        else:
            assert (tmp_path / "go" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    seams = json.loads((tmp_path / "out/walk.json").read_text())["seams"]
    assert [round(seconds, 3) for seconds, _ in seams] == [1.0, 2.0, 3.0]
    one, other = (frames_of(tmp_path / way / "walk.label.mkv") for way in ("go", "out"))
    assert len(one) == len(other) == 40
    np.testing.assert_array_equal(one[:10], other[:10])
    assert main([*map(str, (files, *PIECES)), "--model", tiny_model, "--output",
                 str(tmp_path / "out"), "--vocabulary", "floor", "table", "cup"]) == 0
    assert "20 files done by an earlier run" in capsys.readouterr().out


def test_a_film_begins_with_the_frame_that_is_asked_for(files):
    whole = frames_of(files / "walk.mkv")
    source = VideoSource(files / "walk.mkv")
    rest = []
    for frame in source.frames(begin=37):
        rest.append((frame, source.seconds))
    np.testing.assert_array_equal([frame for frame, _ in rest], whole[37:])
    assert [round(seconds, 3) for _, seconds in rest] == [3.7, 3.8, 3.9]
    assert list(VideoSource(files / "walk.mkv").frames(begin=40)) == []


def test_a_damaged_film_and_a_damaged_photo_cost_no_other(files, tiny_model, tmp_path, capsys):
    (files / "walk.mkv").write_bytes(b"no film")
    (files / "07.png").write_bytes(b"no photo")
    assert segment(tiny_model, tmp_path / "out", files, *PIECES) == 1
    said = capsys.readouterr()
    assert "17 images and 1 video (40 frames)" in said.out
    assert "walk.mkv' cannot be opened" in said.err and "07.png" in said.err
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert sorted(Path(name).name for name in run["failures"]) == ["07.png", "walk.mkv"]


def test_a_dry_run_counts_photos_beside_one_that_cannot_be_read(tiny_model, tmp_path, capsys):
    for name in "abc":
        Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    files = [tmp_path / f"{name}.png" for name in "abc"]
    assert segment(tiny_model, tmp_path / "out", *files, "--dry-run") == 1
    said = capsys.readouterr()
    assert "3 sources" in said.out and "b.png" in said.err


def test_a_dry_run_tells_pieces_and_writes_nothing(files, tiny_model, tmp_path, capsys):
    assert segment(tiny_model, tmp_path / "out", files, *PIECES, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "20 sources, 26 pieces, 98 frames to label and 30 of run-ins" in said
    assert "for one worker like this computer" in said and not (tmp_path / "out").exists()
