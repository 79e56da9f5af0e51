"""AnyUp: the authors' own numbers, averages, windows and refusals."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import random_anyup, save_anyup
from torch import Tensor

from sclip_seg_ros.models.weights import WeightsError, checksum, read_state_dict
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.upsamplers.anyup import network as anyup
from sclip_seg_ros.segmentation.upsamplers.anyup.network import AnyUp, build_anyup, reach

GOLDEN = 2e-4
CASES = ("twice", "four", "scores", "odd", "three")
PUBLISHED = Path(os.environ.get("SCLIP_ANYUP_WEIGHTS", Path(__file__).resolve().parents[3]
                                / "../shared/data/anyup/anyup_multi_backbone.pth"))


def golden_network(data) -> AnyUp:
    state = {key[2:]: torch.from_numpy(data[key]) for key in data if key.startswith("w/")}
    return build_anyup(state, "the golden file", int(data["heads"]), float(data["window_ratio"]))


def assert_case(network: AnyUp, data, case: str, expected: str) -> None:
    out = torch.from_numpy(data[expected])
    found = network(torch.from_numpy(data[f"{case}/features"]),
                    torch.from_numpy(data[f"{case}/guidance"]), tuple(out.shape[-2:]))
    assert torch.allclose(found, out, rtol=0, atol=GOLDEN)


@pytest.mark.parametrize("case", CASES)
def test_output_matches_the_golden_output(golden_dir: Path, case: str):
    data = np.load(golden_dir / "anyup.npz")
    assert_case(golden_network(data), data, case, f"{case}/out")


@pytest.mark.parametrize("case", ["twice", "scores", "odd"])
def test_the_published_weights_give_the_golden_output(golden_dir: Path, case: str):
    data = np.load(golden_dir / "anyup.npz")
    if not PUBLISHED.is_file():
        pytest.skip(f"AnyUp's published weights are not at {PUBLISHED}")
    assert checksum(PUBLISHED) == str(data["multi_backbone/sha256"])
    network = build_anyup(read_state_dict(PUBLISHED), str(PUBLISHED))
    assert_case(network, data, case, f"multi_backbone/{case}/out")


@pytest.mark.parametrize("at_once", [1, 5000, 2**24])
def test_pieces_of_any_size_give_one_result(monkeypatch, at_once: int):
    network = random_anyup()
    features, guidance = torch.randn(2, 3, 9, 7), torch.randn(2, 3, 36, 28)
    whole = network(features, guidance)
    monkeypatch.setattr(anyup, "_WEIGHTS_AT_ONCE", at_once)
    assert torch.allclose(network(features, guidance), whole, atol=1e-6)


def test_values_stay_between_those_of_the_input():
    features = torch.randn(1, 6, 8, 9)
    found = random_anyup()(features, torch.randn(1, 3, 32, 36))
    for channel in range(6):
        assert found[:, channel].min() >= features[:, channel].min() - 1e-6
        assert found[:, channel].max() <= features[:, channel].max() + 1e-6


def test_a_place_draws_from_its_window_alone():
    network, guidance = random_anyup(), torch.randn(1, 3, 20, 40)
    features = torch.zeros(1, 2, 10, 20)
    features[0, 0, :, 0] = 1.0                     # known by where its column can be seen
    found = network(features, guidance)[0, 0]
    seen = reach(40, 20, 0.1)[:, 0]
    assert (found[:, ~seen] == 0).all()
    assert (found[:, seen] > 0).all()


def test_images_are_treated_alone():
    network = random_anyup()
    features, guidance = torch.randn(3, 5, 6, 4), torch.randn(3, 3, 24, 16)
    alone = torch.cat([network(f[None], g[None])
                       for f, g in zip(features, guidance, strict=True)])
    assert torch.allclose(network(features, guidance), alone, atol=1e-6)


@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (6, 1), (2, 2)])
def test_small_grids_work(grid: tuple[int, int]):
    found = random_anyup()(torch.randn(1, 4, *grid), torch.randn(1, 3, 4 * grid[0], 4 * grid[1]))
    assert found.shape == (1, 4, 4 * grid[0], 4 * grid[1])
    assert found.isfinite().all()


def test_other_weights_are_refused_with_what_is_wanted():
    with pytest.raises(WeightsError, match="'x.pth' holds no weights of AnyUp.*anyup_multi_backb"):
        build_anyup({"conv1.weight": Tensor([1.0])}, "x.pth")
    state = random_anyup().state_dict()
    del state["aggregation.0.weight"]
    with pytest.raises(WeightsError, match="aggregation.0.weight"):
        build_anyup(state, "x.pth")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(save_anyup(tmp_path_factory.mktemp("anyup") / "anyup.pth"))


@pytest.fixture(scope="module")
def segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(precision="fp32")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("inference", ["slide", "whole"])
def test_the_pipeline_enlarges_stitched_scores_once_an_image(segmentor, weights, inference: str):
    words = segmentor.vocabulary(["floor", "cup"])
    settings = SegmentorSettings(precision="fp32", inference=inference, crop=48, stride=32,
                                 use_pamr=False)
    on = segmentor.prepare(settings.with_changes(
        use_anyup=True, anyup__source=str(weights), anyup__factor=2.0))
    image = picture(64, 96)
    plain = segmentor.prepare(settings).predict([image], words)[0]
    finer = on.predict([image], words)[0]
    assert finer.scores.shape == plain.scores.shape
    assert (finer.scores - plain.scores).abs().max() > 1e-3
    for mine, before in zip(finer.scores, plain.scores, strict=True):  # averages of cells
        assert before.min() - 0.05 < mine.min() and mine.max() < before.max() + 0.05
    assert "upsample" in finer.stage_ms and "upsample" not in plain.stage_ms
    images = [image, picture(50, 61, 1), picture(64, 96, 2)]
    for joint, one in zip(on.predict(images, words), images, strict=True):
        alone = on.predict([one], words)[0]
        assert (joint.scores - alone.scores).abs().max() < 1e-4


def test_features_kept_can_be_enlarged_for_other_words(segmentor, weights):
    pipeline = segmentor.prepare(SegmentorSettings(
        precision="fp32", inference="whole").with_changes(
            use_anyup=True, anyup__source=str(weights)))
    words, others = segmentor.vocabulary(["floor", "cup"]), segmentor.vocabulary(["wall"])
    watch = pipeline.stopwatch()
    pictures = pipeline.read([picture(64, 96)], watch)
    features = pipeline.look(pictures, words, watch)
    kept = pipeline.label(pictures, pipeline.score(features, others, watch), others, watch)[0]
    new = pipeline.predict([picture(64, 96)], others)[0]
    assert torch.allclose(kept.scores, new.scores, atol=1e-6)


def test_weights_of_another_checksum_are_refused(segmentor, weights):
    wrong = "0" * 64
    for pin, told in ((wrong, f"SHA-256 {checksum(weights)}, not {wrong}; .*correct anyup.source"),
                      ("00aa", "'.*#sha256=00aa' ends in no SHA-256")):
        with pytest.raises(WeightsError, match=told):
            segmentor.prepare(SegmentorSettings(precision="fp32").with_changes(
                use_anyup=True, anyup__source=f"{weights}#sha256={pin}"))


def test_two_upsamplers_at_once_are_refused():
    with pytest.raises(ValueError, match="use_loftup and use_anyup cannot both be on"):
        SegmentorSettings(use_loftup=True, use_anyup=True)
