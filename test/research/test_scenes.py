"""Tests of the rendered world: exact masks, held-out pairs, captions, camera path."""

from __future__ import annotations

import colorsys
import math
from dataclasses import replace

import numpy as np
import pytest
from sclip_research.scenes import (
    COLOURS,
    HELD_OUT_PAIRS,
    NOUNS,
    Camera,
    RenderedScene,
    Scene,
    Thing,
    camera_path,
    distractors,
    render,
    sample_scene,
)
from sclip_research.scenes.colours import sample_colour
from sclip_research.scenes.phrases import LONGEST_CAPTION, MOVABLE_NOUNS
from sclip_research.scenes.primitives import Box, Lathe, Plane, Pyramid, Shape, Sphere
from sclip_research.scenes.scene import Lighting, Look, Part
from sclip_research.scenes.textures import Finish

SMALL = (168, 224)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """A dozen scenes of the training mode."""
    rng = np.random.default_rng(11)
    return [sample_scene(rng) for _ in range(12)]


@pytest.fixture(scope="module")
def pictures(scenes: list[Scene]) -> list[RenderedScene]:
    """The same scenes, rendered."""
    return [render(scene, *SMALL) for scene in scenes]


def room_with(shape: Shape, position: tuple[float, float, float], colour: str = "red") -> Scene:
    """Build a scene of one shape in a gray room, seen level from one metre above the floor."""
    gray = Finish((0.25, 0.25, 0.25), (0.25, 0.25, 0.25))
    paint = sample_colour(colour, np.random.default_rng(0))
    return Scene(
        things=(Thing("gray", "floor"), Thing("gray", "wall"), Thing(colour, "ball")),
        supports=(None, None, 0),
        parts=(
            Part(0, Plane(2, 0.0), gray),
            Part(1, Plane(1, 5.0, facing=-1.0), gray),
            Part(2, shape, Finish(paint, paint), position),
        ),
        contacts=(),
        lighting=Lighting((1.0, 0.5, 2.5), 0.2, 0.7, (-0.5, -0.5, 0.7), 0.15, 0.45),
        camera=Camera((0.0, 0.0, 1.0), 0.0, 0.0, math.radians(60.0)),
        look=Look(1.0, (1.0, 1.0, 1.0), 0.5, 0.1, 0.005, 3),
        focus_distance=2.0,
    )


def pixel_rays(camera: Camera, height: int, width: int) -> np.ndarray:
    """Return the level camera's rays (height, width, 3) through pixel centres, in float64."""
    focal = 0.5 * width / math.tan(0.5 * camera.field_of_view)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, z = (columns - width / 2) / focal, (height / 2 - rows) / focal
    return np.stack([x, np.ones_like(x), z], axis=-1)


def test_sphere_mask_is_its_closed_form_projection() -> None:
    centre, radius = np.array([0.35, 2.0, 0.8]), 0.3
    scene = room_with(Sphere(radius), tuple(centre))
    mask = render(scene, 240, 320).mask

    rays = pixel_rays(scene.camera, 240, 320)
    to_centre = centre - np.array(scene.camera.position)
    distance = float(np.linalg.norm(to_centre))
    cosine = (rays @ to_centre) / (np.linalg.norm(rays, axis=-1) * distance)
    cone = math.sqrt(1.0 - (radius / distance) ** 2)
    sure = np.abs(cosine - cone) > 1e-6
    assert (cosine > cone).sum() > 2000
    np.testing.assert_array_equal((mask == 2)[sure], (cosine > cone)[sure])


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        (Box((0.2, 0.3, 0.25)), lambda x, y, z: (abs(x) < 0.2) & (abs(y) < 0.3) & (abs(z) < 0.25)),
        (
            Pyramid(0.3, 0.5),
            lambda x, y, z: (z > 0) & (np.maximum(abs(x), abs(y)) < 0.3 * (1 - z / 0.5)),
        ),
        (
            Lathe(((0.0, 0.0), (0.3, 0.0), (0.1, 0.5), (0.0, 0.5))),
            lambda x, y, z: (z > 0) & (z < 0.5) & (np.hypot(x, y) < 0.3 - 0.4 * z),
        ),
    ],
    ids=["box", "pyramid", "frustum"],
)
def test_solid_mask_agrees_with_marching_through_the_solid(shape: Shape, inside) -> None:
    position = np.array([-0.3, 1.8, 0.6])
    scene = room_with(shape, tuple(position))
    mask = render(scene, 60, 80).mask
    rays = pixel_rays(scene.camera, 60, 80)
    covered = np.zeros((60, 80), bool)
    for step in np.arange(1.2, 2.4, 0.002):
        covered |= inside(*np.moveaxis(rays * step + [0, 0, 1] - position, -1, 0))
    assert covered.sum() > 60
    # Marching in steps may miss a grazed corner; casting may not miss what marching finds.
    assert not np.any(covered & (mask != 2))
    assert ((mask == 2) & ~covered).sum() <= 3


def test_floor_and_wall_meet_where_perspective_says() -> None:
    scene = room_with(Sphere(0.05), (0.0, 1.0, 1.9))
    mask = render(scene, 240, 320).mask
    focal = 160 / math.tan(math.radians(30.0))
    horizon = 120 + focal * 1.0 / 5.0
    rows = np.arange(240) + 0.5
    np.testing.assert_array_equal(mask[:, 10] == 0, rows > horizon)


def test_rays_reach_the_inside_of_an_open_cup() -> None:
    cup = Lathe(((0.0, 0.0), (0.2, 0.0), (0.2, 0.4)))
    down = tuple(np.array([value], np.float32) for value in (1e-6, 1e-6, -1.0))
    distance, _ = cup.intersect((0.1, 0.0, 1.0), down)
    assert distance[0] == pytest.approx(1.0, abs=1e-4)


def test_every_pixel_belongs_to_a_thing_of_the_scene(
    scenes: list[Scene], pictures: list[RenderedScene]
) -> None:
    for scene, picture in zip(scenes, pictures, strict=True):
        assert picture.image.shape == (*SMALL, 3) and picture.image.dtype == np.uint8
        assert picture.mask.shape == SMALL and picture.mask.dtype == np.uint8
        assert picture.mask.max() < len(scene.things)
        assert picture.things == scene.things
        assert set(picture.phrases) <= {thing.phrase for thing in scene.things}
        assert 5 <= len(scene.things) <= 9


def test_mask_does_not_depend_on_the_resolution(scenes: list[Scene]) -> None:
    # An odd factor puts every coarse pixel centre on a fine one.
    coarse = render(scenes[0], 80, 108).mask
    fine = render(scenes[0], 240, 324).mask
    assert np.mean(coarse == fine[1::3, 1::3]) > 0.999


def test_almost_every_object_is_visible(pictures: list[RenderedScene]) -> None:
    named = sum(len(picture.phrases) for picture in pictures)
    assert named >= 0.95 * sum(len(picture.things) for picture in pictures)


def test_rendering_repeats_exactly_and_only_noise_follows_the_noise_seed() -> None:
    first, again = (sample_scene(np.random.default_rng(5)) for _ in range(2))
    assert first.things == again.things
    one, two = render(first, *SMALL), render(again, *SMALL)
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.mask, two.mask)
    other = render(first, *SMALL, noise_rng=np.random.default_rng(99))
    np.testing.assert_array_equal(one.mask, other.mask)
    change = np.abs(one.image.astype(int) - other.image.astype(int))
    assert 0 < change.mean() < 6


def test_training_never_draws_a_held_out_pair_and_phrases_are_unique() -> None:
    rng = np.random.default_rng(0)
    for _ in range(250):
        things = sample_scene(rng).things
        assert not {(thing.colour, thing.noun) for thing in things} & HELD_OUT_PAIRS
        assert len({thing.phrase for thing in things}) == len(things)


def test_held_out_scenes_have_two_held_out_pairs_and_cover_all_of_them() -> None:
    rng = np.random.default_rng(1)
    seen: set[tuple[str, str]] = set()
    for _ in range(150):
        unseen = {(t.colour, t.noun) for t in sample_scene(rng, "held-out").things}
        unseen &= HELD_OUT_PAIRS
        assert len(unseen) >= 2
        seen |= unseen
    assert seen == HELD_OUT_PAIRS


def test_held_out_pairs_leave_every_colour_and_noun_to_training() -> None:
    assert 16 <= len(HELD_OUT_PAIRS) <= 18
    assert {noun for _, noun in HELD_OUT_PAIRS} == set(MOVABLE_NOUNS)
    for colour in COLOURS:
        assert sum(pair[0] == colour for pair in HELD_OUT_PAIRS) <= 2
    for noun in MOVABLE_NOUNS:
        assert 1 <= sum(pair[1] == noun for pair in HELD_OUT_PAIRS) <= 2


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'all'.*training, held-out, any"):
        sample_scene(np.random.default_rng(0), "all")


def test_distractors_are_absent_half_hard_and_not_held_out(
    scenes: list[Scene], pictures: list[RenderedScene]
) -> None:
    rng = np.random.default_rng(2)
    for scene, picture in zip(scenes, pictures, strict=True):
        present = {thing.phrase for thing in scene.things}
        words = {word for phrase in present for word in phrase.split()}
        for given in (scene, picture, sorted(present)):
            drawn = distractors(given, 8, rng)
            assert len(set(drawn)) == 8
            assert not set(drawn) & present
            pairs = [tuple(phrase.split()) for phrase in drawn]
            assert all(colour in COLOURS and noun in NOUNS for colour, noun in pairs)
            assert not set(pairs) & HELD_OUT_PAIRS
            assert sum(bool(words & set(pair)) for pair in pairs) >= 4


def test_distractors_take_held_out_pairs_where_asked_and_refuse_too_many() -> None:
    rng = np.random.default_rng(3)
    most = len(COLOURS) * len(NOUNS) - 1
    everything = distractors(["red ball"], most, rng, pairs="any")
    assert {f"{colour} {noun}" for colour, noun in HELD_OUT_PAIRS} <= set(everything)
    with pytest.raises(ValueError, match=f"only {most} phrases"):
        distractors(["red ball"], most + 1, rng, pairs="any")
    with pytest.raises(ValueError, match="list of phrases"):
        distractors("red ball", 2, rng)


def test_labels_follow_the_vocabulary(pictures: list[RenderedScene]) -> None:
    picture = pictures[0]
    floor, *others = [picture.things[0].phrase, *picture.phrases]
    labels = picture.labels(["absent thing", floor])
    np.testing.assert_array_equal(labels == 1, picture.mask == 0)
    assert np.all(labels[picture.mask != 0] == 255)
    full = picture.labels(others)
    for index, phrase in enumerate(others):
        owners = [i for i, thing in enumerate(picture.things) if thing.phrase == phrase]
        np.testing.assert_array_equal(full == index, np.isin(picture.mask, owners))
    with pytest.raises(ValueError, match="256 phrases"):
        picture.labels([f"phrase {i}" for i in range(256)])


def test_a_speck_stays_in_the_mask_but_is_not_named() -> None:
    picture = render(room_with(Sphere(0.02), (0.2, 2.0, 0.9)), 240, 320)
    assert 0 < (picture.mask == 2).sum() < 0.0015 * picture.mask.size
    assert picture.phrases == ["gray floor", "gray wall"]
    assert "ball" not in picture.caption
    assert np.all(picture.labels(["red ball", "gray wall"])[picture.mask == 2] == 255)


def test_captions_are_short_and_name_what_is_visible(pictures: list[RenderedScene]) -> None:
    for picture in pictures:
        assert len(picture.caption.split()) <= LONGEST_CAPTION
        named = [thing for thing in picture.things if thing.phrase in picture.caption]
        assert {thing.phrase for thing in named} <= set(picture.phrases)
        assert len(named) >= min(5, len(picture.phrases) - 1)


def test_caption_tells_what_stands_where() -> None:
    scene = room_with(Sphere(0.3), (0.0, 2.0, 0.8))
    assert render(scene, 120, 160).caption == "a red ball on a gray floor in front of a gray wall"
    floor, wall, ball = scene.things
    dressed = replace(
        scene, things=(replace(floor, material="wooden"), wall, replace(ball, colour="orange"))
    )
    expected = "an orange ball on a wooden gray floor in front of a gray wall"
    assert render(dressed, 120, 160).caption == expected


def test_thing_names_itself() -> None:
    assert Thing("red", "ball").phrase == Thing("red", "ball").described == "red ball"
    assert Thing("red", "ball", "striped").described == "striped red ball"
    assert Thing("red", "ball", "striped").phrase == "red ball"


def test_camera_path_is_a_smooth_loop_that_keeps_the_objects_in_view(
    scenes: list[Scene],
) -> None:
    scene = scenes[1]
    path = camera_path(scene, 60)
    assert len(path) == 60 and path[0] == scene.camera
    stops = np.array([[*camera.position, camera.yaw, camera.pitch] for camera in path])
    steps = np.abs(np.diff(np.vstack([stops, stops[:1]]), axis=0)).max(axis=1)
    assert 0 < steps.max() < 0.06
    assert np.ptp(stops[:, 0]) > 0.2
    start = set(render(scene, *SMALL).phrases)
    before = render(scene, *SMALL, camera=path[14])
    after = render(scene, *SMALL, camera=path[15])
    assert 0 < np.mean(before.mask != after.mask) < 0.05
    for camera in path[::15]:
        assert len(start & set(render(scene, *SMALL, camera=camera).phrases)) >= 0.7 * len(start)


@pytest.mark.parametrize("colour", sorted(COLOURS))
def test_pixels_have_the_colour_of_the_name(colour: str) -> None:
    picture = render(room_with(Sphere(0.3), (0.0, 2.0, 0.9), colour), 120, 160)
    red, green, blue = np.median(picture.image[picture.mask == 2], axis=0) / 255.0
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    spec = COLOURS[colour]
    if colour in ("black", "gray", "white"):
        assert saturation < 0.2
        low, high = {"black": (0.0, 0.2), "gray": (0.3, 0.65), "white": (0.75, 1.0)}[colour]
        assert low < value < high
    else:
        middle = sum(spec.hue) / 720.0
        assert abs((hue - middle + 0.5) % 1.0 - 0.5) < 10 / 360
        assert saturation > 0.3


def test_ball_throws_a_shadow_away_from_the_lamp() -> None:
    scene = room_with(Sphere(0.25), (0.0, 2.0, 0.25))
    scene = replace(
        scene,
        lighting=replace(scene.lighting, position=(1.5, 2.0, 1.5)),
        camera=replace(scene.camera, pitch=-0.4),
    )
    image = render(scene, 240, 320).image.mean(axis=2)
    (column, row, _), (mirrored, _, _) = scene.camera.project(
        np.array([[-0.5, 2.0, 0.0], [0.5, 2.0, 0.0]]), 240, 320
    )
    assert image[int(row), int(column)] < 0.85 * image[int(row), int(mirrored)]


def test_too_small_an_image_is_refused(scenes: list[Scene]) -> None:
    with pytest.raises(ValueError, match="4x100"):
        render(scenes[0], 4, 100)
