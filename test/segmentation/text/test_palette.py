"""Overlay colours: a thing keeps its own, and no two things of a vocabulary share one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sclip_seg_ros.segmentation.text.palette import lookup_table, palette_of

STREET = ["road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
          "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
          "motorcycle", "bicycle"]
ROOM = ["floor", "wall", "door", "table", "chair", "cup", "ball", "lamp", "box", "rug", "person",
        "bed"]


def colour_of(name: str) -> tuple[int, int, int]:
    """Return the colour that a name has by itself."""
    return tuple(palette_of([name])[0].tolist())


def test_a_colour_belongs_to_its_name():
    assert colour_of("road") == colour_of(" Road ")
    assert len({colour_of(name) for name in STREET}) > len(STREET) // 2


@pytest.mark.parametrize("count", [19, 60, 150, 171, 254])
def test_no_two_classes_share_a_colour(count):
    names = STREET if count == len(STREET) else [f"thing {index}" for index in range(count)]
    colours = palette_of(names)
    assert colours.shape == (count, 3)
    assert colours.dtype == np.uint8
    assert len(np.unique(colours, axis=0)) == count


@pytest.mark.parametrize("prefix", ["thing", "class", "item of stuff", "x"])
def test_254_names_of_any_kind_differ_beside_colours_given_to_others(prefix):
    names = [f"{prefix} {index}" for index in range(254)]
    known = {name: (1, 2, index) for index, name in enumerate(names[::3])}
    assert len(np.unique(palette_of(names, remembered=known), axis=0)) == 254


def test_a_name_keeps_the_colour_it_has_had_since_there_are_colours():
    """Recordings and habits rest on them: the finer colours must not shift the first ones."""
    assert palette_of(["road", "sky", "person", "car"]).tolist() == [
        [230, 128, 25], [125, 103, 193], [92, 23, 161], [173, 231, 116]]


@pytest.mark.parametrize("names", [STREET, ROOM], ids=["street", "room"])
def test_the_colours_of_a_usual_vocabulary_look_different(names):
    colours = palette_of(names)
    lab = cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    distances = np.linalg.norm(lab[:, None] - lab, axis=2)
    assert distances[~np.eye(len(names), dtype=bool)].min() >= 15


def test_appending_a_class_recolours_none():
    names = [f"thing {index}" for index in range(60)]
    all_of_them = palette_of(names)
    for count in range(1, 60):
        assert np.array_equal(palette_of(names[:count]), all_of_them[:count])


def test_inserting_a_class_recolours_none_that_was_there():
    names = [f"thing {index}" for index in range(40)]
    known: dict[str, tuple[int, int, int]] = {}
    for count in range(1, 41):
        vocabulary = names[40 - count:]  # each round puts a new name in front
        colours = palette_of(vocabulary, remembered=known)
        for name, colour in zip(vocabulary[1:], colours[1:], strict=True):
            assert tuple(colour) == known[name]
        assert len(np.unique(colours, axis=0)) == count
        known.update(zip(vocabulary, map(tuple, colours.tolist()), strict=True))


def test_names_that_had_the_same_colour_apart_differ_together():
    [first, second] = [name for name in (f"thing {index}" for index in range(200))
                       if colour_of(name) == colour_of("thing 0")][:2]
    remembered = {first: colour_of(first), second: colour_of(second)}
    colours = palette_of([first, second], remembered=remembered).tolist()
    assert tuple(colours[0]) == colour_of(first) and colours[0] != colours[1]


def test_a_chosen_colour_is_kept_whatever_the_others_have():
    grey = (128, 128, 128)
    colours = palette_of(["road", "sky", "person"], {"road": grey, "person": grey},
                         {"sky": grey}).tolist()
    assert tuple(colours[0]) == tuple(colours[2]) == grey != tuple(colours[1])


def test_most_classes_keep_the_colour_of_their_name():
    own = [tuple(colour) == colour_of(name)
           for name, colour in zip(STREET, palette_of(STREET), strict=True)]
    assert own[0]
    assert sum(own) >= len(STREET) * 3 // 4


def test_colours_stand_out_from_unlabelled_black():
    assert palette_of([f"thing {index}" for index in range(254)]).max(axis=1).min() > 80


def test_no_names_have_no_colours():
    assert palette_of([]).shape == (0, 3)


def test_the_table_paints_labels_and_leaves_the_rest_black():
    colours = palette_of(["road", "sky"])
    table = lookup_table(colours)
    assert (table.shape, table.dtype) == ((256, 3), np.uint8)
    painted = table[np.array([[0, 1], [255, 2]], dtype=np.uint8)]
    assert np.array_equal(painted[0], colours)
    assert not painted[1].any()
