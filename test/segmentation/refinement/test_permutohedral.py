"""The permutohedral lattice: against a hash table, against Gaussians, and exact identities."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from sclip_seg_ros.segmentation.refinement.dense_crf.permutohedral import RUN, build_lattice


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def grid(height: int, width: int, deviation: float) -> Tensor:
    """Return (2, H W) pixel places in standard deviations."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y]).reshape(2, -1) / deviation


def place_by_sorting(feature: list[float]) -> tuple[list[tuple[int, ...]], list[float]]:
    """Return a point's vertices and weights as section 3 of Adams et al. (2010) describes them."""
    d = len(feature)
    scaled = [value * math.sqrt(2 / 3) * (d + 1) / math.sqrt((i + 1) * (i + 2))
              for i, value in enumerate(feature)]
    point = [sum(scaled[i:]) - (i * scaled[i - 1] if i else 0.0) for i in range(d + 1)]
    base = [round(value / (d + 1)) * (d + 1) for value in point]
    order = sorted(range(d + 1), key=lambda i: base[i] - point[i])
    excess = sum(base) // (d + 1)
    for i in (order[-excess:] if excess > 0 else order[:-excess] if excess < 0 else []):
        base[i] -= math.copysign(d + 1, excess)
    order = sorted(range(d + 1), key=lambda i: base[i] - point[i])
    gaps = [(point[i] - base[i]) / (d + 1) for i in order]
    weights = [1 - gaps[0] + gaps[-1]] + [gaps[d - r] - gaps[d - r + 1] for r in range(1, d + 1)]
    vertices = [tuple(int(base[i]) + r - (d + 1) * (order.index(i) > d - r) for i in range(d + 1))
                for r in range(d + 1)]
    return vertices, weights


def filter_by_hash_table(features: Tensor, values: Tensor) -> Tensor:
    """Splat, blur and slice one channel with dictionaries, point by point."""
    d = len(features)
    places = [place_by_sorting(feature) for feature in features.double().T.tolist()]
    table = defaultdict(float)
    for (vertices, weights), value in zip(places, values.tolist(), strict=True):
        for vertex, weight in zip(vertices, weights, strict=True):
            table[vertex] += weight * value
    for axis in range(d + 1):
        step = [d if i == axis else -1 for i in range(d + 1)]
        table = {vertex: value + 0.5 * sum(
            table.get(tuple(a + sign * b for a, b in zip(vertex, step, strict=True)), 0.0)
            for sign in (1, -1)) for vertex, value in table.items()}
    return torch.tensor([sum(weight * table[vertex] for vertex, weight in
                             zip(vertices, weights, strict=True)) / (1 + 2**-d)
                         for vertices, weights in places])


def test_a_crowded_vertex_is_summed_in_short_runs():
    """Of a flat wall a vertex has thousands of members, and on a GPU one thread adds up a run."""
    lattice, values = build_lattice(random(5, 3000) * 0.05), random(3000, 4, seed=1)
    members = torch.bincount(lattice.corners.flatten(), minlength=lattice.vertices)
    assert members.max() > 10 * RUN
    assert lattice.runs.diff().max() <= RUN
    expected = torch.zeros(lattice.vertices + 1, 4, dtype=torch.float64)
    for corner, weight in zip(lattice.corners.T, lattice.weights.T, strict=True):
        expected.index_add_(0, corner, (weight[:, None] * values).double())
    torch.testing.assert_close(lattice.splat(values).double(), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 7])
def test_it_does_what_a_hash_table_does(dimensions):
    features, values = random(dimensions, 300) * 1.5, random(300, 1, seed=1)
    expected = filter_by_hash_table(features, values[:, 0])
    torch.testing.assert_close(build_lattice(features).filter(values)[:, 0], expected,
                               atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("features", [
    grid(24, 32, 3.0), torch.cat([grid(24, 32, 8.0), random(3, 768) * 0.7])], ids=["2d", "5d"])
def test_it_approximates_the_gaussian_of_the_right_width(features):
    """Normalised, because the lattice's kernel is a Gaussian up to its height."""
    values = random(768, 2, seed=3)
    lattice = build_lattice(features)
    found = lattice.filter(values) / lattice.filter(torch.ones(768, 1))
    apart = torch.cdist(features.T, features.T).square()

    def error(width: float) -> Tensor:
        kernel = torch.exp(-0.5 * apart / width**2)
        exact = kernel @ values / kernel.sum(1, keepdim=True)
        return (found - exact).norm() / (exact - exact.mean(0)).norm()

    assert error(1.0) < 0.3
    assert error(1.0) < min(error(0.8), error(1.25))


@pytest.mark.parametrize("dimensions", [2, 5])
def test_slicing_is_the_transpose_of_splatting(dimensions):
    lattice = build_lattice(random(dimensions, 500))
    at_points = random(500, 3, seed=1)
    at_vertices = random(lattice.vertices + 1, 3, seed=2)
    at_vertices[-1] = 0
    torch.testing.assert_close((lattice.splat(at_points) * at_vertices).sum(),
                               (at_points * lattice.slice(at_vertices)).sum(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dimensions", [2, 5])
def test_weights_are_shares(dimensions):
    lattice = build_lattice(random(dimensions, 500) * 5)
    assert lattice.weights.amin() > -1e-5
    torch.testing.assert_close(lattice.weights.sum(1), torch.ones(500), atol=1e-5, rtol=0)
    torch.testing.assert_close(lattice.splat(torch.ones(500, 1)).sum(), torch.tensor(500.0))


def test_neighbours_are_mutual_and_the_empty_row_stays_empty():
    lattice = build_lattice(random(3, 400))
    everyone = torch.arange(lattice.vertices + 1)
    for line in lattice.lines.long():
        itself, before, after = line.unbind(1)
        assert torch.equal(itself, everyone)
        known = before < lattice.vertices
        assert known.any() and not known.all()
        assert torch.equal(after[before[known]], everyone[known])
        assert (after < lattice.vertices).sum() == known.sum()
        assert before[-1] == after[-1] == lattice.vertices


def test_the_root_of_the_row_sums_is_kept_once_normalised():
    """D^-1/2 K D^-1/2 has D^1/2 1 as a fixed point."""
    lattice = build_lattice(torch.cat([grid(12, 16, 4.0), random(3, 192)]))
    root = lattice.filter(torch.ones(192, 1)).sqrt()
    torch.testing.assert_close(lattice.normalised().filter(root), root, rtol=1e-5, atol=0)


def test_points_in_one_place_get_their_mean():
    lattice = build_lattice(torch.full((5, 60), 0.3)).normalised()
    values = random(60, 4)
    torch.testing.assert_close(lattice.filter(values), values.mean(0).expand(60, 4),
                               atol=1e-6, rtol=0)


def test_a_lonely_point_keeps_its_value():
    values = torch.tensor([[0.25, -3.0]])
    torch.testing.assert_close(build_lattice(random(5, 1)).normalised().filter(values), values)


def test_far_points_do_not_mix():
    features = random(5, 100)
    features[0, 50:] += 40
    values = torch.zeros(100, 1)
    values[:50] = 1
    filtered = build_lattice(features).filter(values)
    assert filtered[:50].amin() > 0 and torch.equal(filtered[50:], torch.zeros(50, 1))


def test_a_chosen_channel_does_not_depend_on_the_others():
    lattice, values = build_lattice(random(5, 200)), random(200, 21, seed=1)
    torch.testing.assert_close(lattice.filter(values)[:, 4:5],
                               lattice.filter(values[:, 4:5].contiguous()))


def test_the_same_points_give_the_same_bits():
    features, values = random(5, 40000), random(40000, 3, seed=1)
    first, second = (build_lattice(features.clone()).filter(values) for _ in range(2))
    assert torch.equal(first, second)


def test_the_order_of_the_points_does_not_matter():
    features, values = random(5, 3000), random(3000, 2, seed=1)
    shuffled = torch.randperm(3000, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        build_lattice(features[:, shuffled]).filter(values[shuffled]),
        build_lattice(features).filter(values)[shuffled], atol=1e-4, rtol=1e-4)


def test_too_many_cells_to_number_are_refused():
    with pytest.raises(ValueError, match="too many to number; give larger kernel widths"):
        build_lattice(random(5, 10) * 1e6)
