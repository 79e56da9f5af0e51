"""~/points: labels where their things stand, from depth that belongs to the image."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from rcl_interfaces.msg import SetParametersResult
from ros_harness import (
    BEST_EFFORT,
    FRAME_ID,
    WAIT_SECONDS,
    NodeProcess,
    Probe,
    by_stamp,
    domain_for,
    node_fixture,
    pixels_of,
    running_node,
    stamp_of,
)
from sclip_research.scenes import RenderedScene, render, sample_scene
from sclip_seg_ros.msg import SegmentationStatus
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from sclip_seg_ros.geometry.cloud import POINT

DOMAIN = domain_for(__file__)
WIDTH, HEIGHT = 160, 120
SCENE = sample_scene(np.random.default_rng(2))
CLASSES = ["floor", "wall", "table", "chair", "box"]
IDS = [10, 20, 30, 40, 50]
MS = 1_000_000

node = node_fixture(DOMAIN, {
    "classes": CLASSES, "class_ids": IDS, "unlabelled_id": 0, "short_side": 64, "threads": 1,
    "depth_topics": ["/depth/image_raw"]}, {"image_raw": "/camera/image_raw"})


@pytest.fixture(scope="module")
def room() -> RenderedScene:
    return render(SCENE, HEIGHT, WIDTH)


def image_of(pixels: np.ndarray, encoding: str, frame: str, stamp: int) -> Image:
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                    step=pixels.strides[0])
    message.header.frame_id = frame
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.data.frombytes(np.ascontiguousarray(pixels).tobytes())
    return message


def cloud_of(metres: np.ndarray, stamp: int) -> PointCloud2:
    """Return the organised cloud that a depth camera makes of its depth, in another frame."""
    height, width = metres.shape
    focal = SCENE.camera.focal(width)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    optical = ((columns - width / 2 + 0.5) / focal * metres,
               (rows - height / 2 + 0.5) / focal * metres, metres)
    points = np.stack([optical[2], -optical[0], -optical[1]], -1).astype(np.float32)
    cloud = PointCloud2(height=height, width=width, point_step=12, row_step=12 * width,
                        fields=[PointField(name=name, offset=4 * i, datatype=7, count=1)
                                for i, name in enumerate("xyz")])
    cloud.header.frame_id = "camera_link"
    cloud.header.stamp.sec, cloud.header.stamp.nanosec = divmod(stamp, 10**9)
    cloud.data.frombytes(points.tobytes())
    return cloud


def info_of(width: int = WIDTH, height: int = HEIGHT) -> CameraInfo:
    focal = SCENE.camera.focal(width)
    matrix = [focal, 0.0, width / 2 - 0.5, 0.0, focal, height / 2 - 0.5, 0.0, 0.0, 1.0]
    return CameraInfo(width=width, height=height, k=matrix,
                      p=[*matrix[:3], 0.0, *matrix[3:6], 0.0, *matrix[6:], 0.0])


@dataclass
class Rig:
    """A colour camera with registered depth, whose faults can be chosen."""

    probe: Probe
    room: RenderedScene
    make_depth: Callable[[int], Image | PointCloud2 | None]
    info: CameraInfo | None
    depth_publisher: object
    info_publisher: object

    def send(self) -> Image:
        """Publish depth and its calibration for now; return the colour image, to be published."""
        stamp = self.probe.node.get_clock().now().nanoseconds
        if self.info is not None:
            self.info_publisher.publish(self.info)
        depth = self.make_depth(stamp)
        if depth is not None:
            self.depth_publisher.publish(depth)
        return image_of(self.room.image, "rgb8", FRAME_ID, stamp)

    def set(self, atomically: bool = False, **values: object) -> SetParametersResult:
        """Set parameters of the cloud, by their names behind ``points.``."""
        return self.probe.set_parameters(atomically=atomically, **{
            f"points.{name}": value for name, value in values.items()})

    def run_until(self, condition: Callable[[], object], what: str) -> None:
        """Publish frames, depth first, until a condition holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come"
            image = self.send()
            self.probe.publish(image, stamp_of(image))
            self.probe.spin(1 / 8)


def depth_of(room: RenderedScene, encoding: str, frame: str = FRAME_ID, late: int = 0):
    values = (room.depth * 1000).round().astype(np.uint16) if encoding == "16UC1" else room.depth
    return lambda stamp: image_of(values, encoding, frame, stamp + late)


@pytest.fixture
def rig(node: NodeProcess, room: RenderedScene) -> Iterator[Rig]:
    with Probe(DOMAIN, "/camera/image_raw") as probe:
        rig = Rig(probe, room, depth_of(room, "16UC1"), info_of(),
                  probe.node.create_publisher(Image, "/depth/image_raw", 5),
                  probe.node.create_publisher(CameraInfo, "/depth/camera_info", 5))
        yield rig
        for name, value in (("label_size", "camera"), ("points.invalid", "drop"),
                            ("points.stride", 1), ("points.voxel", 0.0), ("points.classes", ""),
                            ("points.colours", "camera"), ("points.tolerance_ms", 20.0)):
            assert probe.set_parameters(**{name: value}).successful


def points_in(cloud: PointCloud2) -> np.ndarray:
    """Return a cloud's points by the names, offsets and types that it states itself."""
    kinds = {PointField.FLOAT32: "<f4", PointField.UINT8: "u1"}
    kind = np.dtype({"names": [field.name for field in cloud.fields],
                     "formats": [kinds[field.datatype] for field in cloud.fields],
                     "offsets": [field.offset for field in cloud.fields],
                     "itemsize": cloud.point_step})
    assert cloud.row_step == cloud.point_step * cloud.width
    return np.frombuffer(bytes(cloud.data), kind).reshape(cloud.height, cloud.width)


def labelled_clouds(rig: Rig, count: int = 1) -> list[tuple[PointCloud2, Image, Image]]:
    """Return clouds with the label and confidence images of the same stamp."""
    probe = rig.probe
    with probe.listening(PointCloud2, "/sclip_seg/points", BEST_EFFORT) as clouds, \
            probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(Image, "/sclip_seg/confidence") as confidences:
        def common() -> set[int]:
            return set(by_stamp(clouds)) & set(by_stamp(labels)) & set(by_stamp(confidences))
        rig.run_until(lambda: len(common()) >= count, "clouds with their labels")
        return [(by_stamp(clouds)[stamp], by_stamp(labels)[stamp], by_stamp(confidences)[stamp])
                for stamp in sorted(common())]


def true_positions(room: RenderedScene) -> np.ndarray:
    """Return (H, W, 3): where the ray caster saw each pixel's thing, in the optical frame."""
    right, up, forward = SCENE.camera.axes()
    rays = np.stack(SCENE.camera.rays(HEIGHT, WIDTH), -1)  # of depth one, in the world
    world = rays * room.depth[..., None]
    return np.stack([world @ right, -(world @ up), world @ forward], -1)


@pytest.mark.parametrize(("encoding", "within"), [("16UC1", 0.002), ("32FC1", 1e-4)])
def test_points_lie_where_the_rendered_things_are_and_have_their_pixels_label(rig, room, encoding,
                                                                              within):
    rig.make_depth = depth_of(room, encoding)
    assert rig.set(invalid="keep").successful
    for cloud, label, confidence in labelled_clouds(rig, 3):
        assert (cloud.height, cloud.width) == (HEIGHT, WIDTH)
        assert cloud.header.frame_id == FRAME_ID
        points = points_in(cloud)
        found = np.stack([points[name] for name in "xyz"], -1)
        errors = np.linalg.norm(found - true_positions(room), axis=-1)
        assert np.median(errors) < within and errors.max() < 5 * within
        np.testing.assert_array_equal(points["label"], pixels_of(label))
        np.testing.assert_allclose(points["confidence"], pixels_of(confidence) / 255, rtol=1e-5)
        colours = points["rgb"].copy().view(np.uint32)
        np.testing.assert_array_equal(np.stack([colours >> 16, colours >> 8 & 255, colours & 255],
                                               -1), room.image)
        assert set(np.unique(points["label"])) <= {0, *IDS}


def test_the_layout_is_stated_in_the_message(rig):
    [(cloud, *_)] = labelled_clouds(rig)[:1]
    assert {field.name: field.datatype for field in cloud.fields} == {
        "x": PointField.FLOAT32, "y": PointField.FLOAT32, "z": PointField.FLOAT32,
        "rgb": PointField.FLOAT32, "confidence": PointField.FLOAT32, "label": PointField.UINT8}
    assert cloud.point_step == POINT.itemsize and not cloud.is_bigendian and cloud.is_dense
    assert np.isfinite(points_in(cloud)["rgb"]).all()  # or readers that skip NaN lose all points


def test_holes_are_dropped_or_nan(rig, room):
    holes = np.zeros((HEIGHT, WIDTH), bool)
    holes[10:50, 20:90] = True
    depth = np.where(holes, 0, room.depth * 1000).round().astype(np.uint16)
    rig.make_depth = lambda stamp: image_of(depth, "16UC1", FRAME_ID, stamp)
    [(cloud, label, _)] = labelled_clouds(rig)[:1]
    assert (cloud.height, cloud.width) == (1, HEIGHT * WIDTH - holes.sum())
    np.testing.assert_array_equal(points_in(cloud)[0]["label"], pixels_of(label)[~holes])
    assert rig.set(invalid="keep").successful
    rig.probe.spin(0.5)
    cloud = labelled_clouds(rig, 2)[-1][0]
    np.testing.assert_array_equal(np.isnan(points_in(cloud)["x"]), holes)
    assert not cloud.is_dense


def test_thinning_and_classes_by_parameter(rig):
    whole = labelled_clouds(rig)[-1][0].width
    assert rig.set(stride=4).successful
    rig.probe.spin(0.5)
    assert labelled_clouds(rig, 2)[-1][0].width == whole // 16
    assert rig.set(stride=1, voxel=0.2).successful
    rig.probe.spin(0.5)
    points = points_in(labelled_clouds(rig, 2)[-1][0])[0]
    cells = np.floor(np.stack([points[name] for name in "xyz"], -1) * np.float32(5))
    assert 10 < len(points) == len(np.unique(cells, axis=0)) < whole / 10
    assert rig.set(voxel=0.0, classes="floor,-table").successful
    rig.probe.spin(0.5)
    assert set(points_in(labelled_clouds(rig, 2)[-1][0])[0]["label"]) == {10}
    assert rig.set(classes=["-floor"]).successful
    rig.probe.spin(0.5)
    assert 10 not in points_in(labelled_clouds(rig, 2)[-1][0])[0]["label"]


def test_points_may_have_the_colours_of_their_classes(rig):
    assert rig.set(colours="classes").successful
    rig.probe.spin(0.5)
    points = points_in(labelled_clouds(rig, 2)[-1][0])[0]
    colours = points["rgb"].copy().view(np.uint32)
    for value in np.unique(points["label"]):
        assert len(np.unique(colours[points["label"] == value])) == 1
    assert len(np.unique(colours)) == len(np.unique(points["label"]))


def test_depth_is_subscribed_to_only_while_somebody_listens(rig):
    count = rig.depth_publisher.get_subscription_count
    rig.probe.wait(lambda: count() == 0, "the end of the subscription")
    labelled_clouds(rig)
    rig.probe.wait(lambda: count() == 0, "the end of the subscription")


def test_one_of_two_cameras_has_an_organised_cloud(room, tmp_path):
    """Its points keep their own frame and axes, and get the labels of their pixels."""
    parameters = {"classes": CLASSES, "short_side": 64, "threads": 1,
                  "image_topics": ["/front/image_raw", "/rear/image_raw"],
                  "depth_topics": ["", "/rear/points"], "points.invalid": "keep"}
    domain = domain_for(f"{__file__} two cameras")
    with running_node(domain, tmp_path / "log.txt", parameters), \
            Probe(domain, "/rear/image_raw") as probe:
        rig = Rig(probe, room, lambda stamp: cloud_of(room.depth, stamp), None,
                  probe.node.create_publisher(PointCloud2, "/rear/points", 5), None)
        with probe.listening(PointCloud2, "/sclip_seg/rear/points", BEST_EFFORT) as clouds, \
                probe.listening(Image, "/sclip_seg/rear/label") as labels:
            rig.run_until(lambda: set(by_stamp(clouds)) & set(by_stamp(labels)), "a cloud")
        assert probe.node.count_publishers("/sclip_seg/front/points") == 0
        stamp = (set(by_stamp(clouds)) & set(by_stamp(labels))).pop()
        cloud = by_stamp(clouds)[stamp]
        assert cloud.header.frame_id == "camera_link"
        points, truth = points_in(cloud), true_positions(room)
        np.testing.assert_allclose(points["x"], truth[..., 2], atol=1e-4)
        np.testing.assert_allclose(points["y"], -truth[..., 0], atol=1e-4)
        np.testing.assert_array_equal(points["label"], pixels_of(by_stamp(labels)[stamp]))


def test_depth_that_is_late_or_a_little_off_still_finds_its_image(rig, room):
    """The nearest within the tolerance is taken, and its own stamp is the cloud's."""
    rig.make_depth = depth_of(room, "16UC1", late=7 * MS)
    probe = rig.probe
    with probe.listening(PointCloud2, "/sclip_seg/points", BEST_EFFORT) as clouds, \
            probe.listening(Image, "/sclip_seg/label") as labels:
        rig.run_until(lambda: clouds and labels, "a cloud")
        images = set(by_stamp(labels))
        assert {stamp_of(cloud) - 7 * MS for cloud in clouds} & images


def test_depth_of_another_size_is_met_by_label_size(rig, room, node):
    small = np.ascontiguousarray(room.depth[::2, ::2])
    rig.make_depth = lambda stamp: image_of(small, "32FC1", FRAME_ID, stamp)
    rig.info = info_of(WIDTH // 2, HEIGHT // 2)
    expect_told(rig, node, "depth of 80x60", "label_size")
    assert rig.probe.set_parameters(label_size="as:/depth/image_raw").successful
    cloud, label, _ = labelled_clouds(rig)[0]
    assert (label.width, label.height) == (80, 60)
    np.testing.assert_array_equal(points_in(cloud)[0]["label"], pixels_of(label).ravel())


# Bad input


def expect_told(rig: Rig, node: NodeProcess, *texts: str) -> None:
    """The log names fault and remedy in one line, and labels go on without a cloud."""
    probe, before = rig.probe, len(node.log)
    with probe.listening(PointCloud2, "/sclip_seg/points", BEST_EFFORT), \
            probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses, \
            probe.listening(Image, "/sclip_seg/label") as labels:
        def told() -> bool:
            return any(all(text in line for text in ("no point cloud", *texts))
                       for line in node.log[before:].splitlines())
        rig.run_until(told, f"a word of {texts}")
        labels.clear()
        rig.run_until(lambda: len(labels) > 1, "labels")
        assert texts[0] in statuses[-1].last_error
        assert statuses[-1].frames_failed == statuses[-1].frames_rejected == 0


def test_an_encoding_that_is_no_depth_is_told(rig, room, node):
    grey = room.image[..., 0]
    rig.make_depth = lambda stamp: image_of(grey, "mono8", FRAME_ID, stamp)
    expect_told(rig, node, "'mono8'", "16UC1")


def test_depth_of_another_camera_is_told(rig, room, node):
    rig.make_depth = depth_of(room, "16UC1", frame="depth_optical")
    expect_told(rig, node, "'depth_optical'", "registered")


def test_depth_by_another_clock_is_told(rig, room, node):
    rig.make_depth = depth_of(room, "16UC1", late=-1_000_000_000 * 10**9)
    expect_told(rig, node, "different clocks", "use_sim_time")


def test_depth_whose_gap_changes_is_told_once(rig, room, node):
    exact, sent, before = depth_of(room, "16UC1"), [], len(node.log)

    def drifting(stamp):
        sent.append(stamp)
        return exact(stamp - (1_000_000 - len(sent)) * 10**9)

    def told() -> int:
        return sum("no point cloud" in line and "different clocks" in line
                   for line in node.log[before:].splitlines())

    rig.make_depth = drifting
    with rig.probe.listening(PointCloud2, "/sclip_seg/points", BEST_EFFORT):
        rig.run_until(told, "a word of the clocks")
        seen = len(sent)
        rig.run_until(lambda: len(sent) > seen + 40, "more depth")
    assert told() == 1


def test_depth_outside_the_tolerance_is_told(rig, room, node):
    rig.make_depth = depth_of(room, "16UC1", late=55 * MS)
    expect_told(rig, node, "55 ms", "points.tolerance_ms")


def test_a_camera_info_that_never_comes_or_does_not_fit_is_told(rig, node):
    rig.info = None
    if "camera_info of the depth" not in node.log:  # none has come in an earlier test
        rig.info = info_of(320, 240)
        expect_told(rig, node, "camera_info of the depth is of 320x240")
    rig.info = CameraInfo(width=WIDTH, height=HEIGHT)
    expect_told(rig, node, "camera_info of the depth cannot be used", "calibrate")


def test_depth_that_never_comes_is_told(rig, node):
    rig.make_depth = lambda stamp: None
    expect_told(rig, node, "nothing has come on /depth/image_raw")


def test_options_that_do_not_go_together_are_refused(rig):
    answer = rig.set(atomically=True, invalid="keep", voxel=0.1)
    assert not answer.successful and "points.voxel" in answer.reason
    for name, value in (("points.stride", 0), ("points.invalid", "forget"), ("points.voxel", -1.0),
                        ("points.classes", [3]), ("depth_topics", ["/other"])):
        assert not rig.probe.set_parameters(**{name: value}).successful, name


def test_classes_that_there_are_not_are_told(rig, node):
    assert rig.set(classes=["-elephant"]).successful
    labelled_clouds(rig)
    rig.run_until(lambda: "'elephant'" in node.log, "the warning")
