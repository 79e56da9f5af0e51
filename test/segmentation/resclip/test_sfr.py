"""Semantic feedback: first-pass labels and the same-label matrix."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sclip_seg_ros.segmentation.resclip import feedback as sfr
from sclip_seg_ros.segmentation.resclip.feedback import first_pass_labels, semantic_matrix

GRIDS = [(4, 4), (3, 5), (5, 3), (2, 6), (1, 8), (6, 6)]


def label_maps(height: int, width: int, batch: int = 3, count: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, count, (batch, height, width), generator=generator)


def spelled_out(labels: list[list[int]]) -> Tensor:
    """Build M pair by pair in plain Python, without the class token."""
    height, width = len(labels), len(labels[0])
    places = [(y, x) for y in range(height) for x in range(width)]
    longest = max(height, width) - 1
    same = []
    for here in places:
        row = []
        for there in places:
            own = labels[here[0]][here[1]]
            apart = max(abs(here[0] - there[0]), abs(here[1] - there[1]))
            path = [[round((1 - step / longest) * start + step / longest * end)
                     for start, end in zip(here, there, strict=True)]
                    for step in range(apart + 1)] if longest else []
            value = 1.0 if labels[there[0]][there[1]] == own else 0.0
            if any(labels[y][x] != own for y, x in path):
                value *= math.exp(-apart / longest)
            row.append(value)
        same.append(row)
    reach = (min(len(places), 31) | 1) // 2
    rows = []
    for row in same:
        blurred = [sum(row[other] * math.exp(-(other - place) ** 2 / 50.0)
                       for other in range(max(0, place - reach), min(len(row), place + reach + 1)))
                   for place in range(len(row))]
        rows.append([value / sum(blurred) for value in blurred])
    return torch.tensor(rows)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_matrix_is_the_definition_spelled_out(grid: tuple[int, int]):
    labels = label_maps(*grid)
    found = semantic_matrix(labels)
    for matrix, one in zip(found, labels, strict=True):
        assert torch.allclose(matrix[1:, 1:], spelled_out(one.tolist()), atol=1e-5)


@pytest.mark.parametrize("grid", GRIDS + [(14, 14), (21, 28), (1, 1)])
def test_rows_add_up_to_one_and_the_class_token_has_no_part(grid: tuple[int, int]):
    found = semantic_matrix(label_maps(*grid))
    count = grid[0] * grid[1]
    assert found.shape == (3, 1 + count, 1 + count)
    assert torch.allclose(found[:, 1:].sum(-1), torch.ones(3, count), atol=1e-5)
    assert not found[:, 0].any() and not found[:, :, 0].any()
    assert (found >= 0).all()


def test_one_label_leaves_a_constant_up_to_the_ends_of_the_gaussian():
    inner = semantic_matrix(torch.full((1, 10, 12), 4))[0, 1:, 1:]
    middle = inner[:, 15:-15]
    assert torch.allclose(middle, middle[:1, :1].expand_as(middle), atol=1e-7)
    assert (inner[:, 0] < 0.6 * inner[:, 60]).all()  # half of the Gaussian lies beyond the end
    assert torch.equal(inner, inner[:1].expand_as(inner))


def test_a_patch_prefers_its_own_label():
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, 4:] = 1
    inner = semantic_matrix(labels)[0, 1:, 1:]
    upper = torch.arange(64) < 32
    assert (inner[upper][:, upper].mean() > 5 * inner[upper][:, ~upper].mean())
    assert (inner[~upper][:, ~upper].mean() > 5 * inner[~upper][:, upper].mean())


def test_a_label_between_weakens_what_lies_behind_it():
    """Two islands of one label: each gives more to itself than to the other."""
    labels = torch.zeros(1, 1, 60, dtype=torch.long)
    labels[..., 25:35] = 1
    inner = semantic_matrix(labels)[0, 1:, 1:]
    assert inner[2, 10] > 1.5 * inner[2, 50]
    connected = semantic_matrix(torch.zeros_like(labels))[0, 1:, 1:]
    assert torch.isclose(connected[2, 10], connected[2, 45], rtol=0.05)


def test_only_equality_of_labels_counts_not_their_numbers():
    labels = label_maps(5, 7)
    renamed = torch.tensor([40, 7, 19])[labels]
    assert torch.equal(semantic_matrix(labels), semantic_matrix(renamed))


@pytest.mark.parametrize("grid", [(14, 14), (9, 16)])
def test_a_batch_equals_one_by_one(grid: tuple[int, int]):
    labels = label_maps(*grid, batch=5)
    alone = torch.cat([semantic_matrix(one[None]) for one in labels])
    assert torch.allclose(semantic_matrix(labels), alone, atol=1e-5)


@pytest.mark.parametrize("pairs", [1, 500, 10_000])
def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch, pairs: int):
    labels = label_maps(7, 9)
    whole = semantic_matrix(labels)
    monkeypatch.setattr(sfr, "PAIRS_AT_ONCE", pairs)
    assert torch.allclose(semantic_matrix(labels), whole, atol=1e-6)


def halves(batch: int = 1, side: int = 96, patch: int = 16) -> tuple[Tensor, Tensor]:
    """Return features whose left half is query 1 and right half query 2, and images to match."""
    grid = side // patch
    features = torch.zeros(batch, 3, grid, grid)
    features[:, 1, :, :grid // 2] = 1.0
    features[:, 2, :, grid // 2:] = 1.0
    images = torch.full((batch, 3, side, side), -1.0)
    images[..., side // 2:] = 1.0
    return features, images


def test_patches_get_the_query_they_look_like():
    labels = first_pass_labels(*halves(), torch.eye(3), 16, logit_scale=40.0, threshold=0.25)
    assert labels.tolist() == [[[1] * 3 + [2] * 3] * 6]


def test_unsure_pixels_get_query_zero():
    labels = first_pass_labels(*halves(), torch.eye(3), 16, logit_scale=1.0, threshold=0.99)
    assert not labels.any()


def test_refinement_follows_the_image_where_features_are_coarse():
    """A colour edge inside a patch column decides it: the features' own edge is 1 patch away."""
    features, images = halves(side=192)
    shifted = images.roll(16, dims=-1)
    shifted[..., :16] = images[..., :16]
    labels = first_pass_labels(features, shifted, torch.eye(3), 16, 40.0, 0.0)
    straight = first_pass_labels(features, images, torch.eye(3), 16, 40.0, 0.0)
    assert (labels == 1).sum() > (straight == 1).sum()


def test_pixels_beyond_the_grid_are_not_counted():
    features, images = halves()
    wider = torch.nn.functional.pad(images, (0, 7, 0, 9), mode="replicate")
    labels = first_pass_labels(features, wider, torch.eye(3), 16, 40.0, 0.0)
    assert labels.shape == (1, 6, 6)
    assert labels[0, :, 0].eq(1).all() and labels[0, :, -1].eq(2).all()


def test_labels_do_not_depend_on_the_rest_of_the_batch(monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 8, 4, 6, generator=generator)
    images = torch.randn(4, 3, 64, 96, generator=generator)
    words = torch.randn(5, 8, generator=generator)
    together = first_pass_labels(features, images, words, 16, 40.0, 0.25)
    assert together.unique().numel() > 1
    monkeypatch.setattr(sfr, "SCORES_AT_ONCE", 1)
    assert torch.equal(first_pass_labels(features, images, words, 16, 40.0, 0.25), together)


def test_one_query_labels_everything():
    features, images = halves(batch=2)
    labels = first_pass_labels(features, images, torch.ones(1, 3), 16, 40.0, 0.5)
    assert labels.shape == (2, 6, 6) and not labels.any()
