"""ResCLIP as the design documents describe it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from sclip_seg_ros.segmentation.resclip.documents import (
    feature_correlation,
    merge_scales,
    similarity_pyramid,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("grid", [(5, 7), (8, 8), (1, 1)])
def test_correlation_is_the_documents_formula(grid: tuple[int, int]):
    features = draw(2, 6, *grid)
    flat = features.flatten(2).mT
    unit = flat / flat.norm(dim=-1, keepdim=True)
    attention = torch.softmax(unit @ unit.mT / 0.07, dim=-1)
    expected = (flat + 0.3 * attention @ flat).mT.reshape(features.shape)
    assert torch.allclose(feature_correlation(features), expected, atol=1e-5)


def test_weight_zero_changes_nothing():
    features = draw(2, 6, 4, 5)
    assert torch.equal(feature_correlation(features, weight=0.0), features)


def test_uniform_features_only_grow():
    features = draw(1, 6, 1, 1).expand(1, 6, 4, 4)
    assert torch.allclose(feature_correlation(features, weight=0.3), 1.3 * features, atol=1e-5)


def test_correlation_pulls_noisy_places_towards_their_kind():
    kind = torch.eye(16)[:2].repeat_interleave(32, dim=0)       # 64 places of two kinds
    noisy = normalize(kind + 0.15 * draw(64, 16), dim=1)
    features = noisy.T.reshape(1, 16, 8, 8)
    refined = feature_correlation(features, weight=0.3).flatten(2)[0].T
    before, after = (cosine_similarity(places, kind).mean() for places in (noisy, refined))
    assert after > before + 0.02


def test_correlation_does_not_look_at_places_but_at_likeness():
    features = draw(1, 6, 3, 4)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = features.flatten(2)[..., order].reshape(features.shape)
    expected = feature_correlation(features).flatten(2)[..., order].reshape(features.shape)
    assert torch.allclose(feature_correlation(shuffled), expected, atol=1e-5)


def test_images_are_treated_alone():
    features, words = draw(3, 6, 6, 9), draw(4, 6)
    for function in (feature_correlation, lambda batch: similarity_pyramid(batch, words)):
        alone = torch.cat([function(one[None]) for one in features])
        assert torch.allclose(function(features), alone, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite(dtype: torch.dtype):
    features = draw(1, 6, 6, 9).to(dtype)
    features[..., 0, 0] = 0.0
    assert feature_correlation(features).isfinite().all()
    assert similarity_pyramid(features, draw(4, 6).to(dtype)).isfinite().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float):
    with pytest.raises(ValueError, match=f"temperature={temperature} must be positive"):
        feature_correlation(draw(1, 6, 2, 2), temperature=temperature)


@pytest.mark.parametrize("grid", [(14, 14), (3, 5), (1, 1), (21, 28)])
def test_all_weight_on_the_finest_scale_is_plain_similarity(grid: tuple[int, int]):
    features, words = draw(2, 6, *grid), draw(4, 6)
    plain = cosine_similarity(features[:, None], words[None, :, :, None, None], dim=2)
    assert torch.allclose(similarity_pyramid(features, words, blend=1.0), plain, atol=1e-5)


@pytest.mark.parametrize("grid", [(14, 14), (3, 5), (1, 1), (21, 28)])
def test_scores_stay_cosines_and_keep_the_grid(grid: tuple[int, int]):
    found = similarity_pyramid(50.0 * draw(2, 6, *grid), 9.0 * draw(4, 6))
    assert found.shape == (2, 4, *grid)
    assert found.abs().max() <= 1.0 + 1e-5


def test_a_uniform_map_keeps_its_similarity():
    words = draw(4, 6)
    features = words[2][None, :, None, None].expand(1, 6, 8, 12)
    expected = cosine_similarity(words[2:3], words)[None, :, None, None].expand(1, 4, 8, 12)
    assert torch.allclose(similarity_pyramid(features, words), expected, atol=1e-5)


def test_the_pyramid_weakens_a_lone_place_and_keeps_a_region():
    words = torch.eye(4)
    features = words[0][None, :, None, None].repeat(1, 1, 16, 16)
    features[:, :, 5, 5] = words[1][None]
    features[:, :, :, 8:] = words[2][None, :, None, None]
    found = similarity_pyramid(features, words)
    assert found[0, 1, 5, 5] < 0.75
    assert found[0, 2, :, 12:].min() > 0.95
    assert found[0, 0, :, :3].min() > 0.95


def test_scales_are_merged_from_coarse_to_fine():
    coarse, middle, fine = (torch.full((1, 2, side, side), value)
                            for side, value in ((1, 1.0), (2, 10.0), (4, 100.0)))
    found = merge_scales([coarse, middle, fine], blend=0.6)
    expected = 0.6 * 100.0 + 0.4 * (0.6 * 10.0 + 0.4 * 1.0)
    assert found.shape == (1, 2, 4, 4)
    assert torch.allclose(found, torch.full_like(found, expected))


def test_coarse_maps_are_enlarged_bilinearly():
    coarse = torch.tensor([[[[0.0, 1.0]]]])
    found = merge_scales([coarse, torch.zeros(1, 1, 1, 4)], blend=0.0)
    assert torch.allclose(found, torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]]))


@pytest.mark.parametrize("blend", [-0.1, 1.5])
def test_a_blend_that_is_no_share_is_refused(blend: float):
    with pytest.raises(ValueError, match=f"blend={blend} is not a share"):
        similarity_pyramid(draw(1, 6, 4, 4), draw(2, 6), blend)
