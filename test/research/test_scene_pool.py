"""A pool of rendered scenes on disk is never taken for another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sclip_research.training import scene_pool
from sclip_research.training.scene_pool import ScenePool


def crops(pool: ScenePool) -> list[tuple[bytes, str]]:
    """Return the pixels and the caption of one crop of each scene."""
    found = [pool.crop(index, 64, np.random.default_rng(0)) for index in range(len(pool))]
    return [(crop.image.tobytes(), crop.caption) for crop in found]


def test_an_interrupted_pool_is_not_taken_for_the_one_before(tmp_path: Path, monkeypatch) -> None:
    before = crops(ScenePool(tmp_path, 2, seed=1, workers=1))

    def interrupted(scenes: Iterator, **_) -> Iterator:
        yield next(scenes)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(scene_pool, "tqdm", interrupted)
        ScenePool(tmp_path, 2, seed=2, workers=1)
    assert crops(ScenePool(tmp_path, 2, seed=1, workers=1)) == before


def test_scenes_of_another_renderer_are_rendered_again(tmp_path: Path, monkeypatch) -> None:
    before = crops(ScenePool(tmp_path, 1, seed=1, workers=1))
    images = np.load(tmp_path / "images.npy", mmap_mode="r+")
    images[:] = 0  # as an older renderer may have left them
    images.flush()
    assert crops(ScenePool(tmp_path, 1, seed=1, workers=1)) != before
    monkeypatch.setattr(scene_pool, "SCENE_VERSION", scene_pool.SCENE_VERSION + 1)
    assert crops(ScenePool(tmp_path, 1, seed=1, workers=1)) == before


def test_scenes_of_another_height_are_others_and_crops_fit_into_them(tmp_path: Path) -> None:
    pool = ScenePool(tmp_path, 1, seed=1, workers=1, height=96)
    assert pool.image(0).shape == (96, 128, 3)
    for side in (32, 96, 112):      # as large as the scene, and larger
        crop = pool.crop(0, side, np.random.default_rng(0))
        assert crop.image.shape == (side, side, 3) and crop.mask.shape == (side, side)
    assert ScenePool(tmp_path, 1, seed=1, workers=1, height=64).image(0).shape == (64, 85, 3)
