"""Decoding: exact enlargement in bands, class probabilities, thresholds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import interpolate

from sclip_seg_ros.segmentation.scores.decoding import (
    compiled,
    plain,
)
from sclip_seg_ros.segmentation.scores.decoding.decoding import (
    class_probabilities,
    decide,
    decode,
    enlarged_probabilities,
)
from sclip_seg_ros.segmentation.scores.decoding.rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.scores.windows import stitch, window_boxes

SCALE = 40.0


def random_scores(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return cosine scores as far apart as CLIP's."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 0.2


def one_each(count: int) -> torch.Tensor:
    return torch.arange(count)


@pytest.fixture
def small_blocks(monkeypatch):
    """Decode block by block, of a few pixels even where images are small."""
    monkeypatch.setattr(compiled, "label", lambda *arguments: None)
    monkeypatch.setitem(plain.CHUNK, "cpu", 2_000)


def in_blocks(scores: torch.Tensor, size: tuple[int, int],
              budget: int = 2_000) -> tuple[torch.Tensor, int]:
    """Enlarge scores block by block; return them and the number of blocks."""
    whole, count = torch.full((scores.shape[0], *size), torch.nan), 0
    for rows, columns, block in ScoreMap.of(scores).blocks(size, budget):
        assert block.numel() <= max(budget, scores.shape[0])
        whole[:, rows, columns] = block.transpose(0, 1)
        count += 1
    return whole, count


@pytest.mark.parametrize("target", [(7, 9), (7, 20), (20, 9), (64, 97), (101, 33), (5, 4), (1, 1),
                                    (3, 200), (200, 3), (8, 9), (56, 72)])
@pytest.mark.parametrize("source", [(7, 9), (1, 1), (1, 9), (33, 2)])
def test_blocks_are_one_bilinear_enlargement(source, target):
    scores = random_scores(5, *source)
    whole = interpolate(scores[None], size=target, mode="bilinear", align_corners=False)[0]
    found, blocks = in_blocks(scores, target)
    assert (found - whole).abs().max() < 1e-5
    if whole.numel() > 4_000:
        assert blocks > 1


def test_blocks_at_the_camera_s_size_are_one_bilinear_enlargement():
    scores = random_scores(3, 336, 597)
    whole = interpolate(scores[None], size=(720, 1280), mode="bilinear", align_corners=False)[0]
    found, blocks = in_blocks(scores, (720, 1280), 250_000)
    assert blocks > 1
    assert (found - whole).abs().max() < 1e-5


@pytest.mark.parametrize("queries", [1, 20, 3_000])
def test_no_score_tensor_of_full_size_exists(monkeypatch, queries):
    """The largest tensor made while decoding is a block, whatever the number of words."""
    size, largest = (24, 320), []
    real = ScoreMap.blocks

    def spy(self, *arguments):
        for rows, columns, block in real(self, *arguments):
            largest.append(block.numel())
            yield rows, columns, block

    monkeypatch.setattr(ScoreMap, "blocks", spy)
    rule = DecodingRule(torch.arange(queries) * 0, SCALE)
    labels, confidence = plain.label(ScoreMap.of(random_scores(queries, 12, 16)), rule,
                                              size)
    assert labels.shape == confidence.shape == size
    assert max(largest) <= plain.CHUNK["cpu"]
    assert sum(largest) == queries * size[0] * size[1]


@pytest.mark.parametrize("owner", [[0, 1, 2, 3], [0, 0, 1, 2]])
def test_enlarged_probabilities_are_those_of_enlarged_scores(small_blocks, owner):
    scores, size, owner = random_scores(4, 6, 8), (23, 31), torch.tensor(owner)
    whole = interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]
    found = enlarged_probabilities(ScoreMap.of(scores), owner, SCALE, size)
    assert torch.allclose(found, class_probabilities(whole, owner, SCALE), atol=1e-5)


MEASURE_PEAK = """
import re
from pathlib import Path
import torch
from sclip_seg_ros.segmentation.scores.decoding.decoding import decode
from sclip_seg_ros.segmentation.scores.windows import stitch, window_boxes
torch.set_num_threads(1)
boxes = window_boxes(336, 597, 224, 112)
parts = torch.rand(len(boxes), 150, 14, 14) * 0.2

def resident(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def run(size):
    decode(stitch(parts, boxes, (336, 597)), torch.arange(150), 40.0, size)

def peak(call):
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before

run((64, 64))  # what torch itself needs once
print(peak(lambda: run((1080, 1920))), peak(lambda: torch.ones(100 << 18)))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK),
                    reason="needs Linux to tell the highest memory of a process")
def test_150_classes_at_1080p_take_less_than_64_megabytes():
    """Of all memory of the process, labels and confidence (10 MB) included."""
    ran = subprocess.run([sys.executable, "-c", MEASURE_PEAK], capture_output=True, text=True,
                         check=True)
    decoding, hundred = map(float, ran.stdout.split())
    assert 90 < hundred < 120  # the instrument sees memory
    assert 5 < decoding < 64  # some of it may be what the process held already


@pytest.mark.filterwarnings("ignore:.*Profiler clears events:UserWarning")
def test_memory_stays_bounded_with_500_words():
    """Scores of full size would take 24 MB here; no step of decoding takes a tenth of that."""
    scores, size = random_scores(500, 15, 20), (96, 128)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU],
                                profile_memory=True) as trace:
        decode(scores, one_each(500), SCALE, size)
    largest = max(abs(event.cpu_memory_usage) for event in trace.events())
    assert 0 < largest < 500 * 96 * 128 * 4 / 10


@pytest.mark.parametrize("queries", [1, 2, 20, 500])
def test_decoding_equals_the_plain_way(small_blocks, queries):
    scores, size = random_scores(queries, 6, 8), (23, 31)
    whole = interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]
    best, label = torch.softmax(whole * SCALE, dim=0).max(dim=0)
    labels, confidence = decode(scores, one_each(queries), SCALE, size)
    assert (labels.dtype, confidence.dtype) == (torch.uint8, torch.float32)
    assert (confidence - best).abs().max() < 1e-5
    assert (labels == label).float().mean() > 0.999 or queries == 500
    if queries == 1:
        assert torch.equal(confidence, torch.ones(size))


def test_a_class_takes_the_best_of_its_synonyms():
    scores, owner = random_scores(6, 4, 5), torch.tensor([0, 0, 1, 2, 2, 2])
    softmax = torch.softmax(scores * SCALE, dim=0)
    expected = torch.stack([softmax[0:2].amax(0), softmax[2], softmax[3:6].amax(0)])
    assert torch.equal(class_probabilities(scores, owner, SCALE), expected)


def test_synonyms_leave_the_label_and_lower_the_confidence():
    """So it is in SCLIP's protocol, and a threshold must be chosen with the words in use."""
    scores = torch.tensor([0.30, 0.25])[:, None, None].expand(2, 4, 4)
    one = decode(scores, torch.tensor([0, 1]), 40.0, (4, 4))
    three = decode(scores.repeat_interleave(3, 0), torch.tensor([0, 0, 0, 1, 1, 1]), 40.0, (4, 4))
    assert torch.equal(one[0], three[0]) and not one[0].any()
    assert torch.allclose(three[1], one[1] / 3)
    few = decode(scores.repeat_interleave(3, 0), torch.tensor([0, 0, 0, 1, 1, 1]), 40.0, (4, 4),
                 probability_threshold=0.5)
    assert (few[0] == 255).all() and one[1].min() > 0.8


def test_the_order_of_synonyms_does_not_matter():
    scores, owner = random_scores(6, 4, 5), torch.tensor([0, 0, 1, 2, 2, 2])
    swapped = scores[[1, 0, 2, 5, 3, 4]]
    assert torch.allclose(class_probabilities(swapped, owner, SCALE),
                          class_probabilities(scores, owner, SCALE), atol=1e-7)


@pytest.mark.parametrize("shape", [(6,), (6, 10), (6, 4, 5)])
def test_probabilities_take_any_layout_of_places(shape):
    owner = torch.tensor([0, 0, 1, 2, 2, 2])
    flat = class_probabilities(random_scores(*shape).reshape(6, -1), owner, SCALE)
    assert torch.allclose(class_probabilities(random_scores(*shape), owner, SCALE),
                          flat.reshape(3, *shape[1:]), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_another_class_never_raises_a_probability(seed):
    scores, owner = random_scores(6, 9, 9, seed=seed), torch.tensor([0, 0, 1, 2, 2, 2])
    before = class_probabilities(scores, owner, SCALE)
    more = torch.cat([scores, random_scores(1, 9, 9, seed=seed + 100)])
    after = class_probabilities(more, torch.cat([owner, torch.tensor([3])]), SCALE)
    assert (after[:3] <= before + 1e-7).all()
    assert (after[:3] < before).float().mean() > 0.9


def test_half_precision_scores_are_decided_in_single():
    assert class_probabilities(random_scores(3, 2, 2).half(), one_each(3),
                               SCALE).dtype == torch.float32


def confidences(*values: float) -> torch.Tensor:
    """Return scores whose class 1 of two has the given probabilities at scale 1."""
    return torch.stack([torch.zeros(len(values)), torch.tensor(values).logit()])[:, None]


@pytest.mark.parametrize(("background", "fallback"), [(None, 255), (0, 0), (1, 1)])
def test_below_the_threshold_is_background_or_unlabelled(background, fallback):
    scores = confidences(0.95, 0.70, 0.40, 0.10)
    labels, confidence = decode(scores, one_each(2), 1.0, (1, 4), background, 0.65)
    assert labels.tolist() == [[1, 1, fallback, 0]]
    assert confidence[0].tolist() == pytest.approx([0.95, 0.70, 0.60, 0.90], abs=1e-6)


def test_without_a_threshold_every_pixel_has_a_class():
    labels, _ = decode(random_scores(4, 8, 8) * 0, one_each(4), SCALE, (20, 20))
    assert labels.max() < 4


def block_scores(areas: dict[int, int], classes: int) -> torch.Tensor:
    """Return scores of a one-row image in which each class wins a run of pixels."""
    owner = torch.cat([torch.full((area,), label) for label, area in areas.items()])
    scores = torch.zeros(classes, 1, len(owner))
    scores[owner, 0, torch.arange(len(owner))] = 0.2
    scores[(owner + 1) % classes, 0, torch.arange(len(owner))] = 0.1
    return scores


def test_a_small_foreground_class_gives_way_to_the_next_best():
    """VOC21's rule: area <= threshold x all foreground -> the class's probability is zero."""
    scores = block_scores({0: 900, 1: 80, 2: 9, 3: 11}, 4)
    size = (1, 1000)
    free, _ = decode(scores, one_each(4), SCALE, size, background=0)
    kept, confidence = decode(scores, one_each(4), SCALE, size, background=0, area_threshold=0.1)
    assert torch.bincount(free.flatten()).tolist() == [900, 80, 9, 11]
    assert torch.bincount(kept.flatten(), minlength=4).tolist() == [900, 80, 0, 20]
    assert torch.equal(kept[:, 980:989], torch.full((1, 9), 3, dtype=torch.uint8))
    # The pixel keeps the runner-up's own probability, which is no certainty.
    assert confidence[0, 980] < 0.02 < confidence[0, 0]


def test_a_class_of_just_the_threshold_goes_too():
    scores = block_scores({0: 50, 1: 90, 2: 10}, 3)
    labels, _ = decode(scores, one_each(3), SCALE, (1, 150), background=0, area_threshold=0.1)
    assert 2 not in labels
    labels, _ = decode(scores, one_each(3), SCALE, (1, 150), background=0, area_threshold=0.0999)
    assert 2 in labels


def test_a_small_background_stays():
    scores = block_scores({0: 3, 1: 97}, 2)
    labels, _ = decode(scores, one_each(2), SCALE, (1, 100), background=0, area_threshold=0.5)
    assert torch.bincount(labels.flatten()).tolist() == [3, 97]


def test_without_background_every_class_must_cover_its_share():
    labels, _ = decode(block_scores({0: 3, 1: 97}, 2), one_each(2), SCALE, (1, 100),
                       area_threshold=0.5)
    assert torch.bincount(labels.flatten(), minlength=2).tolist() == [0, 100]


def test_where_no_class_covers_its_share_all_stay():
    labels, _ = decode(block_scores({0: 50, 1: 50}, 2), one_each(2), SCALE, (1, 100),
                       area_threshold=0.5)
    assert torch.bincount(labels.flatten()).tolist() == [50, 50]


def test_the_area_rule_comes_before_the_probability_threshold():
    scores = block_scores({0: 900, 1: 80, 2: 9, 3: 11}, 4)
    labels, _ = decode(scores, one_each(4), SCALE, (1, 1000), background=0,
                       probability_threshold=0.5, area_threshold=0.1)
    assert torch.bincount(labels.flatten(), minlength=4).tolist() == [909, 80, 0, 11]


@pytest.mark.parametrize("background", [None, 1])
@pytest.mark.parametrize("area", [0.0, 0.1])
@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_no_numbers_never_become_a_class(broken, area, background):
    """Enlarging may spread them over their neighbours, but none of those gets a class of theirs."""
    scores = random_scores(3, 4, 6)
    scores[:, 1, 2] = broken
    labels, confidence = decode(scores, one_each(3), SCALE, (4, 6), background, 0.0, area)
    assert labels[1, 2] == (255 if background is None else background)
    assert confidence[1, 2] == 0
    assert confidence.isfinite().all()
    sure = confidence > 0
    assert torch.equal(labels[sure], random_scores(3, 4, 6).argmax(0)[sure].to(torch.uint8))


def test_equal_scores_go_to_the_first_class():
    labels, confidence = decode(torch.full((5, 3, 4), 0.1), one_each(5), SCALE, (9, 10))
    assert not labels.any()
    assert torch.allclose(confidence, torch.tensor(0.2))


@pytest.mark.parametrize("classes", [1, 2, 254])
def test_every_id_can_win(classes):
    scores = torch.eye(classes).reshape(classes, 1, classes)
    labels, _ = decode(scores, one_each(classes), SCALE, (1, classes))
    assert labels[0].tolist() == list(range(classes))


def test_windows_scores_are_decoded_without_being_put_together():
    boxes = window_boxes(48, 64, 32, 16)
    scores = stitch(random_scores(len(boxes), 6, 4, 4), boxes, (48, 64))
    owner = torch.tensor([0, 0, 1, 2, 2, 3])
    labels, confidence = decode(scores, owner, SCALE, (75, 101))
    dense = interpolate(scores.dense()[None], (75, 101), mode="bilinear")[0]
    expected_labels, expected = decide(class_probabilities(dense, owner, SCALE))
    assert torch.allclose(confidence, expected, atol=1e-5)
    assert (labels == expected_labels).float().mean() > 0.999


def test_decide_leaves_out_what_is_not_kept():
    probabilities = torch.tensor([[0.6, 0.1], [0.3, 0.2], [0.1, 0.7]])
    labels, confidence = decide(probabilities, keep=torch.tensor([False, True, True]))
    assert labels.tolist() == [1, 2]
    assert confidence.tolist() == pytest.approx([0.3, 0.7])
