"""Scores are carried along with what moves, doubted where the picture contradicts, and age."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from sclip_research.scenes.films import film

from sclip_seg_ros.segmentation.scores.decoding.decoding import decode
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.temporal import Memory, TemporalSettings

HEIGHT, WIDTH = 240, 320
KEY = "words"
FRAME = 1 / 15


def landscape(seed: int, width: int = WIDTH * 2) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 with structure at several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, width, 3), np.float32)
    for cell in (6, 16, 48):
        coarse = rng.uniform(0, 255, (HEIGHT // cell + 2, width // cell + 2, 3)).astype(np.float32)
        total += cv2.resize(coarse, (width, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(total / 3, 0, 255).astype(np.uint8)


def scores_of(labels: np.ndarray, classes: int = 2) -> ScoreMap:
    """Return sure scores (Q, H, W) of labels (H, W)."""
    one_hot = np.eye(classes, dtype=np.float32)[labels].transpose(2, 0, 1)
    return ScoreMap.of(torch.from_numpy(np.ascontiguousarray(one_hot)))


def labels_of(memory: Memory, key: str = KEY) -> tuple[np.ndarray, np.ndarray]:
    """Decide what the memory knows about the newest frame."""
    evidence = memory.evidence(key)
    words = torch.arange(evidence.scores.queries)
    labels, confidence = decode(evidence.scores, words, 40.0, (HEIGHT, WIDTH))
    return evidence.settle(labels.numpy(), (confidence * 255).round().to(torch.uint8).numpy())


def halves(middle: int) -> np.ndarray:
    """Return labels (H, W): 0 left of a column, 1 right of it."""
    return np.broadcast_to(np.arange(WIDTH) >= middle, (HEIGHT, WIDTH)).astype(np.int64)


@pytest.fixture
def pan():
    """A camera that pans over a landscape by 4 pixels a frame."""
    wide = landscape(1)
    return [wide[:, 4 * index:4 * index + WIDTH] for index in range(12)]


def test_labels_follow_the_motion(pan) -> None:
    memory = Memory()
    memory.observe(pan[0], 0.0)
    memory.fuse(scores_of(halves(200)), KEY)
    for index, image in enumerate(pan[1:], 1):
        memory.observe(image, index * FRAME)
    labels, _ = labels_of(memory)
    seen = labels != 255
    assert (labels == halves(200 - 44))[seen].mean() > 0.98
    assert (labels == halves(200))[seen].mean() < 0.88   # as they would be, held still
    assert not seen[:, -36:].any()                       # came into the picture since
    assert seen[:, :-50].all()


def test_a_scene_at_rest_keeps_its_scores(pan) -> None:
    memory, still = Memory(), pan[0]
    for index in range(2):
        memory.observe(still, (index - 1) * FRAME)
        memory.fuse(ScoreMap.of(torch.rand(3, HEIGHT, WIDTH)), KEY)
    before = memory.evidence(KEY)
    assert memory.observe(still.copy(), FRAME).still
    after = memory.evidence(KEY)
    assert torch.allclose(after.scores.values, before.scores.values, atol=1e-5)
    assert (before.age == 0).all() and np.allclose(after.age, FRAME)


def test_a_first_frame_is_labelled_as_it_would_be_alone(pan) -> None:
    memory = Memory()
    memory.observe(pan[0], 0.0)
    scores = ScoreMap.of(torch.rand(3, HEIGHT, WIDTH))
    memory.fuse(scores, KEY)
    assert memory.evidence(KEY).scores is scores


def test_a_packed_memory_goes_on_as_it_would_have(pan) -> None:
    one, other = Memory(), Memory()
    scores = [ScoreMap.of(torch.rand(3, HEIGHT, WIDTH)) for _ in range(4)]
    for index in range(2):
        one.observe(pan[index], index * FRAME)
        one.fuse(scores[index], KEY)
    other.unpack(one.pack(), KEY)
    for index in range(2, 4):
        for memory in (one, other):
            memory.observe(pan[index], index * FRAME)
            memory.fuse(scores[index], KEY)
    assert torch.equal(one.evidence(KEY).scores.values, other.evidence(KEY).scores.values)
    assert one.evidence(KEY).fused > 0.9


def test_slow_motion_adds_up() -> None:
    wide, memory = landscape(3), Memory()
    still = 0
    for index in range(70):
        shift = np.float32([[1, 0, -0.1 * index], [0, 1, 0]])
        image = cv2.warpAffine(wide, shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        still += memory.observe(image, index * FRAME).still
        if index == 0:
            memory.fuse(scores_of(halves(200)), KEY)
    assert still > 20  # of which none alone shows any motion
    labels, _ = labels_of(memory)
    columns = np.argmax(labels[20:-20] == 1, axis=1)
    assert np.abs(columns - (200 - 6.9)).mean() < 2


@pytest.mark.parametrize("size", [(1, 1), (8, 11), (16, 17), (20, 700), (700, 20), (1500, 2000)])
def test_pictures_of_any_size_are_followed(size) -> None:
    height, width = size
    wide = cv2.resize(landscape(5), (width + 3, height))
    memory = Memory()
    for index in range(3):
        memory.observe(wide[:, index:index + width], index * FRAME)
        if index < 2:
            memory.fuse(ScoreMap.of(torch.rand(3, height, width)), KEY)
    evidence = memory.evidence(KEY)
    if evidence is not None:  # what is a few pixels wide may look like a cut
        planes = evidence.settle(*np.zeros((2, height, width), np.uint8))
        assert [plane.shape for plane in planes] == [size, size]


def test_late_scores_are_what_early_ones_would_have_become(pan) -> None:
    early, late = Memory(), Memory()
    random = np.random.default_rng(2)
    for memory in (early, late):
        memory.observe(pan[0], 0.0)
        memory.fuse(scores_of(halves(150)), KEY)
    scores = ScoreMap.of(torch.from_numpy(random.random((2, HEIGHT, WIDTH), np.float32)))
    keyframe = None
    for index, image in enumerate(pan[1:], 1):
        for memory in (early, late):
            memory.observe(image, index * FRAME)
        if index == 3:
            early.fuse(scores, KEY)
            keyframe = late.keyframe
    assert late.evidence(KEY).age.min() == pytest.approx(11 * FRAME)
    assert late.fuse(scores, KEY, keyframe)
    one, other = early.evidence(KEY), late.evidence(KEY)
    assert torch.equal(one.scores.values, other.scores.values)
    assert np.array_equal(one.age, other.age) and np.array_equal(one.trust, other.trust)


def test_new_words_hold_at_once(pan) -> None:
    memory = Memory()
    memory.observe(pan[0], 0.0)
    keyframe = memory.keyframe
    memory.fuse(scores_of(halves(200)), KEY)
    memory.observe(pan[1], FRAME)
    assert memory.evidence("others") is None
    assert memory.fuse(scores_of(halves(100) + 1, classes=3), "others", keyframe)
    assert memory.evidence(KEY) is None
    labels, _ = labels_of(memory, "others")
    assert (labels == halves(96) + 1)[:, :300].mean() > 0.98


def test_a_cut_resets(pan) -> None:
    memory = Memory()
    memory.observe(pan[0], 0.0)
    keyframe = memory.keyframe
    memory.fuse(scores_of(halves(200)), KEY)
    assert not memory.observe(landscape(7, WIDTH), FRAME).known
    assert memory.evidence(KEY) is None
    assert not memory.fuse(scores_of(halves(200)), KEY, keyframe)
    assert memory.evidence(KEY) is None


def test_a_camera_that_changes_its_exposure_loses_nothing(pan) -> None:
    memory = Memory()
    for index, image in enumerate(pan):
        gain = (1.0, 0.8, 0.6)[index % 3]
        assert memory.observe((image * gain).astype(np.uint8), index * FRAME).known or index == 0
        if index == 0:
            memory.fuse(scores_of(halves(200)), KEY)
    labels, confidence = labels_of(memory)
    seen = labels != 255
    assert (labels == halves(200 - 44))[seen].mean() > 0.98
    assert confidence[:, :-60].mean() > 200


def test_between_light_and_dark_frames_are_labelled_alone(pan) -> None:
    memory = Memory()
    for index, image in enumerate(pan):
        dark = np.random.default_rng(index).integers(0, 12, image.shape, np.uint8)
        memory.observe(dark if index % 2 else image, index * FRAME)
        scores = scores_of(halves(200 - 4 * index))
        memory.fuse(scores, KEY)
        assert memory.evidence(KEY).scores is scores


@pytest.mark.parametrize(("stamp", "shape"), [(3.0, None), (-1.0, None), (FRAME, (120, 160))])
def test_a_gap_a_step_back_and_another_size_reset(pan, stamp, shape) -> None:
    memory = Memory()
    memory.observe(pan[0], 0.0)
    memory.fuse(scores_of(halves(200)), KEY)
    image = pan[1] if shape is None else np.ascontiguousarray(pan[1][:shape[0], :shape[1]])
    assert not memory.observe(image, stamp).known
    assert memory.evidence(KEY) is None


def test_old_evidence_ends_unlabelled(pan) -> None:
    memory = Memory(TemporalSettings(max_age=0.5))
    memory.observe(pan[0], 0.0)
    memory.fuse(scores_of(halves(200)), KEY)
    for index in range(1, 8):
        memory.observe(pan[0], index * FRAME)
    assert (labels_of(memory)[0] != 255).all()
    memory.observe(pan[0], 8 * FRAME)
    labels, confidence = labels_of(memory)
    assert (labels == 255).all() and (confidence == 0).all()


def test_older_scores_do_not_replace_newer_ones(pan) -> None:
    memory = Memory()
    memory.observe(pan[0], 0.0)
    keyframe = memory.keyframe
    memory.observe(pan[1], FRAME)
    memory.fuse(scores_of(halves(200)), KEY)
    assert not memory.fuse(scores_of(halves(20)), KEY, keyframe)
    labels, _ = labels_of(memory)
    assert (labels == halves(200)).mean() > 0.98


def test_the_past_counts_less_the_longer_ago_it_was(pan) -> None:
    shares = []
    for pause in (1, 3, 9):
        memory = Memory(TemporalSettings(weight=0.8))
        memory.observe(pan[0], 0.0)
        memory.fuse(scores_of(np.zeros((HEIGHT, WIDTH), np.int64)), KEY)
        memory.observe(pan[0], pause * FRAME)
        memory.fuse(scores_of(np.ones((HEIGHT, WIDTH), np.int64)), KEY)
        shares.append(float(memory.evidence(KEY).scores.values[:, 0].mean()))
    assert shares == pytest.approx([0.8, 0.8 ** 3, 0.8 ** 9], rel=1e-3)


def test_what_moves_by_itself_leaves_no_trail(pan) -> None:
    """A patch moves over a standing scene; where it was, the old scores are not fused in."""
    ground, patch = pan[0], landscape(9)[60:140, 100:180]
    shares = {}
    for gate in (10.0, 255.0):
        memory = Memory(TemporalSettings(weight=0.9, gate=gate))
        for index in range(8):
            left = 40 + 12 * index
            image, truth = ground.copy(), np.zeros((HEIGHT, WIDTH), np.int64)
            image[80:160, left:left + 80] = patch
            truth[80:160, left:left + 80] = 1
            memory.observe(image, index * FRAME)
            memory.fuse(scores_of(truth), KEY)
        labels, _ = labels_of(memory)
        shares[gate] = (labels == 1)[84:156, left - 60:left - 4].mean()
    assert shares[10.0] < 0.15 < shares[255.0]


def test_the_tower_rests_while_nothing_moves(pan) -> None:
    memory = Memory(TemporalSettings(rest=2.0))
    rng = np.random.default_rng(5)
    noisy = [np.clip(pan[0] + rng.normal(0, 2, pan[0].shape), 0, 255).astype(np.uint8)
             for _ in range(40)]
    memory.observe(noisy[0], 0.0)
    assert memory.wants_scores(KEY)
    memory.fuse(scores_of(halves(200)), KEY)
    assert memory.wants_scores("others")
    wants = []
    for index in range(1, 32):
        memory.observe(noisy[index], index * FRAME)
        wants.append(memory.wants_scores(KEY))
    assert wants == [False] * 29 + [True] * 2
    moved = noisy[32].copy()
    moved[100:120, 100:120] = 255 - moved[100:120, 100:120]
    memory.fuse(scores_of(halves(200)), KEY)
    memory.observe(moved, 32 * FRAME)
    assert memory.wants_scores(KEY)


def test_a_rendered_thing_that_sets_off_wakes_the_tower() -> None:
    shots, memory, wanted = film(0, moving=True, panning=False, pause=6).shots(), Memory(), []
    for index, shot in zip(range(12), shots, strict=False):
        memory.observe(shot.image, index * FRAME)
        wanted.append(memory.wants_scores(KEY))
        if wanted[-1]:
            memory.fuse(scores_of(np.zeros(shot.labels.shape, np.int64)), KEY)
    assert wanted == [True] + [False] * 6 + [True] * 5


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="temporal.weight must be 0.0 to 0.99, got 1.5"):
        TemporalSettings(weight=1.5)
    with pytest.raises(ValueError, match="temporal.enabled=1 is not a switch"):
        TemporalSettings(enabled=1)
