"""`sclip-bag --ray` on recordings at addresses: the results of paths, put where users want them."""

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

import bag_program
import pytest
from ftp_server import server_fixture
from ray_cluster import cluster_fixture, files, one_process_fixture, scenes
from recordings import cut, data_file, record

from sclip_seg_ros.cluster.work import Task
from sclip_seg_ros.tools.pieces.pieces import open_engine

pytest.importorskip("ray")
from sclip_seg_ros.cluster.addresses import AddressError, Place  # noqa: E402
from sclip_seg_ros.tools.bag import copies  # noqa: E402

cluster = cluster_fixture(__name__, count=1)
one_process = one_process_fixture(copies)
server = server_fixture()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Record two cameras and a damaged one: a folder, a file and a folder."""
    folder = tmp_path / "archive"
    folder.mkdir()
    record(folder / "drive", "sqlite3", 8, images=scenes(8))
    shutil.move(data_file(record(tmp_path / "kept", "mcap", 8, images=scenes(8))),
                folder / "walk.mcap")
    cut(record(folder / "broken", "mcap", 8, images=scenes(8)), 0.001)
    return folder


def segment(model: str, output: object, bags: list[object], *more: object) -> int:
    """Run sclip-bag, and return its exit code."""
    return bag_program.segment(model, output, "--device", "cpu", "--bag", *bags, *more)


def whole(folder: Path) -> dict[str, bytes]:
    """Return the files of new recordings, without receipts."""
    return {name: content for name, content in files(folder).items()
            if not name.endswith(".receipt.json")}


@pytest.mark.parametrize("protocol, engine", [("file", "one_process"), ("ftp", "cluster")])
def test_addresses_give_the_bytes_of_paths(protocol, engine, archive, tiny_model, tmp_path,
                                           request, capsys):
    assert segment(tiny_model, tmp_path / "one", sorted(archive.iterdir())) == 1
    alone = capsys.readouterr()
    base = request.getfixturevalue("server") if protocol == "ftp" else f"file://{tmp_path}"
    address = request.getfixturevalue(engine)
    bags, output = [f"{base}/archive/*"], f"{base}/two"
    assert segment(tiny_model, output, bags, "--ray", address or "local") == 1
    said = capsys.readouterr()
    assert "secret" not in said.out + said.err
    shown = base.replace("robot:secret", "***")
    assert f"'{shown}/archive/broken" in said.err and "archive/broken" in alone.err
    for name in ("drive", "walk"):
        assert f"{shown}/two/{name}: 8 images segmented\n" in said.out
    assert whole(tmp_path / "one") == whole(tmp_path / "two") != {}
    receipts = sorted(path.name for path in (tmp_path / "two").glob("*.receipt.json"))
    assert receipts == ["drive.receipt.json", "walk.receipt.json"]

    # What is finished is left; one whose receipt was not written to its end is done again.
    (tmp_path / "two/walk.receipt.json").write_bytes(b'{"run": {"pre')
    before = data_file(tmp_path / "two/drive").stat().st_mtime_ns
    request.getfixturevalue("one_process")
    assert segment(tiny_model, output, bags, "--ray", "--resume") == 1
    said = capsys.readouterr()
    assert "two/drive: 8 images segmented, 8 of them in an earlier run" in said.out
    assert "two/walk: 8 images segmented\n" in said.out
    assert data_file(tmp_path / "two/drive").stat().st_mtime_ns == before
    assert whole(tmp_path / "one") == whole(tmp_path / "two")


def test_other_flags_and_other_peoples_recordings_are_refused(one_process, archive,
                                                              tiny_model, tmp_path, capsys):
    output, bags = f"file://{tmp_path}/two", [f"file://{archive}/drive"]
    shutil.copytree(archive / "drive", tmp_path / "two/drive")
    there = files(tmp_path / "two")
    assert segment(tiny_model, output, bags, "--ray", "--restart") == 2
    assert "two/drive' exists already, without 'file:///" in capsys.readouterr().err
    assert files(tmp_path / "two") == there
    shutil.rmtree(tmp_path / "two/drive")
    assert segment(tiny_model, output, bags, "--ray") == 0
    assert segment(tiny_model, output, bags, "--ray", "--prefix", "/other") == 2
    assert "made with another prefix; choose another --output" in capsys.readouterr().err
    receipt = tmp_path / "two/drive.receipt.json"
    for foreign in ("[1]", '{"a": 1}', "[]", "null"):
        kept = receipt.read_text()
        receipt.write_text(foreign)
        assert segment(tiny_model, output, bags, "--ray") == 2
        assert "is no receipt of this program; move it and" in capsys.readouterr().err
        receipt.write_text(kept)
    assert segment(tiny_model, output, bags, "--ray", "--prefix", "/other",
                   "--restart") == 0
    assert json.loads((tmp_path / "two/drive.receipt.json").read_text())["frames"] == 8
    assert b"/other/" in (tmp_path / "two/drive/metadata.yaml").read_bytes()


class Doomed(copies.CopyWorker):
    """Dies of the recording ``walk``, whoever tries it."""

    def do(self, task: Task) -> tuple[int, str, object]:
        if self._arguments.errands[task.source].name == "walk.mcap":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().do(task)


def test_a_recording_that_kills_two_workers_is_set_aside(cluster, archive, tiny_model, tmp_path,
                                                         monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(copies, "open_engine", lambda arguments, _: open_engine(
            arguments, partial(Doomed, arguments)))
        assert segment(tiny_model, f"file://{tmp_path}/two", [archive / "drive",
                       archive / "walk.mcap"], "--ray", cluster) == 1
    said = capsys.readouterr()
    assert "two/walk' is not done: it is set aside, because two workers died of it" in said.err
    assert said.err.rstrip().endswith("; the same command does it")
    assert "two/drive: 8 images segmented" in said.out
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "drive", "drive.receipt.json"]


def test_a_zip_is_read_where_it_lies(one_process, archive, tiny_model, tmp_path):
    with zipfile.ZipFile(tmp_path / "month.zip", "w") as packed:
        for path in (archive / "drive").iterdir():
            packed.write(path, f"day/drive/{path.name}")
    bags = [f"zip://day/*::file://{tmp_path}/month.zip"]
    assert segment(tiny_model, tmp_path / "one", [archive / "drive"]) == 0
    assert segment(tiny_model, tmp_path / "two", bags, "--ray") == 0
    assert whole(tmp_path / "one") == whole(tmp_path / "two")


def test_a_dry_run_copies_the_smallest_and_reckons_the_rest(archive, tiny_model, tmp_path, capsys):
    record(archive / "long", "mcap", 32, images=scenes(32))
    bags = [f"file://{archive}/*"]
    assert segment(tiny_model, f"file://{tmp_path}/two", bags, "--ray", "--dry-run") == 1
    said = capsys.readouterr()
    assert f"'file://{archive}/broken" in said.err and "sclip-copy" not in said.err
    first, *_ = said.out.splitlines()
    assert first.startswith("3 sources, 3 pieces, ")
    assert 40 <= int(first.split(", ")[2].split()[0]) <= 60  # there are 48, and sizes tell about it
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("bags, more, said", [
    (["s3://bucket/drive"], [], "'s3://bucket/drive' is an address, .*; add --ray, whose workers"),
    (["s3://bucket/drive"], ["--ray"], "'s3://bucket/drive' cannot be reached .Install s3fs .* do "
     "that on every machine"),
    (["nowhere://drive"], ["--ray"], "Protocol not known: nowhere.; give an address such as s3://"),
    (["file://{}/drive"], ["--ray", "--piece-seconds", "9"], "leave out --piece-seconds"),
    (["file://{}/*.bag"], ["--ray"], "nothing matches 'file://.*bag'; check the address"),
    (["file://{}/away"], ["--ray"], "'file://.*/away' does not exist; check the address"),
    (["file://{}/drive", "zip://drive.mcap::file://{}/drive.zip"], ["--ray"],
     "2 recordings are called 'drive'"),
    (["file://{}/drive"], ["--ray", "--output", "{}"], "holds the recording '.*drive' itself"),
    (["file://{}/drive"], ["--ray", "--output", "{}/drive/in"], "itself, or lies in it"),
    (["file://{}/drive"], ["--ray", "--output", "zip://a::file://{}/drive.zip"], "cannot be writt"),
    (["ftp://127.0.0.1:1/drive"], ["--ray"], "cannot be listed .*Connection refused.; check the"),
])
def test_what_cannot_work_is_refused_before_the_work(bags, more, said, archive, tiny_model,
                                                     tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with zipfile.ZipFile(archive / "drive.zip", "w") as packed:
        packed.writestr("drive.mcap", b"")
    before = files(tmp_path)
    given = [[word.replace("{}", str(archive)) for word in words] for words in (bags, more)]
    assert segment(tiny_model, tmp_path / "out", given[0], *given[1]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert re.search(said, told), told
    assert files(tmp_path) == before


def test_without_fsspec_the_remedy_is_told(archive, tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    for module in ("fsspec.core", "sclip_seg_ros.cluster.addresses"):
        monkeypatch.delitem(sys.modules, module)
    assert segment(tiny_model, tmp_path / "out", [f"file://{archive}/drive"], "--ray") == 2
    assert "addresses need the Python module 'fsspec', which is not installed; `pip install " \
        "fsspec` brings it" in capsys.readouterr().err


def test_a_name_that_leads_out_of_the_copy_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.writestr("drive/../../evil.mcap", b"x")
    with pytest.raises(AddressError, match="would lie outside of any copy"):
        Place.of(f"zip://drive::file://{tmp_path}/evil.zip").files()
