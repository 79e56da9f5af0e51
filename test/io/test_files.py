"""One walk over folders for all programs: links followed, Macs' notes left out, nothing twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sclip_seg_ros.io.file_kinds import found_instead
from sclip_seg_ros.io.files import files_below
from sclip_seg_ros.io.images import (
    ImageFileError,
    find_images,
    holds_more,
    images_below,
    read_image,
)
from sclip_seg_ros.tools.arguments import UsageError
from sclip_seg_ros.tools.benchmark.datasets.base import beside
from sclip_seg_ros.tools.segment import labelling
from sclip_seg_ros.tools.segment.command import main
from sclip_seg_ros.tools.segment.inputs import find_inputs

NOTE = b"\0\x05\x16\x07\0\2\0\0Mac OS X        " + bytes(200)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Lay out photos, some behind links, with what a Mac leaves beside them."""
    for name in ("photos/day1/a.png", "disk/day2/b.png", "disk/day2/deep/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), len(name), np.uint8)).save(tmp_path / name)
    folder = tmp_path / "photos"
    (folder / "A").symlink_to("../disk/day2")
    (folder / "day1/._a.png").write_bytes(NOTE)
    return folder


def below(folder: Path, found: list[Path]) -> list[str]:
    """Return paths within a folder."""
    return [path.relative_to(folder).as_posix() for path in found]


def test_links_to_folders_are_followed_by_all_programs(photos, tmp_path):
    names = ["A/b.png", "A/deep/c.png", "day1/a.png"]
    assert below(photos, files_below(photos)) == names
    assert below(photos, find_images([photos])) == below(photos, images_below(photos)) == names
    assert below(photos, [entry.path for entry in find_inputs([str(photos)], tmp_path / "out")]) \
        == names
    labels = tmp_path / "labels"
    for name in names:
        (labels / name).parent.mkdir(parents=True, exist_ok=True)
        (labels / name).write_bytes(b"")
    assert [picture.name for picture in beside(tmp_path, "photos", "labels", ".png", ".png")] == [
        name[:-4] for name in names]


def test_a_folder_behind_several_ways_counts_once_and_loops_end(photos, tmp_path):
    (photos / "AA").symlink_to("day1")        # comes first by name, yet is but a link
    (photos / "day1/up").symlink_to("..")
    (tmp_path / "disk/day2/self").symlink_to(".")
    assert below(photos, files_below(photos)) == ["A/b.png", "A/deep/c.png", "day1/a.png"]


@pytest.mark.parametrize("target, why", [("../away/gone.png", "No such file"),
                                         ("gone.png", "Too many levels of symbolic links")])
def test_a_link_that_leads_nowhere_is_told_of(photos, tmp_path, capsys, target, why):
    (photos / "gone.png").symlink_to(target)
    assert "gone.png" in below(photos, files_below(photos))
    with pytest.raises(ImageFileError, match=rf"gone.png' cannot be read \({why}"):
        [read_image(path) for path in find_images([photos])]
    out = tmp_path / "out"
    assert main([str(photos), "--output", str(out), "--vocabulary", "floor", "wall", "--set",
                 "short_side=64"]) == 1
    said = capsys.readouterr()
    assert "3 images" in said.out and "gone.png' cannot be read" in said.err
    assert list(json.loads((out / "run.json").read_text())["failures"]) == [
        str(photos / "gone.png")]


def test_a_folder_that_cannot_be_read_is_told_of(photos, tmp_path, monkeypatch, capsys):
    """Root may read everything, so the refusal is made here."""
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError):
        images_below(photos)
    told: list[OSError] = []
    assert below(photos, files_below(photos, told.append)) == ["A/b.png", "day1/a.png"]
    assert [error.filename for error in told] == [str(photos / "A/deep")]
    assert main([str(photos), "--output", str(tmp_path / "out"), "--vocabulary", "floor", "wall",
                 "--set", "short_side=64"]) == 1
    said = capsys.readouterr()
    assert "2 images" in said.out
    assert f"'{photos / 'A/deep'}': folder cannot be read (Permission denied)" in said.err


def test_notes_of_macs_are_no_photos_but_photos_named_like_them_are(photos, tmp_path):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(photos / "day1/._real.png")
    names = ["day1/._real.png", "day1/a.png"]
    assert below(photos, find_images([photos / "day1"])) == names
    found = find_inputs([str(photos / "day1/.*.png"), str(photos / "day1")], tmp_path / "out")
    assert below(photos, [entry.path for entry in found]) == names
    with pytest.raises(ImageFileError, match="what a Mac notes about another file"):
        read_image(photos / "day1/._a.png")


def test_pipes_are_no_files_and_nobody_waits_for_them(photos, tmp_path):
    os.mkfifo(photos / "day1/pipe.png")
    assert below(photos, images_below(photos)) == below(photos, find_images([photos])) \
        == ["A/b.png", "A/deep/c.png", "day1/a.png"]
    for pattern in ("day1", "day1/*.png"):
        [found] = find_inputs([str(photos / pattern)], tmp_path / "out")
        assert found.path.name == "a.png"
    with pytest.raises(UsageError, match="pipe.png' is not .* it is a pipe or a device and not a "
                                         "file; save in a file what comes from it"):
        find_inputs([str(photos / "day1/pipe.png")], tmp_path / "out")
    with pytest.raises(ImageFileError, match="pipe.png' is not an image"):
        find_images([photos / "day1/pipe.png"])


def test_a_name_that_leads_nowhere_costs_itself_alone(photos, tmp_path, capsys):
    (photos / "empty").mkdir()
    (photos / "notes.txt").write_text("sunny")
    names = [str(photos / name) for name in ("empty", "gone.png", "*.webp", "notes.txt")]
    flags = ["--output", str(tmp_path / "out"), "--vocabulary", "floor", "wall", "--set",
             "short_side=64"]
    assert main([*names, str(photos / "day1"), *flags]) == 1
    said = capsys.readouterr()
    assert "1 image in" in said.out
    for name, why in zip(names, ("holds no image", "does not exist", "matches no image",
                                 "is not an image"), strict=True):
        assert f"'{name}' {why}" in said.err
    assert list(json.loads((tmp_path / "out/run.json").read_text())["failures"]) == names
    assert main([*names, str(photos / "day1"), *flags, "--dry-run"]) == 1
    assert f"'{names[0]}' holds no image" in capsys.readouterr().err
    assert main([*names, *flags]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("flags", [(), ("--piece-seconds", "60")])
def test_pages_and_animations_are_told_of(tmp_path, capsys, flags):
    pages = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (50, 200)]
    for name in ("a.tif", "a.webp", "a.png"):
        pages[0].save(tmp_path / f"more {name}", save_all=True, append_images=pages[1:])
        pages[0].save(tmp_path / f"one {name}")
    pages[0].save(tmp_path / "lossless.webp", lossless=True)
    pages[0].save(tmp_path / "large.tif", compression="tiff_deflate")
    more = [path for path in sorted(tmp_path.iterdir()) if holds_more(path)]
    assert [path.name for path in more] == ["more a.png", "more a.tif", "more a.webp"]
    assert main([*map(str, tmp_path.iterdir()), "--output", str(tmp_path / "out"), "--vocabulary",
                 "floor", "wall", "--set", "short_side=64", *flags]) == 0
    said = capsys.readouterr()
    assert "8 images" in said.out and said.err.count("holds more than one picture") == 3
    for path in more:
        assert f"'{path}' holds more than one picture, and the first was segmented" in said.err


@pytest.mark.parametrize("content, told", [
    (b"", "is empty; copy it again"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "`git lfs pull`"),
    (b"<!DOCTYPE html>\n<html>", "is a web page; download the file itself"),
    (b"\0\0\0\x18ftypheic" + bytes(40), "is a photo in HEIC; convert it to JPEG or PNG"),
    (b"PK\3\4", r"is packed \(zip\); unpack it"),
    (b"\x89MCAP0\r\n", "is a recording, which is for sclip-bag"),
    (b"\0\0\0\x18ftypisom" + bytes(40), "is a film; let its name end in .mp4 or .mkv")])
def test_what_is_no_photo_is_named_with_the_remedy(content, told, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(ImageFileError, match=f"photo.jpg' cannot be read .*{told}"):
        read_image(tmp_path / "photo.jpg")


def test_a_damaged_file_of_the_right_kind_is_not_called_another(tmp_path):
    for name, start, kind in (("a.JPG", b"\xff\xd8\xff", "photo"),
                              ("a.mp4", b"0000ftypisom", "film"),
                              ("a.mcap", b"\x89MCAP0\r\n", "recording")):
        (tmp_path / name).write_bytes(start)
        assert found_instead(tmp_path / name, kind) == ""
    assert found_instead(tmp_path / "missing.jpg", "photo") == ""


def test_photos_and_films_that_cannot_be_read_are_named_by_kind(photos, tmp_path, capsys):
    for name in ("day1/a.HEIC", "b.heic", "day1/c.cr2", "notes.txt"):
        (photos / name).write_bytes(b"x")
    flags = ["--output", str(tmp_path / "out"), "--vocabulary", "floor", "wall", "--set",
             "short_side=64"]
    assert main([str(photos), *flags]) == 0
    said = capsys.readouterr()
    assert "3 images" in said.out
    assert f"of folder '{photos}' these are left out: 1 .cr2, 2 .heic; convert them" in said.err
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/a.heic").write_bytes(b"x")
    assert main([str(tmp_path / "phone"), *flags]) == 2
    assert "holds no image or video that can be read, but 1 .heic" in capsys.readouterr().err


def test_whatever_one_file_raises_the_others_are_done(photos, tmp_path, monkeypatch, capsys):
    read = labelling.read_image

    def failing(path):
        if path.name == "b.png":
            raise KeyError("nobody reckoned with it")
        return read(path)

    monkeypatch.setattr(labelling, "read_image", failing)
    assert main([str(photos), "--output", str(tmp_path / "out"), "--vocabulary", "floor", "wall",
                 "--set", "short_side=64"]) == 1
    said = capsys.readouterr()
    assert "2 images" in said.out and "b.png': KeyError in " in said.err
