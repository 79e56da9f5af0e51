"""A semantic cloud has, point by point, what its pixel says; thinning leaves out whole points."""

from __future__ import annotations

import numpy as np
import pytest

from sclip_seg_ros.geometry.cloud import POINT, Pixels, Thinning, semantic_cloud
from sclip_seg_ros.geometry.depth import Positions

SHAPE = (24, 37)


@pytest.fixture
def scene() -> tuple[Positions, Pixels]:
    """A tilted plane with holes, seen by pixels of random colours and labels."""
    rng = np.random.default_rng(5)
    columns, rows = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))
    x, y = (0.01 * columns - 0.17).astype(np.float32), (0.01 * rows - 0.1).astype(np.float32)
    z = (1.0 + 0.3 * x + 0.1 * y).astype(np.float32)
    valid = rng.random(SHAPE) > 0.2
    pixels = Pixels(rng.integers(0, 256, (*SHAPE, 3), np.uint8),
                    rng.integers(0, 5, SHAPE, np.uint8), rng.integers(0, 256, SHAPE, np.uint8))
    return Positions(x, y, z, valid), pixels


def expect_points_of(points: np.ndarray, positions: Positions, pixels: Pixels,
                     chosen: np.ndarray) -> None:
    """Points are exactly those of the chosen pixels, in their order."""
    points = points.reshape(-1)
    for name, plane in zip("xyz", positions[:3], strict=True):
        np.testing.assert_array_equal(points[name], plane[chosen])
    red, green, blue = pixels.colours[chosen].astype(np.uint32).T
    np.testing.assert_array_equal(points["rgb"], red << 16 | green << 8 | blue)
    np.testing.assert_array_equal(points["label"], pixels.labels[chosen])
    np.testing.assert_allclose(points["confidence"], pixels.confidence[chosen] / 255, rtol=1e-6)


def test_every_valid_pixel_is_a_point(scene):
    cloud = semantic_cloud(*scene, Thinning())
    assert cloud.dtype == POINT and cloud.shape == (1, int(scene[0].valid.sum()))
    expect_points_of(cloud, *scene, scene[0].valid)


def test_where_every_pixel_is_valid_none_is_missing(scene):
    positions = scene[0]._replace(valid=np.ones(SHAPE, bool))
    cloud = semantic_cloud(positions, scene[1], Thinning())
    expect_points_of(cloud, positions, scene[1], positions.valid)


def test_organised_it_has_the_images_rows_and_nan_in_the_holes(scene):
    cloud = semantic_cloud(*scene, Thinning(organised=True))
    assert cloud.shape == SHAPE
    expect_points_of(cloud[scene[0].valid], *scene, scene[0].valid)
    for name in "xyz":
        assert np.isnan(cloud[name][~scene[0].valid]).all()
    np.testing.assert_array_equal(cloud["label"], scene[1].labels)


@pytest.mark.parametrize("organised", [True, False])
@pytest.mark.parametrize("stride", [2, 3])
def test_a_stride_takes_every_so_many_rows_and_columns(scene, stride, organised):
    cloud = semantic_cloud(*scene, Thinning(stride=stride, organised=organised))
    every = np.s_[::stride, ::stride]
    positions = Positions(*(plane[every] for plane in scene[0]))
    pixels = Pixels(*(plane[every] for plane in scene[1]))
    if organised:
        assert cloud.shape == positions.valid.shape
        cloud = cloud[positions.valid]
    expect_points_of(cloud, positions, pixels, positions.valid)


@pytest.mark.parametrize("kept", [(1, 3), (0, 1, 2, 3), ()])
def test_labels_can_be_left_out(scene, kept):
    wanted = np.zeros(256, np.uint8)
    wanted[list(kept)] = 1
    cloud = semantic_cloud(*scene, Thinning(), wanted)
    expect_points_of(cloud, *scene, scene[0].valid & np.isin(scene[1].labels, kept))
    organised = semantic_cloud(*scene, Thinning(organised=True), wanted)
    np.testing.assert_array_equal(np.isfinite(organised["x"]),
                                  scene[0].valid & np.isin(scene[1].labels, kept))


@pytest.mark.parametrize("side", [0.005, 0.03, 0.1, 5.0])
def test_each_voxel_that_holds_a_point_keeps_its_first(scene, side):
    positions, pixels = scene
    cells = np.floor(np.stack(positions[:3], -1) * np.float32(1 / side)).astype(int)
    seen, chosen = set(), np.zeros(SHAPE, bool)
    for row, column in np.ndindex(SHAPE):
        cell = tuple(cells[row, column])
        if positions.valid[row, column] and cell not in seen:
            seen.add(cell)
            chosen[row, column] = True
    cloud = semantic_cloud(positions, pixels, Thinning(voxel=side))
    expect_points_of(cloud, positions, pixels, chosen)


def test_a_cloud_may_have_no_points(scene):
    positions = scene[0]._replace(valid=np.zeros(SHAPE, bool))
    for thinning in (Thinning(), Thinning(voxel=0.1), Thinning(stride=2)):
        assert semantic_cloud(positions, scene[1], thinning).shape == (1, 0)
