"""The room's true floor plan, and a grid that votes as Nav2's semantic layer does."""

from __future__ import annotations

import numpy as np
import pytest

from examples.room.grid import CELL, SemanticGrid
from examples.room.scenery import Room

COSTS = {"floor": 0, "table": 254, "box": 254}
MIDDLE = np.zeros((1, 2), int)  # the cell that points at (0.05, 0.05) fall into


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_whatever_stands_in_a_room_is_in_its_plan(seed):
    """Of all shapes: tables and boxes, balls and cones."""
    room = Room(seed, 1, (24, 32))
    for part in room.scene.parts:
        if room.scene.things[part.thing].noun in ("floor", "wall", "rug", "door"):
            continue
        cell = np.floor(np.array(part.position[:2]) / CELL).astype(int)[None]
        assert room.occupied(cell, CELL).all(), room.scene.things[part.thing].phrase


def vote(grid: SemanticGrid, *pixels: tuple[int, float], names=(None, "floor", "table", "box")):
    """Let an image vote whose pixels, label and confidence each, all fall into one cell."""
    labels, confidence = (np.array(values) for values in zip(*pixels, strict=True))
    grid.add(np.full((len(pixels), 3), 0.05), labels.astype(np.uint8), confidence,
             {index: name for index, name in enumerate(names) if name})


def owner(grid: SemanticGrid) -> list[str]:
    return [name for name in grid.names if grid.belongs(MIDDLE, [name])[0]]


def test_of_an_image_the_dearest_class_has_a_cell():
    """A table is there, though the floor below its top fills more of the picture."""
    grid = SemanticGrid(COSTS.__getitem__)
    vote(grid, *[(1, 0.9)] * 20, (2, 0.6))
    assert owner(grid) == ["table"]


def test_of_equally_dear_ones_the_most_confident_has_it():
    grid = SemanticGrid(COSTS.__getitem__)
    vote(grid, (2, 0.5), (3, 0.8), (2, 0.7))
    assert owner(grid) == ["box"]


def test_a_pixel_without_a_class_has_no_vote():
    grid = SemanticGrid(COSTS.__getitem__)
    vote(grid, (0, 0.9))
    assert owner(grid) == []


def test_a_class_takes_a_cell_over_when_it_has_more_votes_and_the_others_lose_theirs():
    grid = SemanticGrid(COSTS.__getitem__)
    for label, expected in ((1, "floor"), (2, "floor"), (2, "table"), (1, "table"), (1, "table"),
                            (1, "floor")):
        vote(grid, (label, 0.9))
        assert owner(grid) == [expected]


def test_votes_stay_with_names_when_ids_change_theirs():
    grid = SemanticGrid(COSTS.__getitem__)
    vote(grid, (2, 0.9))
    vote(grid, (1, 0.9), names=(None, "table", "floor"))
    assert owner(grid) == ["table"]
