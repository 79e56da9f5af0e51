"""Films are read by their names as they are, and what cannot be decoded is named."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from sclip_seg_ros.tools.segment.command import main
from sclip_seg_ros.tools.segment.video import VideoError, VideoSource

SMALL = ("--vocabulary", "floor", "wall", "--set", "short_side=64")


def write_film(path: Path, codec: str = "mp4v", frames: int = 5) -> Path:
    """Write a film of noise, under a name that FFmpeg takes for a file's."""
    film = cv2.VideoWriter(f"file:{path}", cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 10.0,
                           (64, 48))
    assert film.isOpened()
    for index in range(frames):
        film.write(np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8))
    film.release()
    return path


@pytest.mark.parametrize("name", ["2024-05-06T12:30:00.mp4", "concat:a|b.mp4", "http:x.mp4",
                                  "file:x.mp4", "subfile,,start,0:x.mp4", "100%20%d [1].mp4"])
def test_a_name_is_that_of_a_file_and_so_are_its_results(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("films")
    write_film(tmp_path / "films" / name)
    os.rename(f"films/{name}", name)
    assert main([name, "--output", ".", *SMALL]) == 0
    stem = name.removesuffix(".mp4")
    for ending in (".overlay.mp4", ".label.mkv", ".confidence.mkv"):
        film = cv2.VideoCapture(f"file:{tmp_path / (stem + ending)}", cv2.CAP_FFMPEG)
        assert film.read()[0], ending
    assert (tmp_path / f"{stem}.frames.jsonl").read_text().count("frame") == 5


@pytest.mark.parametrize("suffix, codec, old, new", [(".mkv", "FFV1", b"V_FFV1", b"V_AV1\0"),
                                                     (".avi", "MJPG", b"MJPG", b"AV01")])
def test_a_codec_that_cannot_be_decoded_is_named_with_the_way_out(suffix, codec, old, new,
                                                                  tmp_path):
    path = write_film(tmp_path / f"it's a walk{suffix}", codec)
    assert len(list(VideoSource(path).frames())) == 5
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(VideoError, match="coded in AV1, which OpenCV cannot decode; convert "
                                         "it to H.264, e.g. `ffmpeg -i .*-c:v libx264") as refusal:
        next(VideoSource(path).frames())
    assert "damaged" not in str(refusal.value)


def test_a_film_without_a_readable_frame_names_its_codec(tmp_path):
    path = write_film(tmp_path / "walk.avi", "MJPG")
    content = path.read_bytes()
    start = content.index(b"movi") + 4
    path.write_bytes(content[:start] + bytes(len(content) - start))
    with pytest.raises(VideoError, match="walk.avi' .*(damaged or cut short|'mjpg')"):
        next(VideoSource(path).frames())


@pytest.mark.parametrize("content, told", [
    (b"", "it is empty; copy it again"),
    (b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
    (b"\x89MCAP0\r\n" + bytes(99), "it is a recording, which is for sclip-bag"),
    (bytes(99), "it is damaged or cut short, or in a format that OpenCV lacks")])
def test_what_is_no_film_is_named_with_the_remedy(content, told, tmp_path):
    (tmp_path / "walk.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=f"walk.mp4' cannot be opened; .*{told}"):
        VideoSource(tmp_path / "walk.mp4")
