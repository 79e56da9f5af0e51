"""DenseCRF: exact identities, a brute-force mean field, and one backend against the other."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from sclip_research.scenes import render, sample_scene
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.segmentation.refinement.dense_crf import dense_crf as dense_crf_module
from sclip_seg_ros.segmentation.refinement.dense_crf.dense_crf import (
    BACKENDS,
    dense_crf,
    memory_estimate,
    resolve_backend,
)
from sclip_seg_ros.segmentation.refinement.dense_crf.lattice import MeanField
from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CRF_BACKENDS, CrfSettings
from sclip_seg_ros.segmentation.settings import SegmentorSettings

try:
    import pydensecrf.densecrf  # noqa: F401
    INSTALLED = True
except ImportError:
    INSTALLED = False

needs_pydensecrf = pytest.mark.skipif(not INSTALLED, reason="pydensecrf is not importable; run "
                                                            "'pip install pydensecrf2'")
EVERY_CRF = ["lattice", pytest.param("pydensecrf", marks=needs_pydensecrf)]
EVERY_BACKEND = [*EVERY_CRF, "bilateral"]


@pytest.fixture
def without_pydensecrf(monkeypatch):
    """Make importing pydensecrf fail as it does where it is not installed."""
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)


def scene() -> tuple[np.ndarray, Tensor, Tensor]:
    """Return a noisy image of 3 regions, its labels, and probabilities blurred over patches."""
    height, width = 40, 48
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), dtype=np.int64)
    labels[y > 27] = 1
    labels[(y - 17) ** 2 + (x - 21) ** 2 < 110] = 2
    palette = np.array([[60, 110, 190], [90, 140, 60], [200, 70, 60]])
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    image = np.clip(palette[labels] + noise, 0, 255).astype(np.uint8)
    truth = torch.from_numpy(labels)
    onehot = torch.nn.functional.one_hot(truth, 3).permute(2, 0, 1).float()
    patches = onehot.unfold(1, 8, 8).unfold(2, 8, 8).mean((-2, -1))
    blurred = interpolate(patches[None], size=(height, width), mode="bilinear")[0]
    return image, truth, 0.2 + 0.4 * blurred


def rendered(seed: int, height: int, width: int) -> tuple[np.ndarray, Tensor]:
    """Return a rendered room and uncertain probabilities of 8 classes on patches of 16 pixels."""
    scene = render(sample_scene(np.random.default_rng(seed)), height, width)
    onehot = torch.nn.functional.one_hot(torch.from_numpy(scene.mask).long() % 8, 8)
    patches = interpolate(onehot.permute(2, 0, 1)[None].float(), (height // 16, width // 16),
                          mode="area")
    noise = torch.randn(patches.shape, generator=torch.Generator().manual_seed(seed))
    logits = interpolate(3 * patches + noise, (height, width), mode="bilinear")[0]
    return scene.image, logits.softmax(0)


def exact_mean_field(image: np.ndarray, probabilities: Tensor, settings: CrfSettings) -> Tensor:
    """Run the mean field with all N^2 pairs, each pixel's message to itself included."""
    classes, height, width = probabilities.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([y, x], -1).reshape(-1, 2).double()
    colour = torch.from_numpy(image).reshape(-1, 3).double()

    def normalised(features: Tensor) -> Tensor:
        kernel = torch.exp(-0.5 * torch.cdist(features, features).square())
        root = kernel.sum(1).rsqrt()
        return root[:, None] * kernel * root[None]

    near = normalised(place / settings.gaussian_sxy)
    alike = normalised(torch.cat([place / settings.bilateral_sxy,
                                  colour / settings.bilateral_srgb], dim=1))
    kernel = settings.gaussian_compat * near + settings.bilateral_compat * alike
    evidence = probabilities.double().clamp_min(1e-5).log().reshape(classes, -1).T
    belief = evidence.softmax(1)
    for _ in range(settings.iterations):
        belief = (evidence + kernel @ belief).softmax(1)
    return belief.T.reshape(classes, height, width)


@pytest.mark.parametrize("backend", EVERY_CRF)
@pytest.mark.parametrize("iterations", [1, 5, 10])
def test_agrees_with_the_exact_mean_field(iterations, backend):
    image, _, probabilities = scene()
    settings = CrfSettings(backend, iterations=iterations)
    refined = dense_crf(image, probabilities, settings)
    exact = exact_mean_field(image, probabilities, settings)
    assert (refined.argmax(0) == exact.argmax(0)).double().mean() >= 0.95
    assert (refined - exact).abs().mean() <= 0.02
    assert (refined - probabilities).abs().mean() > 0.1


@pytest.mark.parametrize("backend", EVERY_CRF)
def test_every_constant_of_the_settings_reaches_the_crf(backend):
    """The gate lies below what twice or half of any one constant would change."""
    image, _, probabilities = scene()
    settings = CrfSettings(backend, 2, gaussian_sxy=1.5, gaussian_compat=0.3,
                           bilateral_sxy=5.0, bilateral_srgb=4.0, bilateral_compat=0.3)
    refined = dense_crf(image, probabilities, settings)
    exact = exact_mean_field(image, probabilities, settings)
    assert (refined - exact).abs().mean() < 0.0014


@pytest.mark.parametrize("backend", EVERY_CRF)
@pytest.mark.parametrize("changes", [{"gaussian_compat": 0.0, "bilateral_compat": 0.0},
                                     {"iterations": 0}, {"iterations": 0, "resolution": 0.5}])
def test_without_messages_the_probabilities_come_back(changes, backend):
    image, _, probabilities = scene()
    probabilities = torch.cat([probabilities, torch.zeros_like(probabilities[:1])])
    probabilities = probabilities / probabilities.sum(0)
    refined = dense_crf(image, probabilities, replace(CrfSettings(backend), **changes))
    torch.testing.assert_close(refined, probabilities, atol=1.6e-5, rtol=0)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_uniform_probabilities_stay_uniform(backend):
    image, _, _ = scene()
    uniform = torch.full((4, 40, 48), 0.25)
    torch.testing.assert_close(dense_crf(image, uniform, CrfSettings(backend)), uniform,
                               atol=1e-6, rtol=0)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_boundaries_move_to_the_edges_of_the_image(backend):
    image, truth, probabilities = scene()
    refined = dense_crf(image, probabilities, CrfSettings(backend))
    wrong_before = (probabilities.argmax(0) != truth).sum()
    wrong_after = (refined.argmax(0) != truth).sum()
    assert wrong_before > 50 and wrong_after < wrong_before / 4


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_the_result_is_a_distribution_even_where_a_pixel_had_none(backend):
    image, _, probabilities = scene()
    probabilities[:, 10:30, 5:25] = 0.0
    refined = dense_crf(image, probabilities, CrfSettings(backend))
    assert torch.isfinite(refined).all() and refined.amin() >= 0
    torch.testing.assert_close(refined.sum(0), torch.ones(40, 48), atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 9), (7, 1)])
def test_tiny_images_give_a_distribution(backend, size):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    probabilities = torch.rand(3, *size).softmax(0)
    refined = dense_crf(image, probabilities, CrfSettings(backend))
    assert refined.shape == (3, *size) and torch.isfinite(refined).all()
    torch.testing.assert_close(refined.sum(0), torch.ones(size), atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_one_class_comes_back_as_it_is(backend):
    image, _, probabilities = scene()
    assert torch.equal(dense_crf(image, probabilities[:1], CrfSettings(backend)),
                       probabilities[:1])


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_images_come_as_messages_and_tensors_hold_them(backend):
    image, _, probabilities = scene()
    expected = dense_crf(image, probabilities, CrfSettings(backend))
    read_only = np.frombuffer(image.tobytes(), dtype=np.uint8).reshape(image.shape)
    planes_first = torch.from_numpy(image).permute(2, 0, 1).contiguous().permute(1, 2, 0)
    bgr_view = np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    for same in (read_only, planes_first, bgr_view):
        assert torch.equal(dense_crf(same, probabilities, CrfSettings(backend)), expected)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_is_kept(backend, dtype):
    image, _, probabilities = scene()
    probabilities = probabilities.to(dtype)
    refined = dense_crf(image, probabilities, CrfSettings(backend))
    exact = dense_crf(image, probabilities.float(), CrfSettings(backend))
    assert refined.dtype == dtype and torch.equal(refined, exact.to(dtype))


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_inputs_are_left_alone(backend):
    image, _, probabilities = scene()
    before = image.copy(), probabilities.clone()
    dense_crf(image, probabilities, CrfSettings(backend))
    assert np.array_equal(image, before[0]) and torch.equal(probabilities, before[1])


def test_the_filter_does_not_mix_across_a_strong_edge():
    image = np.zeros((16, 32, 3), dtype=np.uint8)
    image[:, 16:] = 255
    left = torch.full((16, 32), 0.2)
    left[:, :16] = 0.8
    refined = dense_crf(image, torch.stack([left, 1 - left]), CrfSettings("bilateral"))
    torch.testing.assert_close(refined[0], left, atol=1e-5, rtol=0)


def test_the_filter_follows_its_widths():
    flat = np.full((33, 33, 3), 120, dtype=np.uint8)
    spot = torch.zeros(33, 33)
    spot[16, 16] = 1.0
    probabilities = torch.stack([spot, 1 - spot])
    narrow, wide = (dense_crf(flat, probabilities, CrfSettings("bilateral", bilateral_sxy=sxy))
                    for sxy in (1.0, 4.0))
    assert wide[0, 16, 16] < narrow[0, 16, 16] < 0.5
    unfiltered = dense_crf(flat, probabilities, CrfSettings("bilateral", iterations=0))
    torch.testing.assert_close(unfiltered, probabilities, atol=1.6e-5, rtol=0)


@needs_pydensecrf
@pytest.mark.parametrize(("seed", "height", "width"), [(0, 240, 320), (1, 240, 320), (2, 240, 320),
                                                       (3, 480, 640), (4, 121, 163)])
def test_the_lattice_and_pydensecrf_agree(seed, height, width):
    image, probabilities = rendered(seed, height, width)
    ours, theirs = (dense_crf(image, probabilities, CrfSettings(backend))
                    for backend in ("lattice", "pydensecrf"))
    assert (ours.argmax(0) == theirs.argmax(0)).double().mean() >= 0.9995
    assert (ours - theirs).abs().mean() <= 1e-5
    assert (ours - probabilities).abs().mean() > 0.01


@needs_pydensecrf
@pytest.mark.parametrize("changes", [
    {"gaussian_sxy": 0.7, "gaussian_compat": 5.0}, {"bilateral_sxy": 9.0, "bilateral_srgb": 3.0},
    {"gaussian_compat": 0.0}, {"bilateral_compat": 0.0}])
def test_the_lattice_and_pydensecrf_agree_for_other_kernels(changes):
    image, probabilities = rendered(5, 120, 160)
    ours, theirs = (dense_crf(image, probabilities, CrfSettings(backend, **changes))
                    for backend in ("lattice", "pydensecrf"))
    assert (ours.argmax(0) == theirs.argmax(0)).double().mean() >= 0.999
    assert (ours - theirs).abs().mean() <= 1e-4


@pytest.mark.parametrize("classes", [15, 16, 150])
def test_classes_that_have_no_chance_change_nothing(classes):
    """The softmax has two ways, for few and for many classes."""
    image, _, probabilities = scene()
    settings = CrfSettings("lattice", iterations=3)
    many = torch.cat([probabilities, torch.zeros(classes - 3, 40, 48)])
    refined = dense_crf(image, many / many.sum(0), settings)
    few = dense_crf(image, probabilities / probabilities.sum(0), settings)
    torch.testing.assert_close(refined[:3], few, atol=2e-3, rtol=0)


def test_frames_of_other_sizes_in_between_do_not_matter():
    image, _, probabilities = scene()
    settings = CrfSettings("lattice", iterations=2)
    before = dense_crf(image, probabilities, settings)
    for size in ((8, 9), (9, 8), (30, 48)):
        dense_crf(image[:size[0], :size[1]], probabilities[:, :size[0], :size[1]], settings)
    assert torch.equal(dense_crf(image, probabilities, settings), before)


@pytest.mark.parametrize("backend", EVERY_CRF)
@pytest.mark.parametrize("resolution", [1.0, 0.5])
def test_stopped_early_it_returns_what_it_has_reached(backend, resolution):
    image, _, probabilities = scene()
    settings = CrfSettings(backend, iterations=10, resolution=resolution)
    answers = iter([True, False])
    stopped = dense_crf(image, probabilities, settings, lambda: next(answers))
    once = dense_crf(image, probabilities, replace(settings, iterations=1))
    assert torch.equal(stopped, once) and next(answers, "asked no more") == "asked no more"
    assert (stopped - dense_crf(image, probabilities, settings)).abs().max() > 0.01


def test_a_filter_that_may_not_begin_filters_nothing():
    image, _, probabilities = scene()
    unfiltered = dense_crf(image, probabilities, CrfSettings("bilateral"), lambda: False)
    torch.testing.assert_close(unfiltered, probabilities / probabilities.sum(0))


def test_the_mean_field_can_be_watched_step_by_step():
    image, _, probabilities = scene()
    settings = CrfSettings("lattice", iterations=2)
    field = MeanField(torch.from_numpy(image), probabilities, settings)
    torch.testing.assert_close(field.probabilities(), probabilities / probabilities.sum(0))
    for _ in range(2):
        field.step()
    assert torch.equal(field.probabilities(), dense_crf(image, probabilities, settings))


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_at_half_the_resolution_boundaries_still_move_to_the_edges(backend):
    image, truth, probabilities = scene()
    refined = dense_crf(image, probabilities, CrfSettings(backend, resolution=0.5))
    torch.testing.assert_close(refined.sum(0), torch.ones(40, 48), atol=1e-5, rtol=0)
    wrong_before = (probabilities.argmax(0) != truth).sum()
    assert (refined.argmax(0) != truth).sum() < wrong_before / 2


def test_half_the_resolution_nearly_gives_the_labels_of_the_full_one():
    image, probabilities = rendered(6, 240, 320)
    full, half, tiny = (dense_crf(image, probabilities, CrfSettings(resolution=share)).argmax(0)
                        for share in (1.0, 0.5, 0.1))
    before = (probabilities.argmax(0) == full).double().mean()
    assert before < 0.97 and (half == full).double().mean() >= 0.985
    assert before < (tiny == full).double().mean() < (half == full).double().mean()


def test_much_memory_is_told_once_a_size_with_the_remedy(monkeypatch, caplog):
    monkeypatch.setattr(dense_crf_module, "NOTABLE_MEMORY", 41 * 23 * 700)
    image, probabilities = rendered(1, 23, 41)
    many = torch.cat([probabilities] * 4).div(4)
    for _ in range(2):
        dense_crf(image, probabilities, CrfSettings(iterations=1))
        dense_crf(image, many, CrfSettings(iterations=1))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert f"41x23 pixels and {len(many)} classes; crf.resolution=0.5 needs" in messages[0]


def test_the_estimate_of_memory_is_near_what_was_measured():
    """Compare with the table of docs/methods.md; a reduced copy saves, and never costs."""
    for width, height, resolution, measured in ((640, 480, 1, 0.17e9), (1920, 1080, 1, 1.44e9),
                                                (2000, 1500, 1, 2.05e9),
                                                (2000, 1500, 0.5, 1.39e9)):
        estimate = memory_estimate(21, width * height, resolution)
        assert estimate == pytest.approx(measured, rel=0.25)



def test_auto_is_the_lattice_with_and_without_pydensecrf(without_pydensecrf):
    image, _, probabilities = scene()
    assert resolve_backend("auto") == "lattice"
    assert torch.equal(dense_crf(image, probabilities, CrfSettings("auto")),
                       dense_crf(image, probabilities, CrfSettings("lattice")))


def test_auto_does_not_look_for_backends_that_it_would_not_take(monkeypatch):
    """Importing what is missing would fail anew with every frame."""
    sought = []
    for name, backend in BACKENDS.items():
        monkeypatch.setitem(BACKENDS, name, replace(backend, require=lambda name=name:
                                                    sought.append(name)))
    assert resolve_backend("auto") == "lattice"
    assert sought == ["lattice"]


def test_a_missing_crf_that_was_asked_for_is_an_error_with_the_remedy(without_pydensecrf):
    image, _, probabilities = scene()
    for call in (lambda: resolve_backend("pydensecrf"),
                 lambda: dense_crf(image, probabilities, CrfSettings("pydensecrf"))):
        with pytest.raises(ImportError, match=r"pip install pydensecrf2.*\.\[crf\]"):
            call()


def test_every_backend_can_be_set():
    assert set(CRF_BACKENDS) == {"auto", *BACKENDS}


@pytest.mark.parametrize(("changes", "message"), [
    ({"image": np.zeros((8, 9), np.uint8)}, r"image of shape \(8, 9\)"),
    ({"image": np.zeros((8, 9, 4), np.uint8)}, r"image of shape \(8, 9, 4\)"),
    ({"image": np.zeros((8, 9, 3), np.float32)}, "torch.float32"),
    ({"image": np.zeros((9, 8, 3), np.uint8)}, "an image of 8x9 pixels"),
    ({"probabilities": torch.rand(1, 2, 8, 9)}, r"probabilities of shape \(1, 2, 8, 9\)"),
    ({"probabilities": torch.ones(2, 8, 9, dtype=torch.long)}, "torch.int64"),
    ({"probabilities": torch.rand(0, 8, 9)}, "at least one class"),
    ({"settings": CrfSettings("magic")}, "CRF backend 'magic' is unknown"),
    ({"settings": CrfSettings("bilateral", bilateral_srgb=0.0)},
     "crf.bilateral_srgb must be 0.5 to .*, got 0.0"),
    ({"settings": CrfSettings("bilateral", gaussian_sxy=-1.0)},
     "crf.gaussian_sxy must be 0.5 to .*, got -1.0"),
    ({"settings": CrfSettings("bilateral", iterations=-1)},
     "crf.iterations must be 0 to 100, got -1"),
    ({"settings": CrfSettings("lattice", resolution=0.0)},
     "crf.resolution must be 0.05 to 1.0, got 0.0"),
    ({"settings": CrfSettings("lattice", resolution=1.5)},
     "crf.resolution must be 0.05 to 1.0, got 1.5"),
    ({"settings": CrfSettings("lattice", bilateral_sxy=1e-6, bilateral_srgb=1e-6)},
     "crf.bilateral_sxy must be 0.5 to .*, got 1e-06")])
def test_bad_input_is_refused_by_name(changes, message):
    good = {"image": np.zeros((8, 9, 3), np.uint8), "probabilities": torch.rand(2, 8, 9),
            "settings": CrfSettings("bilateral")}
    with pytest.raises(ValueError, match=message):
        dense_crf(**{**good, **changes})


def test_the_segmentor_refuses_a_resolution_that_is_none():
    with pytest.raises(ValueError, match=r"crf\.resolution must be .*, got 0\.0"):
        SegmentorSettings().with_changes(crf__resolution=0.0)
