"""What LoftUp is trained for: refined targets, losses, and the teacher's view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sclip_research.training.loftup.distillation import (
    MovingAverage,
    plan_crop,
    student_view,
    teacher_labels,
    teacher_view,
    to_student_size,
)
from sclip_research.training.loftup.losses import (
    affinity_error,
    contrast_error,
    direction_error,
    squared_error,
)
from sclip_research.training.loftup.targets import coverage, refined_target
from torch import nn
from torch.nn.functional import interpolate


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Draw the same inputs in every run."""
    torch.manual_seed(0)


@pytest.mark.parametrize("alpha", [0.0, 0.8, 1.0])
def test_at_full_resolution_the_target_is_the_papers(alpha):
    features = torch.randn(2, 5, 4, 4)
    labels = torch.randint(0, 3, (2, 16, 16))
    bicubic = interpolate(features, size=(16, 16), mode="bicubic", align_corners=False)
    wanted = bicubic.clone()
    for image in range(2):
        for mask in (1, 2):
            inside = labels[image] == mask
            part = bicubic[image][:, inside]
            wanted[image][:, inside] = alpha * part.mean(1, keepdim=True) + (1 - alpha) * part
    target = refined_target(features, labels, (16, 16), alpha)
    torch.testing.assert_close(target.features, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(target.weights, torch.ones(2, 16, 16))
    assert target.means.shape == (4, 5)


def test_an_edge_inside_an_output_pixel_mixes_by_area():
    labels = torch.ones(1, 8, 8, dtype=torch.int32)
    labels[..., 3:] = 2                                  # half of the second column
    features = torch.randn(1, 3, 2, 2)
    target = refined_target(features, labels, (4, 4), alpha=1.0)
    first, second = target.means
    torch.testing.assert_close(target.features[0, :, 0, 0], first)
    torch.testing.assert_close(target.features[0, :, 0, 1], 0.5 * first + 0.5 * second)
    torch.testing.assert_close(target.features[0, :, 0, 2], second)


def test_coverage_adds_up_where_masks_lie():
    labels = torch.zeros(12, 12, dtype=torch.int32)
    labels[:6] = 4
    labels[6:9, :4] = 9
    shares = coverage(labels, (6, 6))
    assert shares.shape == (2, 6, 6)
    torch.testing.assert_close(shares.mean(dim=(1, 2)) * 144, torch.tensor([72.0, 12.0]))


def test_balanced_pixels_give_every_mask_the_same_say():
    labels = torch.ones(1, 16, 16, dtype=torch.int32)
    labels[:, 2:4, 2:4] = 2
    weights = refined_target(torch.randn(1, 3, 4, 4), labels, (16, 16), balance=1.0).weights
    small = labels == 2
    torch.testing.assert_close(weights[small].sum(), weights[~small].sum())
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))


@pytest.mark.parametrize("arguments, message", [
    (dict(alpha=1.5), "alpha=1.5 is out of range"),
    (dict(labels=torch.ones(2, 8, 8)), "do not fit 1 feature maps"),
    (dict(size=(9, 9)), "larger than its masks")])
def test_impossible_targets_are_refused(arguments, message):
    given = {"features": torch.zeros(1, 3, 4, 4), "labels": torch.ones(1, 8, 8), "size": (8, 8)}
    with pytest.raises(ValueError, match=message):
        refined_target(**{**given, **arguments})


def test_losses_vanish_at_the_target_and_nowhere_near_it():
    target, means = torch.randn(2, 6, 5, 5), torch.randn(4, 6)
    losses = {"squared": squared_error, "direction": direction_error, "affinity": affinity_error,
              "contrast": lambda x, y: contrast_error(x, y, means, 20.0)}
    for name, loss in losses.items():
        assert loss(target, target) == pytest.approx(0, abs=1e-5), name
        assert loss(target + torch.randn_like(target), target) > 0.05, name


def test_the_squared_error_is_relative_and_weighted():
    target = torch.randn(1, 4, 2, 2)
    assert squared_error(torch.zeros_like(target), target) == pytest.approx(1.0)
    assert squared_error(1.5 * target, target) == pytest.approx(0.25)
    wrong = target.clone()
    wrong[..., 0, 0] += 1
    weights = torch.tensor([[[0.0, 2.0], [1.0, 1.0]]])
    assert squared_error(wrong, target) > 0
    assert squared_error(wrong, target, weights) == pytest.approx(0.0)


def test_affinity_sees_no_rotation_but_direction_does():
    target = torch.randn(1, 8, 4, 4)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8))
    turned = torch.einsum("ij,bjhw->bihw", rotation, target)
    assert affinity_error(turned, target) < 1e-6 < 0.1 < direction_error(turned, target)
    places = torch.tensor([0, 3, 7])
    assert affinity_error(turned * 0 + 1, target, places) > 0


def test_the_teachers_crop_lies_where_the_students_does():
    """A picture of its own coordinates tells where a crop comes from."""
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    large = torch.stack([rows, columns, rows])[None]
    rng = np.random.default_rng(2)
    for _ in range(5):
        plan = plan_crop(large=96, small=48, output=24, rng=rng)
        assert plan.side == 12
        view = teacher_view(large, plan, small=48)
        assert view.shape == (1, 3, 48, 48)
        seen = to_student_size(view, plan)
        output = interpolate(large, size=(24, 24), mode="area")
        torch.testing.assert_close(seen, student_view(output, plan), atol=0.75, rtol=0)
        labels = teacher_labels(large[:, 0].int(), plan, 48)
        assert labels.dtype == torch.int32
        assert (labels[0, :, 0] - view[0, 0, :, 0]).abs().max() <= 1


def test_a_teacher_needs_a_larger_image():
    with pytest.raises(ValueError, match="48 pixels is not larger"):
        plan_crop(48, 48, 24, np.random.default_rng(0))


def test_the_average_follows_slowly_and_in_its_own_rhythm():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = MovingAverage(network, decay=0.9, every=2)
    nn.init.ones_(network.weight)
    values = []
    for step in range(4):
        average.update(network, step)
        values.append(average.network.weight.item())
    assert values == pytest.approx([0.0, 0.1, 0.1, 0.19])
