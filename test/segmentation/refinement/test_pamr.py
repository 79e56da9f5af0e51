"""PAMR: the published result, the identities of a linear neighbour average, and hard inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sclip_research.evaluate_embedded_model import Tally
from sclip_research.scenes.held_out import held_out_scene
from torch import Tensor
from torch.nn.functional import interpolate, softmax

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.refinement.neighbours import EdgePadded, ring_offsets
from sclip_seg_ros.segmentation.refinement.pamr import PamrSettings, pamr, pamr_affinity, pamr_step

DILATIONS = (2, 5)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 3, 31, 42, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def scores() -> Tensor:
    return torch.randn(1, 5, 31, 42, generator=torch.Generator().manual_seed(2))


def clamped(maps: Tensor, dy: int, dx: int) -> Tensor:
    """Look every neighbour up by its index, clamped into the map."""
    height, width = maps.shape[-2:]
    y = (torch.arange(height) + dy).clamp(0, height - 1)
    x = (torch.arange(width) + dx).clamp(0, width - 1)
    return maps[..., y[:, None], x[None]]


def literal_pamr(image: Tensor, scores: Tensor, steps: int, dilations: tuple[int, ...]) -> Tensor:
    """Follow the formula literally, with every neighbour in memory, in double precision."""
    image, scores = image.double(), scores.double()
    ring = [(d * dy, d * dx) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1)
            if dy or dx]
    neighbours = torch.stack([clamped(image, *offset) for offset in ring], dim=2)
    centre = image[:, :, None]
    patch = torch.cat([neighbours] + [centre] * len(dilations), dim=2)
    contrast = 1e-8 + 0.1 * patch.std(dim=2, keepdim=True)
    weights = softmax((-(neighbours - centre).abs() / contrast).mean(1, keepdim=True), dim=2)
    for _ in range(steps):
        scores = (torch.stack([clamped(scores, *offset) for offset in ring], 2) * weights).sum(2)
    return scores


def test_golden_pamr_matches_the_published_code(golden_dir):
    with np.load(golden_dir / "sclip.npz") as golden:
        image, mask, expected = (torch.from_numpy(golden[f"pamr/{key}"])
                                 for key in ("image", "mask", "out"))
    torch.testing.assert_close(pamr(image, mask, 10, (8, 16)), expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize(("size", "dilations"), [
    ((31, 42), (8, 16)), ((31, 42), (1, 2, 4, 8, 12, 24)), ((5, 9), (8, 16)), ((3, 3), (100,)),
    ((1, 7), (3,)), ((6, 1), (1, 9)), ((1, 1), (8, 16)), ((130, 12), (4,))])
def test_equals_the_formula_at_any_size_and_dilation(size, dilations):
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(2, 3, *size, generator=generator)
    scores = torch.randn(2, 3, *size, generator=generator)
    torch.testing.assert_close(pamr(image, scores, 4, dilations).double(),
                               literal_pamr(image, scores, 4, dilations), atol=2e-5, rtol=0)


def test_a_huge_dilation_pads_no_more_than_the_image():
    padded = EdgePadded(torch.rand(1, 3, 8, 6), reach=10**6)
    assert padded.data.shape[-2:] == (8 + 2 * 7, 6 + 2 * 5)
    assert torch.equal(padded.shift(10**6, 0), padded.shift(7, 0))


def test_constant_scores_stay(image):
    constant = torch.full((1, 4, 31, 42), 0.37)
    torch.testing.assert_close(pamr(image, constant), constant, atol=5e-6, rtol=0)


def test_class_sums_are_preserved(image, scores):
    probabilities = softmax(scores, dim=1)
    total = pamr(image, probabilities, 10, DILATIONS).sum(1)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-5, rtol=0)


def test_no_score_leaves_the_range_of_the_input(image, scores):
    refined = pamr(image, scores, 10, DILATIONS)
    assert refined.amax() <= scores.amax() + 1e-5
    assert refined.amin() >= scores.amin() - 1e-5
    assert refined.std() < 0.7 * scores.std()


def test_linear_in_the_scores(image, scores):
    other = scores.flip(1) ** 2
    joint = pamr(image, 2.0 * scores - 3.0 * other, 5, DILATIONS)
    apart = 2.0 * pamr(image, scores, 5, DILATIONS) - 3.0 * pamr(image, other, 5, DILATIONS)
    torch.testing.assert_close(joint, apart, atol=2e-5, rtol=0)


@pytest.mark.parametrize("axis", [2, 3])
def test_flipping_the_input_flips_the_output(image, scores, axis):
    flipped = pamr(image.flip(axis), scores.flip(axis), 10, DILATIONS)
    torch.testing.assert_close(flipped, pamr(image, scores, 10, DILATIONS).flip(axis),
                               atol=2e-5, rtol=0)


def test_scale_and_offset_of_each_channel_do_not_matter(image, scores):
    scale = torch.tensor([255.0, 3.7, 0.2]).view(1, 3, 1, 1)
    offset = torch.tensor([0.0, -1.8, 2.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(pamr(image * scale + offset, scores, 10, DILATIONS),
                               pamr(image, scores, 10, DILATIONS), atol=2e-5, rtol=0)


def test_on_a_flat_image_all_neighbours_count_alike(scores):
    flat = torch.full((1, 3, 31, 42), 0.4)
    mean = torch.stack([clamped(scores, *offset) for offset in ring_offsets(DILATIONS)]).mean(0)
    torch.testing.assert_close(pamr(flat, scores, 1, DILATIONS), mean, atol=1e-6, rtol=0)


def test_affinities_are_shares_and_the_centre_has_none(image):
    affinity = pamr_affinity(image, DILATIONS)
    assert affinity.shape == (1, 16, 31, 42)
    assert affinity.amin() >= 0
    torch.testing.assert_close(affinity.sum(1), torch.ones(1, 31, 42))
    single = torch.zeros(1, 1, 31, 42)
    single[..., 15, 20] = 1.0
    spread = pamr_step(single, affinity, DILATIONS)
    assert spread[..., 15, 20] == 0 and (spread > 0).sum() == 16


def test_a_blurred_boundary_moves_back_to_the_edge():
    truth = torch.zeros(1, 1, 64, 64)
    truth[..., :, 29:] = 1.0
    image = 0.2 + 0.6 * truth.expand(1, 3, -1, -1)
    patches = truth.unfold(2, 16, 16).unfold(3, 16, 16).mean((-2, -1))
    blurred = interpolate(patches, size=(64, 64), mode="bilinear")
    wrong = ((blurred > 0.5) != (truth > 0.5)).sum()
    refined = pamr(image, blurred, 10, (1, 2, 4))
    assert wrong > 0 and ((refined > 0.5) != (truth > 0.5)).sum() == 0


def test_a_batch_equals_its_images_one_by_one(image, scores):
    images, maps = torch.cat([image, image.flip(3)]), torch.cat([scores, -scores])
    together = pamr(images, maps, 5, DILATIONS)
    for index in range(2):
        alone = pamr(images[index:index + 1], maps[index:index + 1], 5, DILATIONS)
        torch.testing.assert_close(together[index:index + 1], alone, atol=1e-6, rtol=0)


def test_stepping_by_hand_equals_the_whole(image, scores):
    affinity = pamr_affinity(image, DILATIONS)
    by_hand = scores
    for _ in range(6):
        by_hand = pamr_step(by_hand, affinity, DILATIONS)
    assert torch.equal(by_hand, pamr(image, scores, 6, DILATIONS))


def test_scores_of_another_size_are_resized_with_their_corners_kept(image, scores):
    small = scores[..., :8, :10]
    resized = interpolate(small, size=(31, 42), mode="bilinear", align_corners=True)
    assert torch.equal(pamr(image, small, 0), resized)
    assert torch.equal(pamr(image, small, 2), pamr(image, resized, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_survives_flat_areas(dtype, scores):
    image = torch.full((1, 3, 31, 42), 0.5)
    image[..., 20:] = 0.9
    refined = pamr(image.to(dtype), scores.to(dtype))
    assert refined.dtype == dtype and torch.isfinite(refined).all()
    exact = pamr(image.to(dtype).float(), scores.to(dtype).float())
    assert torch.equal(refined, exact.to(dtype))


def test_inputs_are_left_alone(image, scores):
    before = image.clone(), scores.clone()
    pamr(image, scores, 2)
    assert torch.equal(image, before[0]) and torch.equal(scores, before[1])


@pytest.mark.parametrize(("changes", "message"), [
    ({"image": torch.rand(3, 8, 8)}, r"image of shape \(3, 8, 8\)"),
    ({"image": torch.rand(1, 8, 8, 3)}, r"give \(B, 3, H, W\)"),
    ({"image": torch.rand(1, 3, 0, 8)}, r"image of shape \(1, 3, 0, 8\)"),
    ({"image": torch.rand(2, 3, 8, 8)}, "2 images cannot refine 1 score maps"),
    ({"scores": torch.rand(4, 8, 8)}, r"scores of shape \(4, 8, 8\)"),
    ({"scores": torch.zeros(1, 4, 8, 8, dtype=torch.long)}, "torch.int64"),
    ({"steps": -1}, "steps=-1"),
    ({"dilations": ()}, r"dilations=\(\)"),
    ({"dilations": (0, 4)}, r"dilations=\(0, 4\)")])
def test_bad_input_is_refused_by_name(changes, message):
    good = {"image": torch.rand(1, 3, 8, 8), "scores": torch.rand(1, 4, 8, 8)}
    with pytest.raises(ValueError, match=message):
        pamr(**{**good, **changes})


def test_affinities_of_another_image_or_dilation_are_refused(image, scores):
    affinity = pamr_affinity(image, DILATIONS)
    with pytest.raises(ValueError, match=r"which need \(1, 8, 31, 42\)"):
        pamr_step(scores, affinity, (2,))
    with pytest.raises(ValueError, match=r"which need \(1, 16, 30, 42\)"):
        pamr_step(scores[..., 1:, :], affinity, DILATIONS)


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(precision="fp32", device="cpu")


def test_published_settings_are_the_formula_on_the_whole_working_image(segmentor):
    scene, words = held_out_scene(0)
    vocabulary = segmentor.vocabulary(words)
    published = {"steps": 10, "dilations": (8, 16), "resolution": 1.0}
    plain, refined = (segmentor.prepare(segmentor.settings.with_changes(changes))
                      for changes in ({"use_pamr": False}, {"pamr": PamrSettings(**published)}))
    before, after = (each.predict([scene.image], vocabulary)[0] for each in (plain, refined))
    picture, = plain.read([scene.image], plain.stopwatch())
    torch.testing.assert_close(pamr(picture.working[None], before.scores[None], 10, (8, 16))[0],
                               after.scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("world", ["toy", "indoor"])
def test_by_default_areas_and_outlines_are_nearer_the_truth_than_without(segmentor, world):
    tallies = {True: Tally(), False: Tally()}
    for index in range(4):
        scene, words = held_out_scene(index, world=world)
        for on, tally in tallies.items():
            # In windows: of the whole image the embedded model leaves less to mend.
            pipeline = segmentor.prepare(segmentor.settings.with_changes(
                use_pamr=on, inference="slide", short_side=336))
            result, = pipeline.predict([scene.image], segmentor.vocabulary(words))
            tally.add(result.labels, scene.labels(words), words)
    assert SegmentorSettings().use_pamr
    assert tallies[True].iou.mean() > tallies[False].iou.mean() + 0.03
    assert tallies[True].boundary_f1() > tallies[False].boundary_f1() + 0.03


@pytest.mark.parametrize(("resolution", "grid"), [(1.0, (336, 448)), (0.333, (112, 149)),
                                                  (0.05, (17, 22))])
def test_it_works_on_a_smaller_copy_where_one_is_asked_for(segmentor, resolution, grid):
    pipeline = segmentor.prepare(segmentor.settings.with_changes(
        {"pamr.resolution": resolution, "short_side": 336}))
    scene, words = held_out_scene(0)
    result, = pipeline.predict([scene.image], segmentor.vocabulary(words))
    values = result.score_map.values
    assert (values.shape[0], values.shape[2]) == grid and result.labels.shape == (480, 640)
