"""Sliding windows: their number and place, and maps that come back together unharmed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_tower import build_golden_tower
from torch.nn.functional import interpolate, normalize

from sclip_seg_ros.segmentation.backbones.backbone import feature_map
from sclip_seg_ros.segmentation.backbones.families.clip_vit import ClipViT
from sclip_seg_ros.segmentation.scores.decoding.decoding import class_probabilities, decode
from sclip_seg_ros.segmentation.scores.windows import (
    Box,
    cut,
    stitch,
    tower_crop,
    tower_size,
    window_boxes,
    working_size,
)
from sclip_seg_ros.segmentation.settings import SegmentorSettings

TOLERANCE = 2e-4  # of the golden file
SIZES = [(336, 448), (336, 597), (480, 640), (225, 224), (224, 224), (100, 500), (500, 100),
         (50, 60), (337, 337)]


def coverage(boxes, size) -> torch.Tensor:
    count = torch.zeros(size, dtype=torch.int64)
    for box in boxes:
        count[box.top:box.bottom, box.left:box.right] += 1
    return count


def coordinates(height: int, width: int) -> torch.Tensor:
    """Return an image whose pixels hold their row and their column: (1, 2, H, W)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns])[None].float()


@pytest.mark.parametrize(("size", "count"), [
    ((336, 448), 6), ((336, 597), 10), ((480, 640), 20), ((1152, 2048), 180), ((224, 224), 1),
    ((224, 225), 2), ((100, 100), 1), ((100, 336), 2)])
def test_number_of_windows_is_the_papers(size, count):
    assert len(window_boxes(*size, crop=224, stride=112)) == count


@pytest.mark.parametrize(("size", "most"), [((336, 448), 4), ((480, 640), 9)])
def test_overlap_is_the_papers(size, most):
    count = coverage(window_boxes(*size, crop=224, stride=112), size)
    assert (count.min(), count.max()) == (1, most)


@pytest.mark.parametrize("stride", [112, 150, 224])
@pytest.mark.parametrize("size", SIZES)
def test_windows_cover_the_image_in_full_size_and_stay_inside(size, stride):
    boxes = window_boxes(*size, crop=224, stride=stride)
    assert coverage(boxes, size).min() >= 1
    assert len(set(boxes)) == len(boxes)
    for box in boxes:
        assert min(box) >= 0 and box.bottom <= size[0] and box.right <= size[1]
        assert (box.bottom - box.top, box.right - box.left) == (min(224, size[0]),
                                                                min(224, size[1]))


def test_windows_run_row_by_row_and_the_last_is_shifted_back():
    assert window_boxes(5, 7, crop=4, stride=2) == [
        Box(0, 0, 4, 4), Box(0, 2, 4, 6), Box(0, 3, 4, 7),
        Box(1, 0, 5, 4), Box(1, 2, 5, 6), Box(1, 3, 5, 7)]


@pytest.mark.parametrize("stride", [0, -1, 225])
def test_a_stride_that_leaves_gaps_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride={stride} does not fit .* 224 pixels; give 1 to"):
        window_boxes(480, 640, crop=224, stride=stride)


def test_cut_takes_each_images_windows_in_turn():
    images = torch.stack([coordinates(5, 7)[0], -coordinates(5, 7)[0]])
    boxes = window_boxes(5, 7, crop=4, stride=2)
    windows = cut(images, boxes)
    assert windows.shape == (12, 2, 4, 4)
    assert windows[5, :, 0, 0].tolist() == [1, 3]
    assert windows[6 + 5, :, 3, 3].tolist() == [-4, -6]


@pytest.mark.parametrize("size", SIZES)
def test_a_constant_stays_constant(size):
    boxes = window_boxes(*size, crop=224, stride=112)
    whole = stitch(torch.full((len(boxes), 3, 7, 5), 0.3), boxes, size).dense()
    assert whole.shape == (3, *size)
    assert torch.allclose(whole, torch.tensor(0.3), atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_windows_at_full_resolution_reassemble_exactly(size):
    boxes = window_boxes(*size, crop=224, stride=112)
    image = coordinates(*size)
    whole = stitch(cut(image, boxes), boxes, size).dense()
    assert torch.allclose(whole, image[0], atol=1e-4)  # of up to 640, averaged 9 times


def test_windows_on_a_grid_reassemble_exactly_inside():
    """A model that tells each patch's centre, enlarged bilinearly, gives the pixels' own places."""
    size, patch = (56, 72), 8
    boxes = window_boxes(*size, crop=32, stride=16)
    centres = cut(coordinates(*size), boxes).unfold(2, patch, patch).unfold(3, patch, patch)
    whole = stitch(centres.mean(dim=(-1, -2)), boxes, size).dense()
    # Half a patch at a window's edge has nothing to interpolate towards, and stays flat there.
    inside = torch.ones(size, dtype=torch.bool)
    for box in boxes:
        flat = torch.ones(size, dtype=torch.bool)
        flat[:box.top], flat[box.bottom:], flat[:, :box.left], flat[:, box.right:] = (False,) * 4
        half = patch // 2
        flat[box.top + half:box.bottom - half, box.left + half:box.right - half] = False
        inside &= ~flat
    assert inside.float().mean() > 0.2
    error = (whole - coordinates(*size)[0]).abs()
    assert error[:, inside].max() < 1e-4
    assert error.max() <= patch / 2


def test_tapered_windows_count_by_their_distance_to_the_rim():
    """The public formula, pixel by pixel: weights of rows times those of columns, normalised."""
    size, crop = (12, 16), 8
    boxes = window_boxes(*size, crop, 4)
    scores = torch.rand(len(boxes), 2, crop, crop, generator=torch.Generator().manual_seed(1))
    found = stitch(scores, boxes, size, taper=True).dense()
    total, weights = torch.zeros(2, *size), torch.zeros(size)
    for score, box in zip(scores, boxes, strict=True):
        for row in range(crop):
            for column in range(crop):
                weight = min(row + 1, crop - row) * min(column + 1, crop - column)
                total[:, box.top + row, box.left + column] += weight * score[:, row, column]
                weights[box.top + row, box.left + column] += weight
    assert torch.allclose(found, total / weights, atol=1e-6)


def test_a_taper_leaves_no_seams():
    """Two windows that contradict each other: plain averages jump, tapered ones slide."""
    boxes = window_boxes(8, 24, 16, 8)
    scores = torch.stack([torch.zeros(1, 8, 16), torch.ones(1, 8, 16)])
    jumps = [float(stitch(scores, boxes, (8, 24), taper).dense().diff(dim=2).max())
             for taper in (False, True)]
    assert jumps[0] == 0.5 and jumps[1] < 0.2


def test_an_image_smaller_than_the_crop_is_one_enlarged_map():
    boxes = window_boxes(30, 40, crop=224, stride=112)
    scores = torch.rand(1, 4, 3, 2, generator=torch.Generator().manual_seed(0))
    expected = interpolate(scores, size=(30, 40), mode="bilinear", align_corners=False)[0]
    assert boxes == [Box(0, 0, 30, 40)]
    assert torch.allclose(stitch(scores, boxes, (30, 40)).dense(), expected, atol=1e-6)


def test_half_precision_scores_are_averaged_in_single():
    boxes = window_boxes(5, 7, crop=4, stride=2)
    assert stitch(torch.ones(6, 2, 4, 4).half(), boxes, (5, 7)).dense().dtype == torch.float32


def test_a_missing_window_is_an_error():
    boxes = window_boxes(5, 7, crop=4, stride=2)
    with pytest.raises(ValueError):
        stitch(torch.ones(5, 2, 4, 4), boxes, (5, 7))


def test_windows_that_are_no_grid_are_an_error():
    boxes = window_boxes(5, 7, crop=4, stride=2)[:5]
    with pytest.raises(ValueError, match="5 windows are not a grid of 2 rows and 3 columns"):
        stitch(torch.ones(5, 2, 4, 4), boxes, (5, 7))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [(97, 130), (480, 640)])
def test_stitching_is_enlarging_each_window_and_averaging(size, target):
    """The matrices equal the plain way: windows one by one into a sum and a count."""
    boxes = window_boxes(*size, crop=224, stride=112)
    scores = torch.rand(len(boxes), 3, 7, 5, generator=torch.Generator().manual_seed(0))
    total, count = torch.zeros(3, *size), torch.zeros(size)
    for window, box in zip(scores, boxes, strict=True):
        place = (..., slice(box.top, box.bottom), slice(box.left, box.right))
        extent = (box.bottom - box.top, box.right - box.left)
        total[place] += interpolate(window[None], extent, mode="bilinear")[0]
        count[place] += 1
    found = stitch(scores, boxes, size)
    assert torch.allclose(found.dense(), total / count, atol=1e-6)
    resized = interpolate((total / count)[None], target, mode="bilinear")[0]
    assert torch.allclose(found.dense(target), resized, atol=1e-5)


@pytest.fixture(scope="module")
def golden(golden_dir):
    with np.load(golden_dir / "sclip.npz") as data:
        return dict(data)


@pytest.fixture(scope="module")
def golden_scores(golden) -> torch.Tensor:
    """Cosine scores (Q, H, W) that our own windows and tower give for the golden image."""
    backbone = ClipViT(build_golden_tower(golden))
    image = torch.from_numpy(golden["slide/image"])
    size = tuple(image.shape[2:])
    boxes = window_boxes(*size, int(golden["slide/crop"]), int(golden["slide/stride"]))
    windows = cut(image, boxes)
    features = feature_map(backbone.tokens(windows), backbone.grid(*windows.shape[2:]))
    queries = torch.from_numpy(golden["slide/query_features"])
    scores = torch.einsum("ndhw,qd->nqhw", normalize(features, dim=1), queries)
    return stitch(scores, boxes, size).dense()


def test_golden_logits(golden, golden_scores):
    expected = torch.from_numpy(golden["slide/logits"])[0]
    assert (golden_scores - expected).abs().max() < TOLERANCE
    assert (expected - expected.mean()).abs().max() > 10 * TOLERANCE


@pytest.mark.parametrize("case", ["plain", "prob"])
def test_golden_probabilities_and_labels(golden, golden_scores, case):
    query_class = torch.from_numpy(golden["slide/query_idx"])
    expected = torch.from_numpy(golden[f"slide/{case}/probs"])
    threshold = float(golden[f"slide/{case}/prob_thd"])
    assert (class_probabilities(golden_scores, query_class, 40.0)
            - expected).abs().max() < TOLERANCE
    labels, confidence = decode(golden_scores, query_class, 40.0, tuple(expected.shape[1:]),
                                background=0, probability_threshold=threshold)
    best = expected.sort(dim=0, descending=True).values
    assert (confidence - best[0]).abs().max() < TOLERANCE
    clear = (best[0] - best[1] > 2 * TOLERANCE) & ((best[0] - threshold).abs() > 2 * TOLERANCE)
    assert clear.float().mean() > 0.5
    pred = torch.from_numpy(golden[f"slide/{case}/pred"])[0]
    assert torch.equal(labels[clear].long(), pred[clear])


@pytest.mark.parametrize(("camera", "working"), [
    ((480, 640), (336, 448)), ((720, 1280), (336, 597)), ((1080, 1920), (336, 597)),
    ((640, 480), (448, 336)), ((336, 448), (336, 448)), ((240, 320), (240, 320)),
    ((400, 8000), (102, 2048)), ((1, 10000), (1, 2048)), ((336, 2049), (336, 2048))])
def test_images_shrink_to_the_papers_size_and_never_grow(camera, working):
    assert working_size(*camera, short_side=336) == working


@pytest.mark.parametrize(("camera", "short_side", "working"), [
    ((427, 640), 448, (448, 671)),      # COCO
    ((333, 500), 336, (336, 505)),      # VOC
    ((480, 640), 336, (336, 448)),
    ((100, 2000), 336, (102, 2048)),    # the long side is the limit
])
def test_images_grow_when_asked_to(camera, short_side, working):
    assert working_size(*camera, short_side, enlarge=True) == working


@pytest.mark.parametrize(("camera", "patch", "changes", "working"), [
    ((480, 640), 16, {"inference": "whole", "short_side": 224}, (224, 304)),   # 299 pixels
    ((720, 1280), 16, {"inference": "whole"}, (336, 592)),                      # 597 pixels
    ((480, 640), 14, {"inference": "whole"}, (336, 448)),
    ((720, 1280), 16, {}, (336, 597)),                          # windows lie on every side
    ((720, 1280), 16, {"short_side": 200}, (208, 356)),         # one row of windows
    ((20, 1000), 16, {"inference": "whole"}, (16, 1008)),
    ((15, 64), 16, {"inference": "whole"}, (15, 64)),           # refused as it is
    ((720, 1280), 16, {"inference": "whole", "enlarge": True}, (336, 597)),     # as published
])
def test_a_side_without_a_full_window_has_whole_patches(camera, patch, changes, working):
    settings = SegmentorSettings(**{"short_side": 336, **changes})
    assert tower_size(*camera, settings, patch) == working


@pytest.mark.parametrize(("patch", "changes", "crop"), [
    (16, {}, 224), (14, {"crop": 160, "stride": 160}, 154), (32, {"crop": 336}, 320),
    (32, {"crop": 336, "enlarge": True}, 336)])                                # as published
def test_windows_have_whole_patches(patch, changes, crop):
    assert tower_crop(SegmentorSettings(**changes), patch) == crop
