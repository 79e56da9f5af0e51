"""Flow, warping and the measures of steadiness, against closed forms and brute force."""

from __future__ import annotations

from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from sclip_research.scenes.films import film

from sclip_seg_ros.temporal.consistency import Consistency, measure_following
from sclip_seg_ros.temporal.flow import OpticalFlow, agreement, compose, small_grey
from sclip_seg_ros.temporal.warp import Path, warp

SIZE = (120, 160)
GRID = (30, 40)


def texture(seed: int, height: int = 200, width: int = 260) -> np.ndarray:
    """Return a grey picture (H, W) uint8 of blobs of many sizes."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.uniform(0, 255, (height // cell + 2, width // cell + 2)),
                         (width, height), interpolation=cv2.INTER_CUBIC) for cell in (4, 11, 30)]
    return np.clip(sum(layers) / 3, 0, 255).astype(np.uint8)


def constant(x: float, y: float) -> np.ndarray:
    """Return one flow everywhere, in pixels."""
    return np.broadcast_to(np.array([x, y], np.float32), (*SIZE, 2)).copy()


def sure(flow: np.ndarray) -> Path:
    return Path.over(flow, np.ones(flow.shape[:2], np.float32), GRID)


@pytest.mark.parametrize(("height", "width", "expected"), [
    (480, 640, (240, 320)), (1080, 1920, (208, 370)), (90, 120, (90, 120)), (640, 480, (320, 240))])
def test_the_small_copy_keeps_the_shape_and_never_grows(height, width, expected) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    grey = small_grey(image[:, ::-1])
    assert grey.shape == expected
    assert grey.mean() == pytest.approx(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean(), abs=1.5)


def test_flow_leads_back_to_where_a_pixel_came_from() -> None:
    wide = texture(1)
    older, newer = wide[20:140, 20:180], wide[24:144, 27:187]
    flow = OpticalFlow()(np.ascontiguousarray(newer), np.ascontiguousarray(older))
    inner = flow[16:-16, 16:-16]
    assert np.median(inner[..., 0]) == pytest.approx(7, abs=0.3)
    assert np.median(inner[..., 1]) == pytest.approx(4, abs=0.3)


def test_fast_motion_is_followed() -> None:
    """A camera that turns by a tenth of the picture; in clutter, a thing by a quarter its size."""
    wide = texture(6, 240, 400)
    flow = OpticalFlow()(np.ascontiguousarray(wide[:, 32:352]),
                         np.ascontiguousarray(wide[:, :320]))
    assert (np.abs(flow[20:-20, 20:-52, 0] - 32) < 1.5).mean() > 0.9
    older, newer, thing = wide[:, :320].copy(), wide[:, :320].copy(), texture(7)[:80, :80]
    older[80:160, 60:140] = newer[80:160, 80:160] = thing
    found = OpticalFlow()(newer, older)[88:152, 88:152]
    assert (np.abs(found[..., 0] + 20) < 1.5).mean() > 0.9


def test_flows_compose_to_the_flow_of_both_steps() -> None:
    rows, columns = np.indices(SIZE, dtype=np.float32)
    second = np.stack([0.1 * columns, -0.05 * rows], axis=-1)  # linear: interpolation is exact
    first = constant(3.5, -2.25)
    both = compose(first, second)
    inside = np.s_[3:, :-4]
    expected = first + np.stack([0.1 * (columns + 3.5), -0.05 * (rows - 2.25)], axis=-1)
    np.testing.assert_allclose(both[inside], expected[inside], atol=2e-2)
    assert np.array_equal(compose(constant(0, 0), second), second)


def test_composing_in_any_order_gives_the_same() -> None:
    smooth = [cv2.resize(np.random.default_rng(seed).uniform(-4, 4, (4, 5, 2)).astype(np.float32),
                         SIZE[::-1], interpolation=cv2.INTER_CUBIC) for seed in range(3)]
    one = compose(smooth[0], compose(smooth[1], smooth[2]))
    other = compose(compose(smooth[0], smooth[1]), smooth[2])
    np.testing.assert_allclose(one[24:-24, 24:-24], other[24:-24, 24:-24], atol=0.08)


def test_no_flow_changes_nothing() -> None:
    scores = torch.rand(5, *GRID)
    path = sure(constant(0, 0))
    assert path.inside.all() and (path.gate == 1).all()
    torch.testing.assert_close(warp(scores, path), scores, atol=1e-5, rtol=0)


def test_a_flow_of_whole_cells_shifts_the_grid_and_shows_what_came_in() -> None:
    scores = torch.rand(2, *GRID)
    path = sure(constant(12.0, -8.0))  # 3 cells to the right of here, 2 above
    moved = warp(scores, path)
    torch.testing.assert_close(moved[:, 2:, :-3], scores[:, :-2, 3:], atol=1e-4, rtol=0)
    assert path.inside[2:, :-3].all() and (path.gate[2:, :-3] == 1).all()
    assert not path.inside[0].any() and not path.inside[:, -2:].any()
    assert (path.gate[:2] == 0).all() and (path.gate[:, -3:] == 0).all()


def test_agreement_falls_with_the_difference_by_its_formula() -> None:
    older = np.full(SIZE, 100, np.uint8)
    for difference in (0, 5, 10, 30):
        newer = older.copy()
        newer[:, :60] += np.uint8(difference)  # a third of the picture; the rest tells the exposure
        found = agreement(newer, older, constant(0, 0), gate=10.0)
        np.testing.assert_allclose(found[:, :55], np.exp(-(difference / 10) ** 2), rtol=1e-5)
        assert (found[:, 65:] == 1).all()


def test_agreement_does_not_ask_for_the_same_exposure() -> None:
    older = np.ascontiguousarray(texture(8)[:120, :160]) // 2
    for gain in (0.6, 1.0, 1.7):
        newer = np.rint(older * gain).astype(np.uint8)
        assert agreement(newer, older, constant(0, 0), gate=10.0).min() > 0.9
    assert agreement(older // 4, older, constant(0, 0), gate=10.0).mean() < 0.5  # too dark


def brute_force(labels, after, following, truth, next_truth, classes):
    """Count temporal consistency, flips and changes pixel by pixel."""
    pairs, flips, changes = [], [], []
    around = np.pad(after, 1, mode="edge")
    for index, place in np.ndenumerate(following):
        if place < 0:
            continue
        pair = min(labels[index], classes), min(after.ravel()[place], classes)
        pairs.append(pair)
        if truth[index] == next_truth.ravel()[place] != 255:
            row, column = divmod(place, after.shape[1])
            near = np.minimum(around[row:row + 3, column:column + 3], classes)
            flips.append(pair[0] not in near)
            changes.append(pair[0] != pair[1])
    ious = []
    for kind in {before for before, _ in pairs}:
        both = sum(pair == (kind, kind) for pair in pairs)
        ious.append(both / sum(kind in pair for pair in pairs))
    return np.mean(ious), np.mean(flips), np.mean(changes)


def test_measures_equal_brute_force() -> None:
    rng = np.random.default_rng(4)
    labels, after = rng.integers(0, 8, (2, 9, 11)).astype(np.uint8)
    truth, next_truth = rng.integers(0, 2, (2, 9, 11)).astype(np.uint8)
    labels[0], after[3], truth[4] = 255, 255, 255
    following = rng.integers(-30, 99, (9, 11))
    meter = Consistency(8)
    meter.add(labels, after, following, truth, next_truth)
    tc, flips, changes = brute_force(labels, after, following, truth, next_truth, 8)
    assert meter.tc == pytest.approx(tc) and meter.flips == pytest.approx(flips)
    assert meter.changed / meter.counted == pytest.approx(changes)
    assert 0 < flips < changes
    assert Consistency(3).tc is None and Consistency(3).flips is None


def test_labels_that_move_with_the_scene_are_consistent() -> None:
    shots = list(islice(film(0, moving=True).shots(), 3))
    moving, held = Consistency(20), Consistency(20)
    for shot, after in zip(shots, shots[1:], strict=False):
        moving.add(shot.labels, after.labels, shot.following, shot.labels, after.labels)
        held.add(shot.labels, shot.labels, shot.following, shot.labels, after.labels)
    assert moving.tc == 1 and moving.flips == 0
    assert held.tc < 0.9 and held.flips > 0.02


@pytest.mark.parametrize("pixels", [0, 1, 2])
def test_an_outline_that_rounding_moves_by_a_pixel_does_not_flip(pixels: int) -> None:
    labels, following = np.zeros((10, 12), np.uint8), np.arange(120).reshape(10, 12)
    labels[:, 6:] = 1
    meter = Consistency(2)
    meter.add(labels, np.roll(labels, pixels, axis=1), following, *2 * [np.zeros_like(labels)])
    assert meter.changed == 2 * pixels * 10  # an outline in the middle, and one at the rims
    assert meter.flipped == 2 * max(0, pixels - 1) * 10


def test_measured_motion_is_close_to_the_true_one() -> None:
    first, second = islice(film(1, moving=False).shots(), 2, 4)
    found = measure_following(first.image, second.image)
    both = (found >= 0) & (first.following >= 0)
    height, width = found.shape
    gap = np.hypot(found // width - first.following // width,
                   found % width - first.following % width)[both]
    assert both.mean() > 0.8
    assert np.median(gap) <= 1.5
    outside = (first.following < 0)
    assert (found[outside] < 0).mean() > 0.5  # what leaves the picture is mostly noticed
