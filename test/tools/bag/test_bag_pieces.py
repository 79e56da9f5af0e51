"""`sclip-bag` in pieces: the recording of one go where seams allow it, and told where not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from bag_program import segment
from recordings import (
    FRONT,
    IMAGE,
    START,
    TYPES,
    cut,
    data_file,
    picture,
    raw,
    record,
    rows,
    text,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from sclip_seg_ros.tools.bag import pieces, processing
from sclip_seg_ros.tools.bag.results.earlier import read_summary

pytestmark = pytest.mark.usefixtures("one_commit")

PIECES = ("--piece-seconds", 0.4, "--run-in", 0.2)


def scene(index: int) -> bytes:
    """Show a square that wanders over a still background, so that frames help one another."""
    pixels = picture(0)
    pixels[10:30, 2 * index:2 * index + 20] = 255
    return raw(pixels, index)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Record 1.5 seconds of it, ten images a second."""
    return record(tmp_path / "drive", "mcap", 16, images={i: scene(i) for i in range(16)})


def labels(path: Path) -> dict[int, np.ndarray]:
    """Return the labels of a recording by the time of their image."""
    return {stamp: np.asarray(TYPES.deserialize_cdr(data, kind).data)
            for topic, kind, stamp, data in rows(path) if topic == "/sclip_seg/label"}


def test_pieces_say_exactly_behind_which_seams_labels_differ(drive, tiny_model, tmp_path, capsys):
    assert segment(tiny_model, tmp_path / "go", "--bag", drive) == 0
    capsys.readouterr()
    assert segment(tiny_model, tmp_path / "out", "--bag", drive, *PIECES) == 0
    assert "4 pieces; labels may differ from those of one go behind 3 seams" in \
        capsys.readouterr().err
    one, other = labels(tmp_path / "go/drive"), labels(tmp_path / "out/drive")
    assert list(one) == list(other) and len(one) == 16
    stamps = sorted(one)
    seams = read_summary(tmp_path / "out/drive")["seams"]
    assert [stamp for _, stamp, _ in seams] == [stamps[4], stamps[8], stamps[12]]
    for stamp in stamps[:4]:  # of the first piece, which nothing came before
        np.testing.assert_array_equal(one[stamp], other[stamp])
    # The second piece begins two frames before its first one, with nothing remembered.
    before = one[stamps[3]]
    assert 0 <= seams[0][2] < 0.5 and before.shape == (60 * 80,)
    assert not list((tmp_path / "out").glob("*.partial"))


@pytest.mark.parametrize("more", [["--no-temporal"], []], ids=["frames alone", "every frame a cut"])
def test_pieces_are_one_go_where_nothing_is_carried_over(more, tiny_model, tmp_path, capsys):
    path = record(tmp_path / "drive", "sqlite3", 8)  # each picture another noise
    assert segment(tiny_model, tmp_path / "go", "--bag", path, *more) == 0
    flags = ("--piece-seconds", 0.2, *(more or ["--run-in", 0.1]))
    assert segment(tiny_model, tmp_path / "out", "--bag", path, *flags) == 0
    assert "4 pieces, with the labels of one go" in capsys.readouterr().err
    assert rows(tmp_path / "go/drive") == rows(tmp_path / "out/drive")
    assert read_summary(tmp_path / "out/drive")["seams"] == []


def test_a_run_goes_on_with_the_pieces_that_are_missing(drive, tiny_model, tmp_path, monkeypatch,
                                                        capsys):
    assert segment(tiny_model, tmp_path / "whole", "--bag", drive, *PIECES) == 0
    done = []

    def breaking(recording, plan, piece, *rest):
        done.append(piece.number)
        if piece.number == 2:
            raise KeyboardInterrupt
        return real(recording, plan, piece, *rest)

    real = pieces.segment_piece
    monkeypatch.setattr(pieces, "segment_piece", breaking)
    assert segment(tiny_model, tmp_path / "out", "--bag", drive, *PIECES) == 130
    assert not (tmp_path / "out/drive").exists()
    monkeypatch.setattr(pieces, "segment_piece",
                        lambda *given: done.append(given[2].number) or real(*given))
    assert segment(tiny_model, tmp_path / "out", "--bag", drive, *PIECES, "--resume") == 0
    assert done == [0, 1, 2, 2, 3]
    assert "16 images segmented, 8 of them in an earlier run" in capsys.readouterr().out
    assert data_file(tmp_path / "out/drive").read_bytes() == \
        data_file(tmp_path / "whole/drive").read_bytes()


def test_pieces_of_other_flags_are_refused(drive, tiny_model, tmp_path, monkeypatch, capsys):
    def broken(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(processing, "write_recording", broken)
    assert segment(tiny_model, tmp_path / "out", "--bag", drive, *PIECES) == 2
    monkeypatch.undo()
    assert segment(tiny_model, tmp_path / "out", "--bag", drive, "--piece-seconds", 0.4,
                   "--run-in", 0.1) == 2
    assert "another length and run-in of pieces; go back to that one, or add --restart" in \
        capsys.readouterr().err
    assert segment(tiny_model, tmp_path / "out", "--bag", drive, "--piece-seconds", 0.4,
                   "--run-in", 0.1, "--restart") == 0


def test_a_recording_cut_short_is_one_piece_and_the_others_are_done(drive, tiny_model, tmp_path,
                                                                    capsys):
    short = cut(record(tmp_path / "short", "sqlite3", 12), 0.7)
    (tmp_path / "empty.mcap").write_bytes(b"")
    assert segment(tiny_model, tmp_path / "out", "--bag", short, tmp_path / "empty.mcap", drive,
                   *PIECES) == 1
    said = capsys.readouterr()
    assert "cut short, and was read up to the cut" in said.err
    assert "empty.mcap' cannot be read" in said.err
    assert f"{tmp_path}/out/drive: 16 images segmented" in said.out
    assert "out/short" in said.out and "; cut short" in said.out
    assert FRONT in {row[0] for row in rows(tmp_path / "out/short")}


@pytest.mark.parametrize("flags, said", [
    (["--piece-seconds", "0"], "--piece-seconds 0 is out of range; give 0.1 to 86400"),
    (["--run-in", "1"], "--run-in has no effect without pieces; add --piece-seconds"),
    (["--piece-seconds", "2", "--run-in", "3"], "--run-in 3 must be 0 to the length of a piece, 2"),
    (["--piece-seconds", "2", "--run-in", "1", "--no-temporal"],
     "--run-in has no effect beside --no-temporal"),
    (["--piece-seconds", "2", "--jobs", "2"], "two ways to share the work"),
    (["--ray-workers", "2"], "--ray-workers has no effect without --ray; add that"),
    (["--ray", "--ray-cpus", "0"], "--ray-cpus 0 is out of range"),
    (["--resume", "--restart"], "--resume and --restart are opposites")])
def test_flags_that_cannot_be_used_are_refused(flags, said, drive, tiny_model, tmp_path, capsys):
    assert segment(tiny_model, tmp_path / "out", "--bag", drive, *flags) == 2
    assert said in capsys.readouterr().err


def test_a_dry_run_tells_pieces_time_and_disk_and_writes_nothing(drive, tiny_model, tmp_path,
                                                                 capsys):
    (tmp_path / "broken.mcap").write_bytes(b"")
    assert segment(tiny_model, tmp_path / "out", "--bag", drive, tmp_path / "broken.mcap", *PIECES,
                   "--dry-run") == 1
    said = capsys.readouterr()
    # 0.2 of 1.5 seconds before each of three pieces, of 16 images
    assert "1 source, 4 pieces, 16 frames to label and 6 of run-ins" in said.out
    assert "for one worker like this computer" in said.out and "broken.mcap" in said.err
    assert not (tmp_path / "out").exists()
    size = float(re.search(r"disk: about ([\d.]+) kB for the results", said.out)[1])
    assert segment(tiny_model, tmp_path / "out", "--bag", drive, *PIECES) == 0
    assert data_file(tmp_path / "out/drive").stat().st_size / 1000 == pytest.approx(size, rel=0.1)


def test_a_stray_stamp_is_told_in_place_of_millions_of_pieces(tiny_model, tmp_path, capsys):
    path = tmp_path / "stray"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        chatter = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=TYPES)
        front = writer.add_connection(FRONT, IMAGE, typestore=TYPES)
        writer.write(chatter, 0, text("before the clock was set"))
        for index in range(2):
            writer.write(front, START + index * 10**8, raw(picture(index), index))
    for flags in (("--piece-seconds", 60), ("--dry-run",)):
        assert segment(tiny_model, tmp_path / "out", "--bag", path, *flags) != 0
        told = capsys.readouterr().err
        assert "would be 28333333 pieces" in told and "19676 days apart" in told
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 0
