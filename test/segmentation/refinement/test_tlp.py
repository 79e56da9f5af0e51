"""Label propagation: the authors' own numbers, the linear system solved outright, hard inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_tower import golden_names
from torch import Tensor

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.refinement.anytime import Iterations
from sclip_seg_ros.segmentation.refinement.refinement import Context
from sclip_seg_ros.segmentation.refinement.tlp import (
    LabelSystem,
    Tlp,
    TlpSettings,
    own_share,
    propagate,
)

GOLDEN = 2e-4
CASES = sorted({name.partition("/")[0] for name in golden_names("pearl_tlp.npz")
                if name.endswith("/grid_cells")})


def steps(count: int) -> Iterations:
    return Iterations(count, None, "cpu")


def inputs(batch: int = 1, queries: int = 4, height: int = 40,
           width: int = 56) -> tuple[Tensor, Tensor, Tensor]:
    """Return images of flat halves with grain, scores, and words."""
    generator = torch.Generator().manual_seed(3)
    images = 0.02 * torch.rand(batch, 3, height, width, generator=generator) + 0.2
    images[..., width // 2:] += 0.5
    scores = 0.25 + 0.05 * torch.randn(batch, queries, height, width, generator=generator)
    words = torch.nn.functional.normalize(torch.randn(queries, 16, generator=generator), dim=1)
    return images, scores, words


def refined(images: Tensor, scores: Tensor, words: Tensor, settings: TlpSettings,
            progress: Iterations | None = None) -> Tensor:
    context = Context(words, lambda images: pytest.fail("it does not ask the tower"))
    return Tlp().in_context(context)(images, scores, settings, progress or steps(settings.steps))


@pytest.mark.parametrize("case", CASES or ["absent"])
def test_matches_the_golden_propagation(golden_dir: Path, case: str):
    data = np.load(golden_dir / "pearl_tlp.npz")
    image, scores, words = (torch.from_numpy(data[f"{case}/{name}"])
                            for name in ("image", "scores", "text_features"))
    system = LabelSystem.of(image, scores, words, int(data[f"{case}/grid_cells"]))
    expected = {name: torch.from_numpy(data[f"{case}/{name}"]) for name in (
        "pooled", "W", "edges_right", "edges_down", "step1", "step2", "step5", "step25", "out")}
    assert torch.allclose(own_share(words), torch.from_numpy(data[f"{case}/S"]).diagonal(),
                          atol=GOLDEN)
    for found, name in ((system.scores, "pooled"), (system.confidence, "W"),
                        (system.right, "edges_right"), (system.down, "edges_down")):
        assert torch.allclose(found, expected[name], rtol=0, atol=GOLDEN), name
    for count in (1, 2, 5, 25):
        found = propagate(system, count, steps(count))
        assert torch.allclose(found, expected[f"step{count}"], rtol=0, atol=GOLDEN), count
    # A constant shift of each channel, as normalisation makes, changes nothing.
    deviation = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(3, 1, 1)
    out = refined(image * deviation + 0.4, scores, words,
                  TlpSettings(cells=int(data[f"{case}/grid_cells"])))
    assert torch.allclose(out, expected["out"], rtol=0, atol=GOLDEN)


def test_many_steps_solve_the_system():
    images, scores, words = inputs(height=12, width=14)
    system = LabelSystem.of(images, scores, words, 80)
    cells = 12 * 14
    matrix = torch.stack([system.apply(unit.view(1, 1, 12, 14)).flatten()
                          for unit in torch.eye(cells)], dim=1).double()
    wanted = (system.confidence * system.scores)[0].flatten(1).T.double()
    expected = torch.linalg.solve(matrix, wanted).T.float().view(1, -1, 12, 14)
    assert torch.allclose(propagate(system, 400, steps(400)), expected, atol=1e-4)


def test_scores_spread_within_a_surface_and_stop_at_its_edge():
    images, scores, words = inputs()
    scores = torch.full_like(scores, 0.2)
    scores[:, 0, 4:8, 4:8] = 0.4                      # one sure spot in the left half
    out = refined(images, scores, words, TlpSettings(steps=25))
    gained = (out - scores)[0, 0]
    left, right = gained[9:16, 4:20].mean(), gained[9:16, 36:52].mean()
    assert left > 10 * right.abs()


def test_a_batch_equals_one_by_one_and_a_refusal_stops_it():
    images, scores, words = inputs(batch=3)
    settings = TlpSettings(steps=6, cells=20)
    together = refined(images, scores, words, settings)
    alone = torch.cat([refined(images[i:i + 1], scores[i:i + 1], words, settings)
                       for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-6)
    progress = Iterations(6, lambda ran: ran < 2, "cpu")
    stopped = refined(images, scores, words, settings, progress)
    assert progress.ran == 2
    assert torch.equal(stopped, refined(images, scores, words, TlpSettings(steps=2, cells=20)))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (16, 16)])
def test_flat_and_tiny_images_give_numbers(size: tuple[int, int]):
    words = torch.eye(3)
    out = refined(torch.full((1, 3, *size), 0.5), torch.full((1, 3, *size), 0.25), words,
                  TlpSettings())
    assert torch.allclose(out, torch.full_like(out, 0.25), atol=1e-5)


def test_it_runs_in_the_pipeline():
    segmentor = SCLIPSegmentor(use_tlp=True, tlp__steps=7, use_pamr=False, precision="fp32")
    picture = np.random.default_rng(0).integers(0, 256, (60, 81, 3), dtype=np.uint8)
    words = segmentor.vocabulary(["floor|carpet", "wall", "cup"])
    result = segmentor.predict_dense(picture, words)
    assert result.iterations == {"tlp": 7}
    assert result.labels.shape == (60, 81)
    segmentor.settings = segmentor.settings.with_changes(use_tlp=False)
    assert not torch.allclose(segmentor.predict_dense(picture, words).scores, result.scores,
                              atol=1e-3)
