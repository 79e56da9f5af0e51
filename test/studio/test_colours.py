"""Colours that everybody tells apart."""

from __future__ import annotations

import pytest

from sclip_seg_ros.segmentation.text.palette import palette_of
from sclip_seg_ros.studio.choices.colours import distinct_colours, least_distance


@pytest.mark.parametrize(("count", "least"), [(4, 40), (8, 30), (20, 14), (40, 9)])
def test_colours_stay_apart_for_whoever_looks(count, least):
    colours = distinct_colours(count)
    assert len(set(colours)) == count
    assert least_distance(colours) >= least


def test_they_are_further_apart_than_those_of_names():
    names = ["floor", "wall", "door", "table", "chair", "lamp", "box", "ball"]
    own = [tuple(colour) for colour in palette_of(names).tolist()]
    assert least_distance(distinct_colours(8)) > 2 * least_distance(own)


def test_there_are_enough_for_a_full_vocabulary():
    assert len(set(distinct_colours(254))) == 254
