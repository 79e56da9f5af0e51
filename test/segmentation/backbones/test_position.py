"""Fitting the position embedding to other patch grids."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.segmentation.backbones.families.position_embedding import (
    interpolate_position_embedding,
)

NATIVE = (14, 14)


def table(native: tuple[int, int] = NATIVE, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1 + native[0] * native[1], width, generator=generator)


def plane(rows: Tensor, grid: tuple[int, int]) -> Tensor:
    return rows[1:].reshape(*grid, -1)


def test_the_native_grid_gets_the_table_itself():
    learnt = table()
    assert interpolate_position_embedding(learnt, NATIVE, NATIVE) is learnt


@pytest.mark.parametrize("grid", [(14, 20), (21, 28), (7, 9), (1, 1), (30, 40)])
def test_every_grid_gets_a_row_a_patch_and_the_class_token_keeps_its_own(grid):
    learnt = table()
    fitted = interpolate_position_embedding(learnt, NATIVE, grid)
    assert fitted.shape == (1 + grid[0] * grid[1], learnt.shape[1])
    assert torch.equal(fitted[0], learnt[0])
    assert fitted.isfinite().all()


def test_a_grid_of_equal_count_but_other_shape_is_interpolated():
    """Deliberately unlike the reference, which counts tokens and gives 7x28 the 14x14 table."""
    learnt = table()
    fitted = interpolate_position_embedding(learnt, NATIVE, (7, 28))
    assert fitted.shape == learnt.shape
    assert not torch.allclose(fitted[1:], learnt[1:], atol=0.1)
    wide, native = plane(fitted, (7, 28)), plane(learnt, NATIVE)
    columns = torch.stack([wide[:, :14].mean((0, 1)), wide[:, 14:].mean((0, 1))])
    expected = torch.stack([native[:, :7].mean((0, 1)), native[:, 7:].mean((0, 1))])
    assert torch.allclose(columns, expected, atol=0.1)  # left stays left, right stays right


def test_a_constant_table_stays_constant():
    learnt = torch.full((1 + 14 * 14, 3), 0.7)
    fitted = interpolate_position_embedding(learnt, NATIVE, (21, 37))
    assert torch.allclose(fitted, torch.full_like(fitted, 0.7), atol=1e-6)


def test_rows_and_columns_are_treated_alike():
    learnt = table()
    swapped = torch.cat([learnt[:1], plane(learnt, NATIVE).transpose(0, 1).flatten(0, 1)])
    upright = interpolate_position_embedding(learnt, NATIVE, (9, 20))
    lying = interpolate_position_embedding(swapped, NATIVE, (20, 9))
    assert torch.allclose(plane(upright, (9, 20)), plane(lying, (20, 9)).transpose(0, 1), atol=1e-5)


@pytest.mark.parametrize("native", [(14, 14), (4, 4), (5, 8)])
def test_the_guard_against_rounding_is_part_of_the_result(native):
    """The reference's scale factor is not the ratio of the sides; published scores need it."""
    learnt, grid = table(native), (native[0] + 7, native[1] + 14)
    plain = interpolate(plane(learnt, native).permute(2, 0, 1)[None], size=grid, mode="bicubic",
                        align_corners=False)[0].permute(1, 2, 0)
    fitted = plane(interpolate_position_embedding(learnt, native, grid), grid)
    difference = (fitted - plain).norm() / plain.norm()
    assert 0.005 < difference < 0.3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tables_stay_half_and_near(dtype):
    fitted = interpolate_position_embedding(table().to(dtype), NATIVE, (21, 28))
    exact = interpolate_position_embedding(table().to(dtype).float(), NATIVE, (21, 28))
    assert fitted.dtype == dtype
    assert torch.allclose(fitted.float(), exact, atol=3e-2)


def test_a_table_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="197 rows.*16x16.*257"):
        interpolate_position_embedding(table(), (16, 16), (20, 20))


def test_an_empty_grid_is_refused():
    with pytest.raises(ValueError, match="0x5 is empty"):
        interpolate_position_embedding(table(), NATIVE, (0, 5))
