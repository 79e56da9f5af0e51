"""`sclip-bag`: the same recording and the results, whatever happens on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bag_program import WORDS, segment
from forked_programs import can_fork
from recordings import (
    COMPRESSED,
    DEPTH,
    FRONT,
    REAR,
    START,
    TYPES,
    cut,
    packed,
    picture,
    raw,
    record,
    record_rows,
    rows,
)
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import CompressionMode, Reader

from sclip_seg_ros.io.overlay import draw_overlay, legend_entries
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.temporal import FilmSegmentor
from sclip_seg_ros.tools.bag import processing
from sclip_seg_ros.tools.bag.command import main
from sclip_seg_ros.tools.bag.recording.messages import IMAGE, Codec
from sclip_seg_ros.tools.bag.recording.recording import Recording

OURS = ("/sclip_seg/label", "/sclip_seg/overlay", "/sclip_seg/class_confidence")
CODEC = Codec()

pytestmark = pytest.mark.usefixtures("one_commit")


def read(row: tuple[str, str, int, bytes]) -> object:
    """Deserialise a message with the definitions that travel with the package."""
    return CODEC.types.deserialize_cdr(row[3], row[1])


def of(topic: str, found: list) -> list:
    """Return the rows of one topic."""
    return [row for row in found if row[0] == topic]


def pixels(message: object) -> np.ndarray:
    """Return the pixels of an image without padding."""
    return message.data.reshape(message.height, message.width, -1).squeeze()


@pytest.mark.parametrize("storage, compression", [
    ("mcap", CompressionMode.NONE), ("sqlite3", CompressionMode.NONE),
    ("sqlite3", CompressionMode.MESSAGE), ("mcap", CompressionMode.FILE)])
def test_a_recording_is_kept_byte_for_byte_and_gains_results(storage, compression, tiny_model,
                                                             tmp_path, capsys):
    path = record(tmp_path / "drive", storage, compression=compression)
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 0
    found, before = rows(tmp_path / "out/drive"), rows(path)
    assert [row for row in found if not row[0].startswith("/sclip_seg/")] == before
    with Reader(path) as old, Reader(tmp_path / "out/drive") as new:
        offers = {item.topic: (item.msgtype, item.msgdef, item.digest, item.ext)
                  for item in new.connections}
        for item in old.connections:
            assert offers[item.topic] == (item.msgtype, item.msgdef, item.digest, item.ext)
        assert (new.compression_mode, new.compression_format) == (old.compression_mode,
                                                                  old.compression_format)
    assert "6 images segmented" in capsys.readouterr().out
    suffix = {"mcap": ".mcap", "sqlite3": ".db3"}[storage]
    assert [file.name for file in (tmp_path / "out").rglob(f"*{suffix}*")] == [
        f"drive{suffix}" + (".zstd" if compression is CompressionMode.FILE else "")]
    assert not list((tmp_path / "out").glob("*.partial"))


def test_results_follow_their_image_with_its_stamp_and_header(tiny_model, tmp_path):
    path = record(tmp_path / "drive", "mcap")
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 0
    segmentor = SCLIPSegmentor(tiny_model, device="auto")
    vocabulary = segmentor.vocabulary(WORDS)
    found = rows(tmp_path / "out/drive")
    places = [index for index, row in enumerate(found) if row[0] == FRONT]
    for index, place in enumerate(places):
        image, *results = found[place:place + 4]
        assert tuple(row[0] for row in results) == OURS
        assert {row[2] for row in results} == {image[2]}
        label, overlay, summary = map(read, results)
        assert {repr(each.header) for each in (label, overlay, summary)} == {
            repr(read(image).header)}
        expected = segmentor.predict_dense(picture(index), vocabulary)
        np.testing.assert_array_equal(pixels(label), expected.labels)
        drawn = draw_overlay(picture(index), expected.labels, vocabulary.colours, 0.5,
                             legend_entries(expected.coverage, vocabulary.names))
        np.testing.assert_array_equal(pixels(overlay), drawn)
        assert (label.encoding, overlay.encoding) == ("mono8", "rgb8")
        assert [(each.class_id, each.class_name) for each in summary.classes] == [
            (0, "floor"), (1, "table"), (2, "cup")]
        assert [each.coverage for each in summary.classes] == pytest.approx(
            expected.coverage.tolist())
        assert [each.mean_confidence for each in summary.classes] == pytest.approx(
            expected.mean_confidence.tolist())
        assert summary.vocabulary_version == 1


def test_the_words_come_once_first_and_latched(tiny_model, tmp_path):
    path = record(tmp_path / "drive", "sqlite3")
    assert segment(tiny_model, tmp_path / "out", "--bag", path, "--background", "cup") == 0
    found = rows(tmp_path / "out/drive")
    assert [index for index, row in enumerate(found) if row[0] == "/sclip_seg/vocabulary"] == [0]
    assert found[0][2] == START
    said = read(found[0])
    assert [list(entry.synonyms) for entry in said.classes] == [["floor"], ["table", "desk"],
                                                                ["cup"]]
    assert said.background_id == 2 and said.version == 1
    with Reader(tmp_path / "out/drive") as reader:
        offers = {item.topic: item.ext.offered_qos_profiles for item in reader.connections}
    assert offers["/sclip_seg/vocabulary"][0].durability is QosDurability.TRANSIENT_LOCAL
    assert offers["/sclip_seg/vocabulary"][0].depth == 1
    assert {offers[topic][0].durability for topic in OURS} == {QosDurability.VOLATILE}
    assert {offers[topic][0].depth for topic in OURS} == {5}


def test_labels_words_and_summary_have_the_chosen_ids(tiny_model, tmp_path, capsys):
    path = record(tmp_path / "drive", "mcap")
    ids = ("--unlabelled-id", "0", "--class-ids", "9", "4", "200")
    assert segment(tiny_model, tmp_path / "out", "--bag", path, *ids) == 0
    found = rows(tmp_path / "out/drive")
    words = read(of("/sclip_seg/vocabulary", found)[0])
    assert [(entry.id, entry.name) for entry in words.classes] == [(9, "floor"), (4, "table"),
                                                                   (200, "cup")]
    label = pixels(read(of("/sclip_seg/label", found)[0]))
    expected = SCLIPSegmentor(tiny_model, device="auto").segment(picture(0), WORDS)
    np.testing.assert_array_equal(label, np.array([9, 4, 200])[expected])
    summary = read(of("/sclip_seg/class_confidence", found)[0])
    assert [entry.class_id for entry in summary.classes] == [9, 4, 200]
    assert summary.unlabelled_id == words.unlabelled_id == 0

    assert segment(tiny_model, tmp_path / "other", "--bag", path, "--class-ids", "1", "2") == 2
    assert "3 classes and 2 class_ids" in capsys.readouterr().err


def test_frames_results_are_offered_as_by_the_node(ros):
    from sclip_seg_ros.ros.cameras.outputs import DEPTH

    [offer] = CODEC.channel("/sclip_seg/label", IMAGE).qos
    assert offer.depth == DEPTH


def test_ros_reads_the_results(ros, tiny_model, tmp_path):
    from ament_index_python.packages import get_package_share_directory
    from rclpy.serialization import deserialize_message
    from sclip_seg_ros.msg import ClassConfidenceArray, Vocabulary
    from sensor_msgs.msg import Image

    path = record(tmp_path / "drive", "mcap", frames=2)
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 0
    found = rows(tmp_path / "out/drive")
    kinds = dict(zip(OURS, (Image, Image, ClassConfidenceArray), strict=True))
    for topic, kind in {**kinds, "/sclip_seg/vocabulary": Vocabulary}.items():
        for row in of(topic, found):
            said = deserialize_message(row[3], kind)
            if kind is Image:
                np.testing.assert_array_equal(pixels(read(row)).ravel(), said.data)
                assert (said.height, said.width, said.is_bigendian) == (60, 80, 0)
            if topic == "/sclip_seg/class_confidence":
                assert [each.class_name for each in said.classes] == ["floor", "table", "cup"]
                assert sum(each.coverage for each in said.classes) == pytest.approx(1.0)
            if topic == "/sclip_seg/vocabulary":
                assert [list(each.synonyms) for each in said.classes] == [
                    ["floor"], ["table", "desk"], ["cup"]]
            else:
                assert said.header.frame_id == "camera" and said.header.stamp.sec >= 100
    with Reader(tmp_path / "out/drive") as reader:
        digests = {item.msgtype: item.digest for item in reader.connections}
    share = Path(get_package_share_directory("sclip_seg_ros"))
    for name in ("ClassConfidenceArray", "Vocabulary"):
        built = json.loads((share / f"msg/{name}.json").read_text())["type_hashes"]
        kind = f"sclip_seg_ros/msg/{name}"
        assert {"type_name": kind, "hash_string": digests[kind]} in built


def test_several_cameras_have_topics_of_their_own_and_depth_is_left_out(tiny_model, tmp_path,
                                                                        capsys):
    path = record(tmp_path / "drive", "mcap", cameras=(FRONT, REAR))
    assert segment(tiny_model, tmp_path / "out", "--bag", path, "--prefix", "/robot/seg") == 0
    found = rows(tmp_path / "out/drive")
    for camera, first in (("front", 0), ("rear", 100)):
        labels = of(f"/robot/seg/{camera}/label", found)
        expected = SCLIPSegmentor(tiny_model, device="auto").segment(picture(first), WORDS)
        np.testing.assert_array_equal(pixels(read(labels[0])), expected)
        assert len(labels) == len(of(f"/robot/seg/{camera}/class_confidence", found)) == 6
    assert read(of("/robot/seg/rear/label", found)[0]).header.frame_id == "rear_camera"
    assert len(of("/robot/seg/vocabulary", found)) == 1
    assert f"topic '{DEPTH}' is left out: encoding '16UC1'" in capsys.readouterr().err


def test_topics_can_be_named(tiny_model, tmp_path):
    path = record(tmp_path / "drive", "mcap", cameras=(FRONT, REAR))
    assert segment(tiny_model, tmp_path / "out", "--bag", path, "--topics", REAR) == 0
    topics = {row[0] for row in rows(tmp_path / "out/drive")}
    assert set(OURS) < topics and "/sclip_seg/front/label" not in topics


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_recording_cut_short_is_segmented_up_to_the_cut_and_says_so(storage, tiny_model,
                                                                      tmp_path, capsys):
    path = record(tmp_path / "drive", storage, frames=40)
    whole = rows(path)
    cut(path, 0.5)
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 1
    found = rows(tmp_path / "out/drive")
    kept = [row for row in found if not row[0].startswith("/sclip_seg/")]
    assert kept == whole[:len(kept)] and len(whole) / 3 < len(kept) < len(whole)
    assert len(of(OURS[0], found)) == len(of(FRONT, kept)) > 10
    said = capsys.readouterr()
    assert "cut short, and was read up to the cut" in said.err and "; cut short" in said.out
    # Also when it was finished by an earlier run.
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 1


def test_bad_images_are_counted_and_the_others_segmented(tiny_model, tmp_path, capsys):
    good = raw(picture(1), 1)
    images = {1: good[:40], 3: good.replace(b"bgr8\0", b"rgb9\0"),
              4: raw(picture(4, 4, 200), 4)}
    path = record(tmp_path / "drive", "mcap", images=images)
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 1
    found = rows(tmp_path / "out/drive")
    assert [row for row in found if not row[0].startswith("/sclip_seg/")] == rows(path)
    stamps = [row[2] for row in of(OURS[0], found)]
    assert stamps == [row[2] for row in of(FRONT, found) if (row[2] - START) // 10**8 not in images]
    said = capsys.readouterr()
    assert "3 images segmented" in said.out
    assert said.err.count("1 image of topic '/front/image_raw' could not be segmented") == 3
    assert "'rgb9' is unknown" in said.err


def test_a_size_that_stays_is_warmed_up_for_where_that_helps(tiny_model, tmp_path, monkeypatch):
    """As on a GPU: its kernels are recorded as a graph once, and not for a passing size."""
    warmed = []
    monkeypatch.setattr(Pipeline, "records", True)
    monkeypatch.setattr(Pipeline, "warm_up", lambda self, sizes, words: warmed.extend(sizes))
    path = record(tmp_path / "drive", "mcap", frames=5, cameras=(FRONT, REAR),
                  images={4: raw(picture(4, 90, 70), 4)})
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 0
    assert warmed == [(60, 80)] * 2  # one a camera


def test_an_image_that_runs_out_of_memory_does_not_stop_the_others(tiny_model, tmp_path,
                                                                   monkeypatch, capsys):
    label, calls = FilmSegmentor.__call__, iter(range(10))

    def failing(self, *given):
        if next(calls) == 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return label(self, *given)

    monkeypatch.setattr(FilmSegmentor, "__call__", failing)
    path = record(tmp_path / "drive", "mcap")
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 1
    said = capsys.readouterr()
    assert "5 images segmented" in said.out
    assert "can't allocate memory; take smaller images" in said.err
    assert len(of(OURS[0], rows(tmp_path / "out/drive"))) == 5


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_names_that_would_mean_something_in_a_uri_are_kept(storage, tiny_model, tmp_path, capsys):
    plain = record(tmp_path / "drive", storage, frames=2)
    before = rows(plain)
    plain.rename(tmp_path / "run#3 100%25?")
    out = tmp_path / "out?x=1"
    assert segment(tiny_model, out, "--bag", tmp_path / "run#3 100%25?") == 0
    found = Recording(out / "run#3 100%25?")
    kept = [(message.channel.topic, message.channel.kind, message.stamp, bytes(message.data))
            for message in found.messages() if not message.channel.topic.startswith("/sclip")]
    assert kept == before and found.cuts == []
    assert [file.name for file in found.files] == [
        "run#3 100%25?" + {"sqlite3": ".db3", "mcap": ".mcap"}[storage]]
    assert [path.name for path in out.iterdir()] == ["run#3 100%25?"]
    capsys.readouterr()
    assert segment(tiny_model, out, "--bag", tmp_path / "run#3 100%25?") == 0
    assert "2 of them in an earlier run" in capsys.readouterr().out


def test_a_lost_camera_counts_in_the_exit_code(tiny_model, tmp_path, capsys):
    path = record_rows(tmp_path / "drive", [
        (FRONT, IMAGE, raw(picture(0), 0)), (REAR, COMPRESSED, packed(b"", "jpeg", 1)),
        ("/depth", IMAGE, raw(np.zeros((2, 2), np.uint16), 0, "16UC1"))])
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 1
    said = capsys.readouterr()
    assert "1 image segmented" in said.out
    assert f"topic '{REAR}' is left out: none of its images can be read" in said.err
    # Also when it was finished by an earlier run.
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 1
    assert f"topic '{REAR}' is left out" in capsys.readouterr().err


def test_whatever_one_recording_raises_the_others_are_done(tiny_model, tmp_path, monkeypatch,
                                                           capsys):
    good = [record(tmp_path / f"drive{index}", "mcap", frames=1) for index in range(3)]
    plan = processing.make_plan

    def failing(recording, *given):
        if recording.path == good[1]:
            raise KeyError("protobuf")
        return plan(recording, *given)

    monkeypatch.setattr(processing, "make_plan", failing)
    assert segment(tiny_model, tmp_path / "out", "--bag", *good) == 1
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["drive0", "drive2"]
    [line] = [line for line in capsys.readouterr().err.splitlines() if "drive1'" in line
              and "left out" not in line]
    assert line.startswith(f"sclip-bag: '{good[1]}' cannot be segmented: KeyError in ")
    assert "please report" in line


def test_several_recordings_side_by_side_and_a_bad_one_among_them(tiny_model, tmp_path, capsys):
    good = [record(tmp_path / f"drive{index}", storage, frames=3)
            for index, storage in enumerate(("mcap", "sqlite3"))]
    bad = tmp_path / "rubbish.mcap"
    bad.write_bytes(b"rubbish")
    assert can_fork()  # the command's processes come from where other tests' programs do
    assert segment(tiny_model, tmp_path / "out", "--bag", good[0], bad, good[1], "--jobs", 2) == 1
    alone = tmp_path / "alone"
    for path in good:
        assert segment(tiny_model, alone, "--bag", path) == 0
        assert rows(tmp_path / "out" / path.name) == rows(alone / path.name)
    said = capsys.readouterr()
    assert len([line for line in said.err.splitlines() if "rubbish.mcap' cannot be read" in line]) \
        == 1
    assert not (tmp_path / "out/rubbish").exists()


WRONG = {
    "no recording": ([], "--bag"),
    "missing recording": (["--bag", "{path}/none"], "'{path}/none' does not exist"),
    "folder without recording": (["--bag", "{path}/empty"], "'{path}/empty' is not a rosbag2"),
    "no classes": (["--bag", "{path}/drive", "--vocabulary", ""], "class ''"),
    "unknown topic": (["--bag", "{path}/drive", "--topics", "/rear"],
                      "choose of: /front/image_raw"),
    "unknown flag": (["--bag", "{path}/drive", "--fast"], "--fast"),
    "no number of jobs": (["--bag", "{path}/drive", "--jobs", "0"], "'0'"),
    "bad prefix": (["--bag", "{path}/drive", "--prefix", "seg mentation"], "'seg mentation'"),
    "same name twice": (["--bag", "{path}/drive", "{path}/before/drive"], "'drive'"),
    "output that is a file": (["--bag", "{path}/drive", "--output",
                               "{path}/drive/metadata.yaml"], "is a file; choose another folder"),
    "output over the input": (["--bag", "{path}/drive", "--output", "{path}"], "--output"),
    "unknown model": (["--bag", "{path}/drive", "--model", "ViT-Z/9"], "ViT-Z/9"),
    "unknown device": (["--bag", "{path}/drive", "--device", "abacus"], "'abacus'"),
    "alpha out of range": (["--bag", "{path}/drive", "--overlay-alpha", "-1"], "--overlay-alpha"),
    "topics taken": (["--bag", "{path}/drive", "--prefix", "/taken"],
                     "'/taken/vocabulary' already"),
    "no image topic": (["--bag", "{path}/silent"], "no topic with colour images"),
}


@pytest.fixture(scope="module")
def drives(tiny_model, tmp_path_factory) -> Path:
    """Lay out a recording that has results already, one without colour images, and no one."""
    folder = tmp_path_factory.mktemp("drives")
    record(folder / "before/drive", "mcap", frames=1)
    assert segment(tiny_model, folder, "--bag", folder / "before/drive", "--prefix", "/taken") == 0
    record(folder / "silent", "mcap", cameras=())
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gives_one_line_and_code_2(case, drives, tiny_model, tmp_path, monkeypatch,
                                               capfd):
    monkeypatch.chdir(tmp_path)
    given, named = WRONG[case]
    for flag, values in (("--vocabulary", ["cup"]), ("--model", [tiny_model]),
                         ("--topics", [] if case == "no image topic" else [FRONT])):
        if flag not in given and values:
            given = [flag, *values, *given]
    assert main([word.format(path=drives) for word in given]) == 2
    message = capfd.readouterr().err
    assert message.startswith("sclip-bag: ") and message.count("\n") == 1, message
    assert named.format(path=drives) in message


def test_the_recorded_types_are_those_of_the_test(tmp_path):
    """Guard the helper: what it records can be read back with the standard's definitions."""
    row, *_ = of(FRONT, rows(record(tmp_path / "drive", "mcap", frames=1)))
    np.testing.assert_array_equal(
        pixels(TYPES.deserialize_cdr(row[3], row[1]))[..., ::-1], picture(0))
