"""`sclip-bag` goes on where it was interrupted, and removes nothing but what it made itself."""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import cv2
import pytest
from bag_program import flags, segment
from forked_programs import ForkedProgram, can_fork
from recordings import FRONT, data_file, picture, raw, record, rows
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from sclip_seg_ros.segmentation.upsamplers.loftup.weights import EMBEDDED_FILE
from sclip_seg_ros.tools.bag import segmenting
from sclip_seg_ros.tools.bag.recording.messages import Codec

# The command of another process, with the commit held still there, too.
PROGRAM = ("import sys, torch; torch.set_num_threads(1); "
           "from sclip_seg_ros.tools.figures import provenance; "
           "provenance.commit = lambda: 'one'; "
           "from sclip_seg_ros.tools.bag.command import main; sys.exit(main())")

pytestmark = pytest.mark.usefixtures("one_commit")


def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one(tmp_path, capsys):
    path = record(tmp_path / "drive", "mcap", frames=12,
                  images={index: raw(picture(index, 240, 320), index) for index in range(12)})
    assert segment("embedded", tmp_path / "whole", "--bag", path) == 0
    for number in (signal.SIGKILL, signal.SIGTERM):
        output = tmp_path / f"out{number}"
        code, count = interrupt(flags("embedded", output, "--bag", path), output / "drive.partial",
                                number)
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
        assert 0 < count < 12 and not (output / "drive").exists()
        capsys.readouterr()
        assert segment("embedded", output, "--bag", path) == 0
        said = capsys.readouterr()
        assert f"12 images segmented, {count} of them in an earlier run" in said.out
        assert said.err.count("the embedded model knows nothing but rendered rooms") == 1
        assert data_file(output / "drive").read_bytes() == data_file(
            tmp_path / "whole/drive").read_bytes()
        assert rows(output / "drive") == rows(tmp_path / "whole/drive")


def test_steadied_frames_survive_an_interruption_to_the_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(segmenting, "CHECKPOINT", 4)
    wide = cv2.resize(picture(3, 20, 60), (600, 200), interpolation=cv2.INTER_CUBIC)
    path = record(tmp_path / "drive", "mcap", frames=11,
                  images={index: raw(wide[:, 5 * index:5 * index + 256], index)
                          for index in range(11)})
    results = {}
    for name, more in (("steady", ()), ("alone", ("--no-temporal",))):
        assert segment("embedded", tmp_path / name, "--bag", path, *more) == 0
        results[name] = rows(tmp_path / name / "drive")
    assert results["steady"] != results["alone"]
    read_image, calls = Codec.read_image, []

    def interrupted(codec, message):
        calls.append(message)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return read_image(codec, message)

    monkeypatch.setattr(Codec, "read_image", interrupted)
    assert segment("embedded", tmp_path / "halved", "--bag", path) == 130
    assert segment("embedded", tmp_path / "halved", "--bag", path) == 0
    assert len(calls) == 7 + (11 - 4) + 11  # goes on from the checkpoint; all are read to write
    assert rows(tmp_path / "halved/drive") == results["steady"]


def interrupt(command: list[str], partial: Path, number: signal.Signals) -> tuple[int, int]:
    """Send a signal once two frames are finished; return exit code and finished frames."""
    assert can_fork()
    log = partial.parents[1] / "log"
    child = ForkedProgram(PROGRAM, ["sclip-bag", *command], log)
    try:
        deadline = time.monotonic() + 120
        while finished(partial) < 2:
            assert child.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        child.send_signal(number)
        return child.wait(timeout=60), finished(partial)
    finally:
        child.kill()


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("room", [30_000, 200_000])
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(storage, room, tiny_model,
                                                                    tmp_path, capfd):
    path = record(tmp_path / "drive", storage, frames=10)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, unlimited[1]))  # acts as a full disk
    try:
        assert segment(tiny_model, tmp_path / "out", "--bag", path) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "out/drive' cannot be written" in capfd.readouterr().err.splitlines()[-1]
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 0
    assert segment(tiny_model, tmp_path / "whole", "--bag", path) == 0
    assert rows(tmp_path / "out/drive") == rows(tmp_path / "whole/drive")


def finished(partial: Path) -> int:
    """Return how many frames are safe on disk."""
    try:
        database = sqlite3.connect(f"file:{partial / 'frames.sqlite'}?mode=ro", uri=True)
        return database.execute("SELECT count(*) FROM frames").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_a_finished_recording_is_not_done_twice_nor_replaced_unasked(tiny_model, tmp_path, capsys):
    path, output = record(tmp_path / "drive", "mcap"), tmp_path / "out"
    assert segment(tiny_model, output, "--bag", path) == 0
    written = data_file(output / "drive").stat().st_mtime_ns
    assert segment(tiny_model, output, "--bag", path) == 0
    assert "6 of them in an earlier run" in capsys.readouterr().out
    assert segment(tiny_model, output, "--bag", path, "--whole") == 2
    assert "another settings" in capsys.readouterr().err
    assert segment(tiny_model, output, "--bag", path, "--prompt-templates", "a {}.") == 2
    assert "another prompt templates" in capsys.readouterr().err
    assert data_file(output / "drive").stat().st_mtime_ns == written
    assert segment(tiny_model, output, "--bag", path, "--whole", "--restart") == 0
    assert data_file(output / "drive").stat().st_mtime_ns > written


@pytest.mark.parametrize("size", [(60, 80), (240, 320)])  # a small file, and a large one
def test_a_recording_made_anew_is_another_one_though_its_size_is_the_same(size, tiny_model,
                                                                          tmp_path, capsys):
    def made(name: str, first: int) -> Path:
        return record(tmp_path / name / "drive", "mcap", images={
            index: raw(picture(first + index, *size), index) for index in range(6)})

    old, new, output = made("old", 0), made("new", 50), tmp_path / "out"
    assert data_file(old).stat().st_size == data_file(new).stat().st_size
    assert segment(tiny_model, output, "--bag", old) == 0
    assert segment(tiny_model, output, "--bag", new) == 2
    assert "made with another recording;" in capsys.readouterr().err
    copy = shutil.copytree(old, tmp_path / "copy/drive", copy_function=shutil.copyfile)
    assert segment(tiny_model, output, "--bag", copy) == 0
    assert "6 of them in an earlier run" in capsys.readouterr().out
    assert segment(tiny_model, output, "--bag", new, "--restart") == 0
    assert [row for row in rows(output / "drive") if row[0] == FRONT] == [
        row for row in rows(new) if row[0] == FRONT]


@pytest.mark.parametrize("place", ["drive", "drive.partial"])
def test_restart_removes_nothing_that_another_program_made(place, tiny_model, tmp_path, capsys):
    path, output = record(tmp_path / "drive", "mcap"), tmp_path / "out"
    (output / place).mkdir(parents=True)
    precious = output / place / "notes.txt"
    precious.write_text("of the user")
    for more in ((), ("--restart",)):
        assert segment(tiny_model, output, "--bag", path, *more) == 2
        assert precious.read_text() == "of the user"
        assert "move it away, or choose another --output" in capsys.readouterr().err


def test_restart_keeps_the_earlier_results_until_the_flags_are_right(tiny_model, tmp_path, capsys):
    path, output = record(tmp_path / "drive", "mcap"), tmp_path / "out"
    assert segment(tiny_model, output, "--bag", path) == 0
    before = data_file(output / "drive").read_bytes()
    assert segment(tiny_model, output, "--bag", path, "--restart", "--topics", "/none") == 2
    assert data_file(output / "drive").read_bytes() == before
    (output / "drive/notes.txt").write_text("of the user")
    assert segment(tiny_model, output, "--bag", path, "--restart") == 2
    assert "notes.txt' was not made by this program" in capsys.readouterr().err
    assert data_file(output / "drive").read_bytes() == before


def test_other_weights_of_loftup_or_another_commit_are_no_same_run(tmp_path, monkeypatch, capsys):
    weights = tmp_path / "loftup.safetensors"
    tensors = load_file(EMBEDDED_FILE)
    with safe_open(EMBEDDED_FILE, "np") as file:
        metadata = file.metadata()
    save_file(tensors, weights, metadata)
    given = ("--bag", record(tmp_path / "drive", "mcap", frames=1), "--use-loftup",
             "--loftup-source", weights)
    assert segment("embedded", tmp_path / "out", *given) == 0
    monkeypatch.setattr("sclip_seg_ros.tools.figures.provenance.commit", lambda: "two")
    assert segment("embedded", tmp_path / "out", *given) == 2
    assert "made with another commit;" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("sclip_seg_ros.tools.figures.provenance.commit", lambda: "one")
    name = min(tensors)
    save_file({**tensors, name: tensors[name] * 1.01}, weights, metadata)
    assert segment("embedded", tmp_path / "out", *given) == 2
    assert "made with another upsampler;" in capsys.readouterr().err
