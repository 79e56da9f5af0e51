"""Depth messages become positions in metres, whatever the padding, byte order and encoding."""

from __future__ import annotations

import numpy as np
import pytest

from sclip_seg_ros.geometry.depth import positions_of, read_depth, read_positions
from sclip_seg_ros.geometry.pinhole import Pinhole, cropping, resizing

METRES = np.array([[1.0, 2.5, 0.0], [0.25, 4.0, 60.0]], np.float32)


def rows_of(values: np.ndarray, padding: int) -> tuple[bytes, int]:
    """Return the bytes of an image with so many bytes behind each row, and the step."""
    return (b"".join(row.tobytes() + b"\xff" * padding for row in values),
            values.shape[1] * values.itemsize + padding)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("encoding", "kind"), [("16UC1", "u2"), ("32FC1", "f4")])
def test_both_encodings_give_metres(encoding, kind, order, padding):
    values = METRES * 1000 if encoding == "16UC1" else METRES
    data, step = rows_of(values.astype(order + kind), padding)
    np.testing.assert_allclose(read_depth(data, encoding, 2, 3, step, order == ">"), METRES,
                               atol=1e-6)


@pytest.mark.parametrize(("encoding", "data", "step", "told"), [
    ("rgb8", b"0" * 18, 9, "16UC1"), ("64FC1", b"0" * 48, 24, "32FC1"),
    ("16UC1", b"0" * 11, 6, "too few"), ("32FC1", b"0" * 24, 6, "too few")])
def test_what_is_no_depth_is_told(encoding, data, step, told):
    with pytest.raises(ValueError, match=told):
        read_depth(data, encoding, 2, 3, step)


def test_a_pixel_lies_where_the_pinhole_projects_it_from():
    camera = Pinhole(fx=500.0, fy=400.0, cx=3.0, cy=1.5, size=(5, 7))
    metres = np.full((5, 7), 2.0, np.float32)
    metres[0, 0], metres[0, 1], metres[0, 2], metres[0, 3] = 0, np.nan, np.inf, -1
    found = positions_of(metres, camera)
    np.testing.assert_array_equal(found.valid[0], [False] * 4 + [True] * 3)
    assert found.valid[1:].all()
    rows, columns = np.nonzero(found.valid)
    x, y, z = (plane[rows, columns] for plane in found[:3])
    np.testing.assert_allclose(camera.fx * x / z + camera.cx, columns, atol=1e-4)
    np.testing.assert_allclose(camera.fy * y / z + camera.cy, rows, atol=1e-4)
    np.testing.assert_array_equal(z, 2.0)


def test_a_camera_without_calibration_is_refused():
    with pytest.raises(ValueError, match="calibrate"):
        Pinhole.of([0.0] * 9, (4, 5))


def test_resizing_keeps_the_corners_of_an_image_and_cropping_its_pixels():
    change = resizing((480, 640), (120, 320))
    for corner, place in (((-0.5, -0.5), (-0.5, -0.5)), ((639.5, 479.5), (319.5, 119.5))):
        np.testing.assert_allclose((change @ [*corner, 1.0])[:2], place)
    np.testing.assert_array_equal(cropping(10, 20) @ [15.0, 25.0, 1.0], [5.0, 5.0, 1.0])


def organised(height: int, width: int, offsets: tuple[int, int, int], step: int,
              padding: int = 0) -> tuple[np.ndarray, bytes]:
    """Return positions (3, H, W) and the bytes of a cloud that has them."""
    positions = np.random.default_rng(4).normal(size=(3, height, width)).astype(np.float32)
    kind = np.dtype({"names": list("xyz"), "formats": ["<f4"] * 3, "offsets": offsets,
                     "itemsize": step})
    points = np.zeros((height, width), kind)
    for name, plane in zip("xyz", positions, strict=True):
        points[name] = plane
    return positions, b"".join(row.tobytes() + b"\0" * padding for row in points)


FLOATS = {"x": (0, 7), "y": (4, 7), "z": (8, 7), "rgb": (16, 7)}


@pytest.mark.parametrize("padding", [0, 5])
def test_an_organised_cloud_is_read_field_by_field(padding):
    expected, data = organised(3, 4, (0, 4, 8), 32, padding)
    found = read_positions(data, FLOATS, 3, 4, 32, 4 * 32 + padding)
    np.testing.assert_array_equal(found[:3], expected)
    assert found.valid.all()


def test_points_that_are_not_finite_are_not_valid():
    positions, data = organised(2, 2, (0, 4, 8), 12)
    points = np.frombuffer(data, np.float32).reshape(2, 2, 3).copy()
    points[0, 1, 2], points[1, 0, 0] = np.nan, np.inf
    found = read_positions(points.tobytes(), {name: (4 * i, 7) for i, name in enumerate("xyz")},
                           2, 2, 12, 24)
    np.testing.assert_array_equal(found.valid, [[True, False], [False, True]])


def test_points_at_the_camera_itself_are_no_depth():
    """As librealsense publishes pixels without depth in an ordered cloud."""
    points = np.float32([[[0, 0, 0], [0, 0, 2]], [[0, -1, 0], [-0.0, 0, 0]]])
    found = read_positions(points.tobytes(), {name: (4 * i, 7) for i, name in enumerate("xyz")},
                           2, 2, 12, 24)
    np.testing.assert_array_equal(found.valid, [[False, True], [True, False]])


def test_rows_lie_one_behind_the_other_where_their_step_is_left_out():
    expected, data = organised(3, 4, (0, 4, 8), 32)
    np.testing.assert_array_equal(read_positions(data, FLOATS, 3, 4, 32, 0)[:3], expected)
    with pytest.raises(ValueError, match="127 bytes a row, too few"):
        read_positions(data, FLOATS, 3, 4, 32, 127)


@pytest.mark.parametrize(("fields", "height", "told"), [
    (FLOATS, 1, "organised"), ({**FLOATS, "y": (4, 8)}, 3, "32 bits"),
    ({"x": (0, 7), "y": (4, 7)}, 3, "32 bits"), (FLOATS, 4, "too few")])
def test_a_cloud_that_cannot_be_read_is_told(fields, height, told):
    _, data = organised(3, 4, (0, 4, 8), 32)
    with pytest.raises(ValueError, match=told):
        read_positions(data, fields, height, 4, 32, 128)
