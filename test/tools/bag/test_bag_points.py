"""`sclip-bag --points`: the semantic cloud of recorded depth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_program import segment
from recordings import IMAGE, START, TYPES, header, raw, record_rows, rows
from sclip_research.scenes import RenderedScene, render, sample_scene

from sclip_seg_ros.geometry.cloud import POINT
from sclip_seg_ros.tools.bag.recording.messages import CAMERA_INFO, Codec

COLOUR, DEPTH, INFO = "/camera/color/image_raw", "/camera/depth/image_raw", \
    "/camera/depth/camera_info"
POINTS, LABEL = "/sclip_seg/points", "/sclip_seg/label"
SCENE = sample_scene(np.random.default_rng(2))
HEIGHT, WIDTH = 60, 80
CODEC = Codec()

pytestmark = pytest.mark.usefixtures("one_commit")


@pytest.fixture(scope="module")
def room() -> RenderedScene:
    return render(SCENE, HEIGHT, WIDTH)


def focal_of(width: int) -> float:
    return SCENE.camera.focal(width)


def info(index: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """Serialise the depth camera's calibration."""
    focal = focal_of(width)
    k = np.array([focal, 0, width / 2 - 0.5, 0, focal, height / 2 - 0.5, 0, 0, 1])
    p = np.insert(k, [3, 6, 9], 0.0)
    roi = TYPES.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    message = TYPES.types[CAMERA_INFO](header(index), height, width, "plumb_bob", np.zeros(5), k,
                                       np.eye(3).ravel(), p, 0, 0, roi)
    return bytes(TYPES.serialize_cdr(message, CAMERA_INFO))


def depth_of(room: RenderedScene, index: int, every: int = 1, holes: bool = True) -> bytes:
    """Serialise a depth image; of every so many pixels, the upper left corner without depth."""
    millimetres = (room.depth[::every, ::every] * 1000).round().astype(np.uint16)
    if holes:
        millimetres[:5, :9] = 0
    return raw(millimetres, index, "16UC1")


@pytest.fixture
def drive(room, tmp_path) -> Callable[..., Path]:
    """Return a function that records colour, depth and its calibration, depth behind colour."""
    def drive(every: int = 1, frames: int = 3, delay: int = 0, calibrated: bool = True,
              **changes: Any) -> Path:
        entries = []
        for index in range(frames + delay):
            if index < frames:
                entries.append((COLOUR, IMAGE, raw(room.image, index, "rgb8")))
            if calibrated:
                entries.append((INFO, CAMERA_INFO, info(index, HEIGHT // every, WIDTH // every)))
            if index >= delay:
                entries.append((DEPTH, IMAGE, depth_of(room, index - delay, every, **changes)))
        return record_rows(tmp_path / "drive", entries)
    return drive


def contents(path: Path, topic: str) -> list[Any]:
    return [CODEC.types.deserialize_cdr(data, kind) for name, kind, _, data in rows(path)
            if name == topic]


def points_in(cloud: Any) -> np.ndarray:
    kinds = {7: "<f4", 2: "u1"}
    kind = np.dtype({"names": [field.name for field in cloud.fields],
                     "formats": [kinds[field.datatype] for field in cloud.fields],
                     "offsets": [field.offset for field in cloud.fields],
                     "itemsize": cloud.point_step})
    return cloud.data.view(kind).reshape(cloud.height, cloud.width)


@pytest.mark.parametrize("delay", [0, 2])  # messages of colour before the depth of the first
def test_every_image_has_its_cloud(tiny_model, drive, room, tmp_path, capsys, delay):
    path = drive(delay=delay)
    assert segment(tiny_model, tmp_path / "out", "--bag", path, "--points", DEPTH, "--class-ids",
                   "5", "6", "7") == 0
    told = capsys.readouterr().err
    assert "without a cloud" not in told and f"'{DEPTH}' is left out" not in told
    made = tmp_path / "out/drive"
    clouds, labels = contents(made, POINTS), contents(made, LABEL)
    assert len(clouds) == len(labels) == 3
    known = np.ones((HEIGHT, WIDTH), bool)
    known[:5, :9] = False
    z = (room.depth * 1000).round().astype(np.float32) / 1000
    columns = np.broadcast_to(np.arange(WIDTH), z.shape)
    for cloud, label in zip(clouds, labels, strict=True):
        assert cloud.header.stamp == label.header.stamp
        assert (cloud.header.frame_id, cloud.height) == ("camera", 1)
        points = points_in(cloud)[0]
        assert points.dtype.itemsize == POINT.itemsize and len(points) == known.sum()
        np.testing.assert_array_equal(points["label"],
                                      label.data.reshape(HEIGHT, WIDTH)[known])
        assert set(np.unique(points["label"])) <= {5, 6, 7}
        np.testing.assert_allclose(points["z"], z[known], atol=1e-5)
        np.testing.assert_allclose(
            points["x"], ((columns - WIDTH / 2 + 0.5) / focal_of(WIDTH) * z)[known], atol=1e-5)
        assert ((points["confidence"] > 0) & (points["confidence"] <= 1)).all()
        colours = points["rgb"].copy().view(np.uint32)
        np.testing.assert_array_equal(colours >> 16, room.image[known][:, 0])
    # What was recorded stays, and clouds come in the order of time.
    stamps = [stamp for _, _, stamp, _ in rows(made)]
    assert stamps == sorted(stamps) and stamps[0] == START
    assert [row for row in rows(made) if not row[0].startswith("/sclip_seg")] == rows(path)


def test_labels_can_be_decided_at_the_depths_size(tiny_model, drive, tmp_path, capsys):
    path = drive(every=2)
    assert segment(tiny_model, tmp_path / "whole", "--bag", path, "--points", DEPTH) == 0
    told = capsys.readouterr().err
    assert "3 images without a cloud" in told and "40x30" in told and "--label-size" in told
    assert contents(tmp_path / "whole/drive", POINTS) == []
    assert segment(tiny_model, tmp_path / "half", "--bag", path, "--points", DEPTH,
                   "--label-size", "40x30") == 0
    made = tmp_path / "half/drive"
    for topic in (LABEL, "/sclip_seg/overlay"):
        assert {(message.width, message.height) for message in contents(made, topic)} == {(40, 30)}
    for cloud, label in zip(contents(made, POINTS), contents(made, LABEL), strict=True):
        known = np.ones((30, 40), bool)
        known[:5, :9] = False
        np.testing.assert_array_equal(points_in(cloud)[0]["label"],
                                      label.data.reshape(30, 40)[known])


def test_without_a_calibration_or_depth_in_time_it_is_told(tiny_model, drive, room, tmp_path,
                                                           capsys):
    path = drive(calibrated=False)
    assert segment(tiny_model, tmp_path / "out", "--bag", path, "--points", DEPTH) == 0
    assert "3 images without a cloud" in (told := capsys.readouterr().err)
    assert "camera_info" in told
    late = record_rows(tmp_path / "late", [
        (INFO, CAMERA_INFO, info(0)), (COLOUR, IMAGE, raw(room.image, 0, "rgb8")),
        (DEPTH, IMAGE, depth_of(room, 1))])  # a second later
    assert segment(tiny_model, tmp_path / "out", "--bag", late, "--points", DEPTH) == 0
    assert "--points-tolerance-ms" in capsys.readouterr().err


def test_messages_that_cannot_be_read_cost_their_own_clouds_alone(tiny_model, drive, room,
                                                                  tmp_path, capsys):
    entries = [(INFO, CAMERA_INFO, info(0)[:40])]
    for index in range(3):
        depth = depth_of(room, index)
        entries += [(COLOUR, IMAGE, raw(room.image, index, "rgb8")),
                    (INFO, CAMERA_INFO, info(index)),
                    (DEPTH, IMAGE, depth[:300] if index == 1 else depth)]
    path = record_rows(tmp_path / "broken", entries)
    assert segment(tiny_model, tmp_path / "out", "--bag", path, "--points", DEPTH) == 0
    told = capsys.readouterr().err
    assert f"1 message of '{INFO}' left out of the clouds; the first: message cannot be" in told
    assert f"1 message of '{DEPTH}' left out of the clouds; the first: message cannot be" in told
    assert "1 image without a cloud" in told and "near enough in time" in told
    made = tmp_path / "out/broken"
    assert len(contents(made, LABEL)) == 3
    assert [cloud.header.stamp.sec for cloud in contents(made, POINTS)] == [100, 102]
    assert [row for row in rows(made) if not row[0].startswith("/sclip_seg")] == rows(path)


def test_a_depth_stamp_that_steps_back_loses_no_image_without_a_word(tiny_model, drive, room,
                                                                     tmp_path, capsys):
    entries = [(INFO, CAMERA_INFO, info(0))]
    for index in range(4):
        entries += [(COLOUR, IMAGE, raw(room.image, index, "rgb8")),
                    (DEPTH, IMAGE, depth_of(room, 0 if index == 2 else index))]
    path = record_rows(tmp_path / "back", entries)
    assert segment(tiny_model, tmp_path / "out", "--bag", path, "--points", DEPTH) == 0
    assert "1 image without a cloud" in capsys.readouterr().err
    assert len(contents(tmp_path / "out/back", POINTS)) == 3


def test_depth_without_stamps_of_its_own_is_told_and_the_newest_taken(tiny_model, drive, room,
                                                                      tmp_path, capsys):
    entries = [(INFO, CAMERA_INFO, info(0))]
    for index in range(4):  # the depth of each half a metre further away
        millimetres = np.full((HEIGHT, WIDTH), 1000 + 500 * index, np.uint16)
        entries += [(DEPTH, IMAGE, raw(millimetres, 0, "16UC1")),
                    (COLOUR, IMAGE, raw(room.image, 0, "rgb8"))]
    path = record_rows(tmp_path / "unstamped", entries)
    assert segment(tiny_model, tmp_path / "out", "--bag", path, "--points", DEPTH) == 0
    assert f"3 messages of '{DEPTH}' with the stamp of the one before" in capsys.readouterr().err
    assert [round(float(points_in(cloud)["z"].max()), 3) for cloud in contents(
        tmp_path / "out/unstamped", POINTS)] == [1.0, 1.5, 2.0, 2.5]


def test_an_interrupted_run_goes_on_with_the_same_clouds_alone(tiny_model, drive, tmp_path,
                                                               capsys):
    path = drive()
    assert segment(tiny_model, tmp_path / "out", "--bag", path) == 0
    assert segment(tiny_model, tmp_path / "out", "--bag", path, "--points", DEPTH) == 2
    assert "another points" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "told"), [
    (["--points", "/no/depth"], DEPTH),
    (["--points", DEPTH, DEPTH], "2 topics"),
    (["--points", DEPTH, "--points-tolerance-ms", "-1"], "out of range"),
    (["--label-size", "0x10"], "640x480")])
def test_flags_that_cannot_be_used_are_refused(tiny_model, drive, tmp_path, capsys, flags, told):
    path = drive()
    try:
        code = segment(tiny_model, tmp_path / "out", "--bag", path, *flags)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert told in capsys.readouterr().err
