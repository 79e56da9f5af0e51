"""From a depth camera to a costmap: the real node, a rendered room, and its true floor plan."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ros_harness import (
    LATCHED,
    WAIT_SECONDS,
    Probe,
    domain_for,
    pixels_of,
    running_node,
    stamp_of,
)
from sclip_seg_ros.msg import Vocabulary

from examples.room.camera import COLOUR, DEPTH, RoomCamera
from examples.room.consumer import GridConsumer, read_points
from examples.room.grid import CELL, SemanticGrid
from examples.room.scenery import Room, to_world

SEEDS, FRAMES, SIZE = (1, 2), 6, (240, 320)
LEAST_AGREEMENT = 0.85  # of the observed cells; `python -m examples.room` tells it for other rooms


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"room {seed}")
def room(request) -> Room:
    return Room(request.param, FRAMES, SIZE)


def show(probe: Probe, camera: RoomCamera, consumer: GridConsumer, index: int) -> None:
    """Have the camera look from a place of its path until a frame of it has voted."""
    stamps = set()
    deadline = time.monotonic() + WAIT_SECONDS
    while not consumer.knows(stamps):
        assert time.monotonic() < deadline, f"no frame was voted: {consumer.refused}"
        stamps.add(camera.publish(index))
        again = time.monotonic() + 1.0
        while time.monotonic() < again and not consumer.knows(stamps):
            probe.spin(0.05)


@pytest.fixture(scope="module")
def run(room, tmp_path_factory):
    """Film the room once around, with words whose ids change places in the middle."""
    domain = domain_for(__file__)
    words = room.phrases
    ids = list(range(1, len(words) + 1))
    parameters = {"classes": words, "class_ids": ids, "unlabelled_id": 0, "threads": 1,
                  "depth_topics": [DEPTH], "points.invalid": "keep", "lazy": False,
                  "use_densecrf": True,
                  "temporal.enabled": False}  # the views lie too far apart for a film
    grid = SemanticGrid(room.cost)
    with running_node(domain, tmp_path_factory.mktemp("node") / "log.txt", parameters,
                      {"image_raw": COLOUR}), Probe(domain) as probe:
        camera = RoomCamera(probe.node, room)
        consumer = GridConsumer(probe.node, grid, camera.place)
        vocabularies: list[Vocabulary] = []
        probe.node.create_subscription(Vocabulary, "/sclip_seg/vocabulary", vocabularies.append,
                                       LATCHED)
        probe.wait(lambda: camera.connected and vocabularies, "the node")
        for index in range(2 * FRAMES):
            if index == FRAMES:  # not waited for: frames go on while the words are encoded
                turned = dict(zip(words, ids[::-1], strict=True))
                order = sorted(words, reverse=True)
                assert probe.set_parameters(atomically=True, classes=order,
                                            class_ids=[turned[word] for word in order]).successful
            if index == FRAMES + 2:
                probe.wait(lambda: vocabularies[-1].version == 2, "the second version")
            show(probe, camera, consumer, index)
        yield camera, consumer, grid, vocabularies


def test_the_grid_agrees_with_the_true_floor_plan(run, room, record_property):
    _, consumer, grid, _ = run
    assert consumer.refused == [] and len(consumer.taken) >= 2 * FRAMES
    cells = grid.observed
    assert len(cells) > 500  # of 10 cm: more than five square metres
    obstacles = [name for name in grid.names if not room.is_free(name)]
    found, truth = grid.belongs(cells, obstacles), room.occupied(cells, CELL)
    agreement = float((found == truth).mean())
    record_property("agreement", agreement)
    assert agreement >= LEAST_AGREEMENT
    assert 0.02 < truth.mean() < 0.5
    # Of the things themselves most cells are obstacles, which a map that is free everywhere fails.
    assert (found & truth).sum() / truth.sum() > 0.5
    assert (~found & ~truth).sum() / (~truth).sum() > 0.9


def test_no_cell_is_voted_by_a_wrong_name(run, room):
    """Ids have changed their meaning in the middle; names were right for every single frame."""
    camera, consumer, grid, vocabularies = run
    assert [message.version for message in vocabularies][-1] == 2
    versions = {message.version: {entry.id: entry.name for entry in message.classes}
                for message in vocabularies}
    assert versions[1] != versions[2] and set(versions[1]) == set(versions[2])
    # The rule of ~/label_info: names hold from the stamp of their message on.
    begins = {message.version: stamp_of(message) for message in vocabularies}
    assert begins[2] > 0
    for stamp, taken in consumer.taken.items():
        version = taken.parts["class_confidence"].vocabulary_version
        assert taken.names == versions[version]
        assert (stamp >= begins[2]) == (version == 2)
    assert {taken.parts["class_confidence"].vocabulary_version
            for taken in consumer.taken.values()} == {1, 2}
    # Read with their own names, labels before and after the change say the same of the same room.
    for stamp, taken in consumer.taken.items():
        if not consumer.knows([stamp]):
            continue
        words = np.full(256, len(room.phrases), np.uint8)
        for value, name in taken.names.items():
            words[value] = room.phrases.index(name)
        truth = camera.shot_at(stamp).labels(room.phrases)
        assert (words[pixels_of(taken.parts["label"])] == truth).mean() > 0.7
    assert set(grid.names) <= set(room.phrases)


def test_clouds_lie_where_the_things_are(run):
    """Against the ray caster: median error below a centimetre at two metres, labels the image's."""
    camera, consumer, *_ = run
    near_two_metres = 0
    for stamp, taken in consumer.taken.items():
        points = read_points(taken.parts["points"])
        np.testing.assert_array_equal(points["label"], pixels_of(taken.parts["label"]))
        np.testing.assert_allclose(points["confidence"],
                                   pixels_of(taken.parts["confidence"]) / 255, rtol=1e-5)
        shot, place = camera.shot_at(stamp), camera.camera_at(stamp)
        rays = np.stack(place.rays(*SIZE), -1).reshape(-1, 3)
        truth = rays * shot.depth.reshape(-1, 1) + np.array(place.position)
        found = to_world(np.stack([points[name] for name in "xyz"], -1).reshape(-1, 3), place)
        error = np.linalg.norm(found - truth, axis=1)
        chosen = np.abs(shot.depth.ravel() - 2.0) < 0.25
        near_two_metres += int(chosen.sum())
        assert not chosen.any() or np.median(error[chosen]) < 0.01
        assert np.median(error) < 0.01
    assert near_two_metres > 1000
