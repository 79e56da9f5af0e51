"""`--ray` on a real cluster of two nodes: the bytes of one process, whatever happens to workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from folder_data import write_folder_data
from PIL import Image
from ray_cluster import cluster_fixture, files, scenes, segment
from recordings import FRONT, IMAGE, cut, data_file, picture, raw, record, record_rows

from sclip_seg_ros.cluster.work import Task
from sclip_seg_ros.tools.bag import pieces
from sclip_seg_ros.tools.benchmark.command import main as measure
from sclip_seg_ros.tools.pieces.pieces import open_engine
from sclip_seg_ros.tools.segment.command import main as segment_files
from sclip_seg_ros.tools.segment.video import VideoSource

pytest.importorskip("ray")

MANY = 60


cluster = cluster_fixture(__name__)


@pytest.fixture
def drives(tmp_path: Path) -> list[Path]:
    """Record three cameras that look at a square on the move, and break the last recording."""
    paths = [record(tmp_path / name, storage, 16, images=scenes(16))
             for name, storage in (("drive", "mcap"), ("walk", "sqlite3"), ("broken", "mcap"))]
    return [*paths[:2], cut(paths[2], 0.001)]


class Fragile(pieces.BagWorker):
    """Dies twice of one piece of the first recording, and once of one of the second."""

    deaths = {(0, 2): 2, (1, 1): 1}  # as of an out-of-memory killer

    def do(self, task: Task) -> tuple[int, str, object]:
        place = task.source, task.piece and task.piece.number
        if place in self.deaths:
            graves = self._arguments.output.with_suffix(f".{place[0]}")
            with open(graves, "a") as file:
                file.write("x")
            if graves.stat().st_size <= self.deaths[place]:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().do(task)


@pytest.fixture
def one(drives, tiny_model, tmp_path) -> Path:
    """Let one process do the same pieces."""
    assert segment(tiny_model, tmp_path / "one", drives) == 1
    return tmp_path / "one"


def test_two_nodes_make_the_bytes_of_one_process(cluster, drives, tiny_model, tmp_path, capsys):
    """Of recordings that are whole, one that cannot be read and one of which a part cannot."""
    drives.append(record(tmp_path / "hit", "mcap", 16, images=scenes(16)))
    file = data_file(drives[-1])
    content = bytearray(file.read_bytes())
    content[len(content) // 2:len(content) // 2 + 20_000] = bytes(20_000)  # a bad sector or two
    file.write_bytes(content)
    assert segment(tiny_model, tmp_path / "one", drives) == 1
    alone = capsys.readouterr()
    assert segment(tiny_model, tmp_path / "two", drives, "--ray", cluster) == 1
    said = capsys.readouterr()
    for output in (alone.err, said.err):
        assert "broken" in output
        assert "hit' is damaged (" in output and "what can be read of it was read" in output
    for output in (alone.out, said.out):
        assert "/hit: 16 images segmented" not in output and "; cut short" in output
    assert "two/drive: 16 images segmented" in said.out
    assert files(tmp_path / "one") == files(tmp_path / "two")
    rates = [line for line in said.out.splitlines() if ", process " in line]
    assert len(rates) == 2 and all(line.endswith("a second") for line in rates)


def test_a_piece_that_kills_two_workers_is_set_aside_and_done_later(
        cluster, drives, one, tiny_model, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "open_engine", lambda arguments, _: open_engine(
            arguments, partial(Fragile, arguments)))
        assert segment(tiny_model, tmp_path / "two", drives, "--ray", cluster) == 1
    said = capsys.readouterr()
    assert "two/drive' is not done: piece 2 set aside, because two workers died of it" in said.err
    # The other one was done when it was tried again.
    assert (tmp_path / "two.1").read_text() == "xx" and "walk: 16 images segmented" in said.out
    partial_work = tmp_path / "two/drive.partial"
    assert sorted(path.name for path in partial_work.iterdir()) == [
        f"frames.sqlite.{number:05}" for number in (0, 1, 3)]
    done = []
    real = pieces.BagWorker.do
    monkeypatch.setattr(pieces.BagWorker, "do",
                        lambda self, task: done.append(task) or real(self, task))
    assert segment(tiny_model, tmp_path / "two", drives, "--resume") == 1
    assert [task.piece and task.piece.number for task in done] == [2, None]
    assert files(one) == files(tmp_path / "two")


def test_without_ray_the_remedy_is_told(drives, tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "sclip_seg_ros.cluster.ray_pool", raising=False)
    assert segment(tiny_model, tmp_path / "out", drives, "--ray") == 2
    assert "--ray needs the Python module 'ray', which is not installed; `pip install ray` " \
        "brings it, and so does this package's extra 'cluster'" in capsys.readouterr().err


def test_an_address_without_a_cluster_is_told(drives, tiny_model, tmp_path, capsys):
    assert segment(tiny_model, tmp_path / "out", drives, "--ray", "127.0.0.1:1") == 2
    assert "there is no Ray cluster at '127.0.0.1:1'" in capsys.readouterr().err


def test_many_tiny_recordings_are_all_done(cluster, tiny_model, tmp_path, capsys):
    """Each has two pictures; all are alike but for names, so that one tells what all are to be."""
    rows = [(FRONT, IMAGE, raw(picture(index, 48, 64), index)) for index in range(2)]
    alike = data_file(record_rows(tmp_path / "alike", rows))
    drives = [Path(shutil.copy(alike, tmp_path / f"drive_{number:03}{alike.suffix}"))
              for number in range(MANY)]
    assert segment(tiny_model, tmp_path / "one", drives[:1]) == 0
    assert segment(tiny_model, tmp_path / "two", drives, "--ray", cluster) == 0
    done = [line for line in capsys.readouterr().out.splitlines()
            if "two/drive_" in line and line.endswith(": 2 images segmented")]
    assert len(done) == MANY
    expected = data_file(tmp_path / "one/drive_000").read_bytes()
    names = [f"drive_{number:03}" for number in range(MANY)]
    assert {data_file(tmp_path / "two" / name).read_bytes().replace(name.encode(), b"drive_000")
            for name in names} == {expected}
    assert len(list((tmp_path / "two").iterdir())) == MANY


def test_films_and_photos_over_workers_are_those_of_one_process(cluster, tiny_model, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    still = np.random.default_rng(0).integers(90, 160, (48, 64, 3), np.uint8)
    film = cv2.VideoWriter(str(folder / "walk.mkv"), cv2.CAP_FFMPEG,
                           cv2.VideoWriter_fourcc(*"FFV1"), 10.0, (64, 48))
    for index in range(30):
        frame = still.copy()
        frame[10:30, index:index + 20] = 255
        film.write(frame)
    film.release()
    for index in range(18):
        Image.fromarray(picture(index, 48, 64)).save(folder / f"{index:02}.png")
    one, two = tmp_path / "one", tmp_path / "two"
    for output, more in ((one, ()), (two, ("--ray", cluster))):
        assert segment_files([str(folder), "--model", tiny_model, "--output", str(output),
                              "--vocabulary", "floor", "table", "cup", "--piece-seconds", "1",
                              "--run-in", "0.5", *more]) == 0
    made = [files(one), files(two)]
    assert made[0].keys() == made[1].keys() and len(made[0]) == 18 * 4 + 5 + 1
    for name in made[0].keys() - {"run.json"}:
        if name.endswith(".mkv"):  # Matroska gives every file an identifier of its own
            np.testing.assert_array_equal(list(VideoSource(one / name).frames()),
                                          list(VideoSource(two / name).frames()))
        elif name.endswith(".json"):
            said = [json.loads(each[name]) for each in made]
            for each in said:
                each.pop("stage_ms", None)  # a time, and no result
            assert said[0] == said[1]
        else:
            assert made[0][name] == made[1][name], name


def test_training_data_over_workers_are_those_of_one_process(cluster, tiny_model, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for index in range(40):
        Image.fromarray(picture(index, 48, 64)).save(folder / f"{index:02}.png")
    one, two = tmp_path / "one", tmp_path / "two"
    for output, more in ((one, ()), (two, ("--ray", cluster))):
        assert segment_files([str(folder), "--model", tiny_model, "--output", str(output),
                              "--vocabulary", "floor", "table", "cup", "--export-training",
                              "--least-confidence", "0.4", *more]) == 0
    assert files(one / "training") == files(two / "training")
    assert json.loads((two / "training/training.json").read_text())["pictures"] == 40


def test_scores_over_workers_are_those_of_one_process(cluster, tiny_model, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_folder_data(data, 20, ["floor", "table, desk", "cup"], cell=20)
    flags = ["--dataset", "folder", "--data-root", str(data), "--model", tiny_model, "--device",
             "cpu"]
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert measure([*flags, "--output", str(one)]) == 0
    assert measure([*flags, "--output", str(two), "--ray", cluster]) == 0
    results = [json.loads(path.read_text()) for path in (one, two)]
    for key in ("dataset", "scores", "by_class", "settings", "model"):
        assert results[0][key] == results[1][key]
    names = [[json.loads(line).get("image") for line in
              path.with_suffix(".journal.jsonl").read_text().splitlines()] for path in (one, two)]
    assert names[0] == names[1] and len(names[0]) == 21


def test_an_ablation_over_workers_is_that_of_one_process(cluster, tiny_model, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_folder_data(data, 10, ["floor", "table, desk", "cup"], cell=20)
    flags = ["--dataset", "folder", "--data-root", str(data), "--model", tiny_model, "--device",
             "cpu", "--ablation"]
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert measure([*flags, "--output", str(one)]) == 0
    assert measure([*flags, "--output", str(two), "--ray", cluster]) == 0
    results = [json.loads(path.read_text()) for path in (one, two)]
    assert results[0]["images"] == results[1]["images"] and len(results[0]["images"]) == 10
    rows = [{row["key"]: (row["scores"], row["miou_by_image"], row["skipped"])
             if row["scores"] else row["skipped"] for row in each["configurations"]}
            for each in results]
    assert rows[0] == rows[1] and len(rows[0]) > 10
