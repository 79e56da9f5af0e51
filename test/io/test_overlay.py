"""The overlay shows classes in their colours, leaves the rest alone, and names what is there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from sclip_seg_ros.io import overlay
from sclip_seg_ros.io.blending import blend_tensors, outline
from sclip_seg_ros.io.overlay import draw_legend, draw_overlay, legend_entries, overlay_of
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary, validate_classes

COLOURS = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)


def test_colours_are_blended_by_alpha_and_unlabelled_pixels_stay():
    image = np.full((2, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 255], [255, 0, 1]], np.uint8)
    result = draw_overlay(image, labels, COLOURS, alpha=0.4)
    red, blue, plain = [162, 60, 60], [60, 60, 162], [100, 100, 100]
    np.testing.assert_array_equal(result, [[red, blue, plain], [plain, red, blue]])
    assert (image == 100).all()


@pytest.mark.parametrize("alpha, expected", [(0.0, [9, 8, 7]), (1.0, [255, 0, 0])])
def test_extreme_alphas(alpha, expected):
    image = np.tile(np.array([9, 8, 7], np.uint8), (4, 4, 1))
    result = draw_overlay(image, np.zeros((4, 4), np.uint8), COLOURS, alpha)
    assert (result == expected).all()


def test_white_outlines_part_two_classes_and_leave_the_rest():
    image = np.full((480, 640, 3), 100, np.uint8)
    labels = np.zeros((480, 640), np.uint8)
    labels[100:300, 200:400] = 1
    result = draw_overlay(image, labels, COLOURS, alpha=0.5)
    plain = np.where(labels[..., None] == 1, [50, 50, 178], [178, 50, 50])
    changed = (np.abs(result.astype(int) - plain) > 1).any(axis=2)
    assert result[changed].min() > 150, "outlines are bright"
    assert 2 * (200 + 200) <= changed.sum() <= 3 * 2 * (200 + 200)
    assert not changed[:98].any() and not changed[103:297, 203:397].any()
    np.testing.assert_array_equal(draw_overlay(image, labels, COLOURS, alpha=0.0), image)


@pytest.mark.parametrize("size", [(100, 80), (241, 320), (480, 640), (720, 959)])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_a_gpu_would_draw_the_same_picture(size, alpha):
    """The GPU's form, run on the CPU."""
    generator = np.random.default_rng(size[0])
    image = generator.integers(0, 256, (*size, 3), np.uint8)
    areas = generator.choice(np.array([0, 1, 7, 255], np.uint8), (size[0] // 20, size[1] // 20))
    labels = cv2.resize(areas, size[::-1], interpolation=cv2.INTER_NEAREST)
    colours = generator.integers(0, 256, (8, 3), np.uint8)
    thickness, white = outline(size[0], alpha)
    drawn = blend_tensors(torch.from_numpy(image), torch.from_numpy(labels), colours, alpha,
                          thickness, white).numpy()
    expected = draw_overlay(image, labels, colours, alpha)
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    assert drawn.dtype == np.uint8


def test_tensors_of_the_cpu_are_drawn_like_arrays():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    labels = np.repeat(np.arange(4, dtype=np.uint8) % 2, 16 * 48).reshape(48, 64)
    np.testing.assert_array_equal(
        draw_overlay(torch.from_numpy(image), torch.from_numpy(labels), COLOURS, 0.5, [(0, "a")]),
        draw_overlay(image, labels, COLOURS, 0.5, [(0, "a")]))


def test_an_image_with_other_strides_is_fine():
    image = np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8)
    labels = np.full((8, 10), 255, np.uint8)
    np.testing.assert_array_equal(draw_overlay(image[..., ::-1], labels, COLOURS, 0.5),
                                  image[..., ::-1])


@pytest.mark.parametrize("legend", [True, False])
def test_an_overlay_has_the_vocabularys_colours_and_a_legend_if_wanted(legend):
    classes = validate_classes(["floor", "wall"])
    vocabulary = Vocabulary(classes, None, 1, torch.zeros(2, 4), torch.arange(2), COLOURS[:2])
    image = np.full((96, 128, 3), 90, np.uint8)
    labels = np.repeat(np.array([0, 1], np.uint8), 96 * 64).reshape(96, 128)
    drawn = overlay_of(image, labels, vocabulary, np.array([0.5, 0.5]), 0.5, legend)
    entries = [(0, "floor"), (1, "wall")] if legend else []
    np.testing.assert_array_equal(drawn, draw_overlay(image, labels, COLOURS, 0.5, entries))


def test_legend_lists_what_is_present_largest_first():
    coverage = np.array([0.1, 0.0, 0.6, 0.3])
    assert legend_entries(coverage, ["a", "b", "c", "d"]) == [(2, "c"), (3, "d"), (0, "a")]


def legend_area(height: int, width: int, names: list[str]) -> np.ndarray:
    """Return where a legend of red chips changed a grey image, and the image."""
    image = np.full((height, width, 3), 200, np.uint8)
    draw_legend(image, [(name, COLOURS[0]) for name in names])
    return image


@pytest.mark.parametrize("height, width", [(120, 160), (480, 640), (1080, 1920), (2160, 3840)])
def test_legend_is_readable_at_any_size(height, width):
    image = legend_area(height, width, ["floor", "wall"])
    changed = (image != 200).any(axis=2)
    rows, columns = np.nonzero(changed)
    box_height = rows.max() + 1
    assert box_height >= 24, "two rows of at least 12 pixels"
    assert 1 / 12 < box_height / height < 1 / 3
    assert columns.max() + 1 < width
    chips = (image == COLOURS[0]).all(axis=2).any(axis=1)
    assert np.count_nonzero(np.diff(chips.astype(int)) == 1) == 2, "one chip a class"
    assert (image > 200).all(axis=2).any(), "letters brighter than the picture"


def test_a_longer_name_makes_a_wider_box():
    widths = [np.nonzero((legend_area(480, 640, [name]) != 200).any(axis=2))[1].max()
              for name in ("cup", "a very long class name")]
    assert widths[1] > widths[0] + 50


def test_many_classes_keep_to_a_part_of_the_picture_and_are_counted():
    many, few = (legend_area(480, 640, [f"class {i}" for i in range(n)]) for n in (100, 12))
    chips = [np.count_nonzero(np.diff((image == COLOURS[0]).all(axis=2).any(axis=1).astype(int))
                              == 1) for image in (many, few)]
    assert chips == [11, 12], "the twelfth row says how many more there are"


@pytest.mark.parametrize("height, width", [(120, 160), (240, 320), (1080, 1920)])
def test_many_classes_leave_a_part_of_any_picture(height, width):
    image = legend_area(height, width, [f"class {i}" for i in range(100)])
    rows = np.nonzero((image != 200).any(axis=(1, 2)))[0]
    assert 0.2 * height < rows.max() + 1 <= 0.6 * height


def test_a_tall_picture_has_room_for_its_names():
    image = legend_area(2000, 480, ["person riding a bicycle"])
    assert np.nonzero((image != 200).any(axis=(0, 2)))[0].max() < 400


def test_a_row_that_could_only_count_the_classes_is_left_out():
    assert (legend_area(48, 64, ["floor", "wall", "door"]) == 200).all()


def test_a_tiny_image_is_left_alone():
    assert (legend_area(8, 8, ["floor"]) == 200).all()


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="needs the font of OpenCV 5")
@pytest.mark.parametrize("name", ["Stra\u00dfe", "\u0441\u0442\u0443\u043b", "\u6905\u5b50"])
def test_names_are_drawn_in_their_own_letters(name):
    unknown = legend_area(480, 640, ["?" * len(name)])
    assert (legend_area(480, 640, [name]) != unknown).any()


def test_an_older_font_gets_question_marks(monkeypatch):
    monkeypatch.setattr(overlay, "_KNOWS_UNICODE", False)
    assert [overlay.drawable(name) for name in ("caf\u00e9", "\u6905\u5b50", "red ball")] \
        == ["cafe", "??", "red ball"]
