"""`sclip-segment --ray` on files at addresses: the results of paths, where users want."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import zipfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from ftp_server import server_fixture
from PIL import Image
from ray_cluster import cluster_fixture, files, one_process_fixture
from recordings import picture

from sclip_seg_ros.tools.pieces.pieces import open_engine
from sclip_seg_ros.tools.segment.command import main
from sclip_seg_ros.tools.segment.video import VideoSource

pytest.importorskip("ray")
from sclip_seg_ros.tools.segment import copies  # noqa: E402

MAC_NOTE = b"\0\x05\x16\x07\0\x02\0\0Mac OS X"


cluster = cluster_fixture(__name__)
one_process = one_process_fixture(copies)
server = server_fixture()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Lay out 18 photos in two folders, a film, a damaged photo, and what is neither."""
    folder = tmp_path / "archive"
    for day in ("monday", "tuesday [2]"):
        (folder / day).mkdir(parents=True)
        for index in range(9):
            Image.fromarray(picture(index, 48, 64)).save(folder / day / f"{index}.png")
    film = cv2.VideoWriter(str(folder / "walk.mkv"), cv2.CAP_FFMPEG,
                           cv2.VideoWriter_fourcc(*"FFV1"), 10.0, (64, 48))
    for index in range(12):
        film.write(picture(index, 48, 64))
    film.release()
    (folder / "monday/broken.jpg").write_bytes(b"\xff\xd8 and no more")
    (folder / "monday/._0.png").write_bytes(MAC_NOTE)
    (folder / "notes.txt").write_text("of the week")
    (folder / "raw.dng").write_bytes(b"II*\0")
    return folder


def segment(model: str, output: object, *given: object) -> int:
    """Run sclip-segment, and return its exit code."""
    return main(["--output", str(output), *map(str, given), "--model", model, "--device", "cpu",
                 "--vocabulary", "floor", "table", "cup"])


def results(folder: Path) -> dict[str, object]:
    """Return all results below a folder, without what tells times, and where the inputs are."""
    found: dict[str, object] = {}
    for name, content in files(folder).items():
        if name.endswith(".mkv"):  # Matroska gives every file an identifier of its own
            found[name] = np.stack(list(VideoSource(folder / name).frames())).tobytes()
        elif name.endswith(".json") and name != "run.json":
            found[name] = {key: value for key, value in json.loads(content).items()
                           if key not in ("stage_ms", "source", "made_of")}
        elif name != "run.json":
            found[name] = content
    return found


@pytest.mark.parametrize("protocol, engine", [("file", "one_process"), ("ftp", "cluster")])
def test_addresses_give_the_results_of_paths(protocol, engine, archive, tiny_model, tmp_path,
                                             request, capsys):
    assert segment(tiny_model, tmp_path / "one", archive) == 1
    alone = capsys.readouterr()
    base = request.getfixturevalue("server") if protocol == "ftp" else f"file://{tmp_path}"
    address = request.getfixturevalue(engine) or "local"
    given, output = f"{base}/archive", f"{base}/two"
    assert segment(tiny_model, output, given, "--ray", address) == 1
    said = capsys.readouterr()
    shown = base.replace("robot:secret", "***")
    assert "secret" not in said.out + said.err + (tmp_path / "two/run.json").read_text()
    assert f"'{shown}/archive/monday/broken.jpg" in said.err and "sclip-copy" not in said.err
    for told in (alone.err, said.err):
        assert "these are left out: 1 .dng;" in told and told.count("broken.jpg") == 1
    for told in (alone.out, said.out):
        assert "18 images and 1 video (12 frames) in " in told
    assert f"; results: {shown}/two" in said.out
    one = results(tmp_path / "one")
    assert one == results(tmp_path / "two") and len(one) == 18 * 4 + 5
    photo = json.loads((tmp_path / "two/tuesday [2]/3.json").read_text())
    assert photo["source"] == f"{shown}/archive/tuesday [2]/3.png"

    # What is finished is left; what lacks a result, or its receipt's end, is done again.
    (tmp_path / "two/monday/1.label.png").unlink()
    (tmp_path / "two/monday/2.json").write_bytes(b'{"source": "')
    before = (tmp_path / "two/monday/3.label.png").stat().st_mtime_ns
    request.getfixturevalue("one_process")
    assert segment(tiny_model, output, given, "--ray", "--resume") == 1
    said = capsys.readouterr()
    assert "17 files done by an earlier run" in said.out and "\n2 images in " in said.out
    assert (tmp_path / "two/monday/3.label.png").stat().st_mtime_ns == before
    assert one == results(tmp_path / "two")


def test_patterns_zips_and_paths_beside_them(one_process, archive, tiny_model, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "week.zip", "w") as packed:
        for path in (archive / "monday").glob("*.png"):
            packed.write(path, f"week/monday/{path.name}")
    assert segment(tiny_model, tmp_path / "one", archive / "monday/*.png") == 0
    assert segment(tiny_model, tmp_path / "two", f"zip://week/*/*.png::file://{tmp_path}/week.zip",
                   "--ray") == 0
    assert results(tmp_path / "one") == results(tmp_path / "two") != {}
    assert segment(tiny_model, f"file://{tmp_path}/three", archive / "monday/*.png",
                   f"file://{tmp_path}/away", "--ray") == 1
    assert f"'file://{tmp_path}/away' does not exist; check the address" in capsys.readouterr().err
    assert results(tmp_path / "one") == results(tmp_path / "three")

    # Results are not images, and other flags do again what they concern.
    assert segment(tiny_model, f"file://{tmp_path}", f"file://{tmp_path}/three/*", "--ray") == 2
    assert "matches no image or video" in capsys.readouterr().err
    assert segment(tiny_model, f"file://{tmp_path}/three", archive / "monday/*.png", "--ray",
                   "--overlay-alpha", 0.9) == 0
    assert "\n9 images in " in "\n" + capsys.readouterr().out
    assert results(tmp_path / "one") != results(tmp_path / "three")


class Doomed(copies.CopyWorker):
    """Dies of a photo, whoever tries it."""

    def _label(self, entry: copies.Copy, notices: list[str]) -> int:
        if entry.path.name == "5.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._label(entry, notices)


def test_what_kills_two_workers_is_set_aside_and_named(cluster, archive, tiny_model, tmp_path,
                                                       monkeypatch, request, capsys):
    shutil.rmtree(archive / "monday")
    flags = tiny_model, f"file://{tmp_path}/two", archive, "--ray"
    with monkeypatch.context() as patch:
        patch.setattr(copies, "open_engine", lambda arguments, worker: open_engine(
            arguments, partial(Doomed, *worker.args)))
        assert segment(*flags, cluster) == 1
    said = capsys.readouterr()
    for index in range(9):
        assert (f"/{index}.png': it is one of 9 photos set aside, because two workers died of them "
                in said.err) == (index >= 5)
    assert "5 images and 1 video (12 frames) in " in said.out
    request.getfixturevalue("one_process")
    assert segment(*flags, "--resume") == 0
    said = capsys.readouterr()
    assert "6 files done by an earlier run" in said.out and "\n4 images in " in said.out


def test_a_dry_run_copies_a_few_and_reckons_the_rest(archive, tiny_model, tmp_path, capsys):
    shutil.copy(archive / "walk.mkv", archive / "again.mkv")
    (archive / "monday/broken.jpg").unlink()
    assert segment(tiny_model, f"file://{tmp_path}/two", f"file://{archive}", "--ray",
                   "--dry-run") == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == "20 sources, 20 pieces, 42 frames to label"
    assert not (tmp_path / "two").exists()


def test_a_dry_run_names_what_it_cannot_read_by_its_address(archive, tiny_model, tmp_path, capsys):
    (archive / "monday/1.png").write_bytes((archive / "monday/1.png").read_bytes()[:400])
    assert segment(tiny_model, f"file://{tmp_path}/two", f"file://{archive}/monday", "--ray",
                   "--dry-run") == 1
    told = capsys.readouterr().err
    assert f"'file://{archive}/monday/1.png'" in told and "'1.png'" not in told


@pytest.mark.parametrize("given, more, said", [
    (["s3://bucket/photos"], [], "'s3://bucket/photos' is an address, .*; add --ray, whose work"),
    (["s3://bucket/photos"], ["--ray"], "'s3://bucket/photos' cannot be reached .Install s3fs"),
    (["file://{}"], ["--ray", "--piece-seconds", "9"], "leave out --piece-seconds"),
    (["file://{}"], ["--ray", "--export-training"], "--export-training looks at all results"),
    (["file://{}"], ["--ray", "--points-file", "x.json"], "--points-file looks at all results"),
    (["file://{}/*.gif"], ["--ray"], "nothing matches 'file://.*gif'; check the address"),
    (["file://{}/*.txt"], ["--ray"], "'file://.*txt' matches no image or video; check the patt"),
    (["file://{}/notes.txt"], ["--ray"], "'file://.*notes.txt' is not an image"),
    (["file://{}"], ["--ray", "--output", "{}"], "would mix results with the images of 'file://"),
    (["zip://*.png::file://{}/a.zip", "zip://*.png::file://{}/b.zip"], ["--ray"],
     "'zip://0.png::file://.*/a.zip' and 'zip://0.png::file://.*/b.zip' would have the same"),
    (["file://{}"], ["--ray", "--output", "zip://a::file://{}/a.zip"], "cannot be written"),
])
def test_what_cannot_work_is_refused_before_the_work(given, more, said, archive, tiny_model,
                                                     tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for name in "ab":
        with zipfile.ZipFile(archive / f"{name}.zip", "w") as packed:
            packed.write(archive / "monday/0.png", "0.png")
    before = files(tmp_path)
    words = [word.replace("{}", str(archive)) for word in (*given, *more)]
    assert segment(tiny_model, tmp_path / "out", *words) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert re.search(said, told), told
    assert files(tmp_path) == before
