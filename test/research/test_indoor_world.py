"""The indoor world: designs, rooms, words, camera; and the toy world, which it leaves alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sclip_research import show_rooms
from sclip_research.scenes import render, sample_scene
from sclip_research.scenes.films import film
from sclip_research.scenes.held_out import held_out_nouns, held_out_phrases, held_out_scene
from sclip_research.scenes.indoor.furniture import DESIGNS, build
from sclip_research.scenes.indoor.layout import HUNG, ONTO, STANDING
from sclip_research.scenes.indoor.words import HELD_OUT, LEXICON, NOUNS, SURFACES, SYNONYMS
from sclip_research.scenes.phrases import LONGEST_CAPTION, TOY_LEXICON, joined
from sclip_research.scenes.primitives import Ellipsoid, Sphere
from sclip_research.scenes.rendering import RenderedScene
from sclip_research.scenes.scene import Scene
from sclip_research.scenes.worlds import world
from sclip_research.training.queries import sample_queries

SMALL = (120, 160)
# What the first held-out room of the toy world has always held: tables and goldens depend on it.
TOY_ROOM = ["checkered green floor", "striped blue wall", "pink box", "checkered yellow box",
            "shiny green bottle", "dotted purple cylinder", "cyan box"]
TOY_WORDS = ["gray ball", "cyan box", "black lamp", "green bottle", "yellow box", "cyan cone",
             "purple cylinder", "yellow bottle", "pink box", "green floor", "blue chair",
             "red cone", "blue wall"]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Two dozen rooms of the training mode."""
    return [world("indoor").sample(np.random.default_rng((5, k)), "training") for k in range(24)]


@pytest.fixture(scope="module")
def pictures(scenes: list[Scene]) -> list[RenderedScene]:
    """The first of them, rendered."""
    return [render(scene, *SMALL) for scene in scenes[:8]]


def test_every_noun_has_three_designs_or_more() -> None:
    assert set(DESIGNS) == set(NOUNS) - set(SURFACES)
    assert all(len(designs) >= 3 for designs in DESIGNS.values())


@pytest.mark.parametrize("noun", DESIGNS)
def test_a_design_stands_on_the_ground_and_its_proportions_vary(noun: str) -> None:
    for design in DESIGNS[noun]:
        sizes = set()
        for seed in range(3):
            model = design(np.random.default_rng(seed))
            assert 0.005 < model.height < 2.4 and max(model.half) < 1.6
            assert model.deck is None or 0 < model.deck <= model.height + 0.05
            sizes.add((*model.half, model.height))
        assert len(sizes) == 3


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot build 'unicorn'; choose one of chair"):
        build("unicorn", np.random.default_rng(0))


def test_an_unknown_world_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown world 'moon'; choose one of toy, indoor"):
        world("moon")


def test_every_noun_is_met(scenes: list[Scene]) -> None:
    placeable = {*STANDING, *HUNG, *(noun for nouns in ONTO.values() for noun in nouns)}
    assert placeable | set(SURFACES) | set(ONTO) | {"stairs"} == set(NOUNS)
    met = Counter(thing.noun for scene in scenes for thing in scene.things)
    assert len(met) > 0.9 * len(NOUNS)


def test_rooms_differ_in_camera_light_and_look(scenes: list[Scene]) -> None:
    heights = np.array([scene.camera.position[2] for scene in scenes])
    assert (heights < 0.65).any() and (heights > 1.25).any()
    assert np.ptp([scene.look.exposure for scene in scenes]) > 0.3
    assert any(scene.look.defocus for scene in scenes)
    assert any(scene.look.smear != (0.0, 0.0) for scene in scenes)
    assert min(len(scene.things) for scene in scenes) >= 7
    assert max(len(scene.things) for scene in scenes) >= 14


def test_the_same_chance_gives_the_same_picture() -> None:
    first, second = (held_out_scene(3, "any", "indoor") for _ in range(2))
    assert np.array_equal(first[0].image, second[0].image) and first[1] == second[1]


def test_training_never_shows_a_held_out_pair_and_held_out_rooms_do(scenes: list[Scene]) -> None:
    assert not {(t.colour, t.noun) for scene in scenes for t in scene.things} & HELD_OUT
    for seed in range(4):
        scene = world("indoor").sample(np.random.default_rng(seed), "held-out")
        assert len([t for t in scene.things if (t.colour, t.noun) in HELD_OUT]) >= 2


def test_what_the_toy_world_keeps_from_training_the_indoor_world_keeps_too() -> None:
    assert TOY_LEXICON.held_out <= LEXICON.held_out
    assert held_out_phrases() <= held_out_phrases("indoor")
    assert joined([TOY_LEXICON, LEXICON]).held_out == LEXICON.held_out


def test_captions_name_what_is_there_by_its_name_or_a_synonym(
        pictures: list[RenderedScene]) -> None:
    said = " ".join(f" {picture.caption} " for picture in pictures)
    for picture in pictures:
        assert len(picture.caption.split()) <= LONGEST_CAPTION
        assert set(np.unique(picture.mask)) <= set(range(len(picture.things)))
    assert any(f" {word}" in said for words in SYNONYMS.values() for word in words)
    assert "a stairs" not in said


def test_a_noun_and_its_synonym_never_compete(scenes: list[Scene]) -> None:
    used = set()
    for seed in range(30):
        queries = sample_queries([scenes[0].things], np.random.default_rng(seed), lexicon=LEXICON)
        nouns = queries.words[queries.nouns]
        assert len(nouns) == len(set(nouns)) == len(NOUNS)
        for name, noun in zip(nouns, NOUNS, strict=True):
            assert name == noun or name in SYNONYMS[noun]
        used |= set(nouns)
        phrases = queries.words[queries.phrases]
        assert len(phrases) == len(set(phrases))
    assert "couch" in used and "sofa" in used


def test_bare_nouns_are_asked_with_six_that_are_absent() -> None:
    scene, words, truth = held_out_nouns(1, "indoor")
    present = {thing.noun for thing in scene.things}
    assert len(words) == len(present) + 6 and set(words) > present
    assert {words[index] for index in np.unique(truth)} <= present


def test_things_that_look_alike_share_a_word_in_a_film() -> None:
    shown = film(0, moving=True, world="indoor")
    assert len(shown.words) == len(set(shown.words))
    shot = next(shown.shots())
    assert shot.labels.max() == 255 or shot.labels.max() < len(shown.words)
    assert (shot.labels == shown.mover).any()


def test_a_shaken_camera_smears_along_its_way(scenes: list[Scene]) -> None:
    def sharpness(smear: tuple[float, float]) -> tuple[float, float]:
        look = replace(scenes[0].look, smear=smear, defocus=0.0, noise=0.0, chroma=0.0)
        image = render(replace(scenes[0], look=look), 240, 320).image.astype(float)
        return np.abs(np.diff(image, axis=1)).mean(), np.abs(np.diff(image, axis=0)).mean()

    across, down = sharpness((0.0, 0.0))
    shaken_across, shaken_down = sharpness((24.0, 0.0))
    assert shaken_across < 0.8 * across and shaken_down > shaken_across / across * down


def test_an_ellipsoid_is_a_stretched_ball() -> None:
    rng = np.random.default_rng(0)
    origin = rng.normal(size=(3, 500)).astype(np.float32) * 0.1 + np.array([[0], [0], [3]], "f4")
    down = np.array([[0], [0], [-1]], "f4")
    direction = rng.normal(size=(3, 500)).astype(np.float32) * 0.2 + down
    with np.errstate(invalid="ignore"):
        ball = Sphere(0.7).intersect(tuple(origin), tuple(direction))[0]
        same = Ellipsoid((0.7, 0.7, 0.7)).intersect(tuple(origin), tuple(direction))[0]
        flat = Ellipsoid((0.7, 0.7, 0.1))
        distance = flat.intersect(tuple(origin), tuple(direction))[0]
    np.testing.assert_allclose(same, ball, rtol=1e-4)
    hit = np.isfinite(distance)
    point = origin[:, hit] + distance[hit] * direction[:, hit]
    assert 50 < hit.sum() < 500
    np.testing.assert_allclose(((point / [[0.7], [0.7], [0.1]]) ** 2).sum(0), 1.0, atol=2e-3)
    normal = np.stack(flat.surface(tuple(point), np.zeros(hit.sum(), int))[0])
    np.testing.assert_allclose((normal**2).sum(0), 1.0, atol=1e-4)
    assert (normal[2] * point[2] >= 0).all()


def test_the_toy_world_is_what_it_was() -> None:
    scene = sample_scene(np.random.default_rng((20_000, 0)), pairs="any")
    assert [thing.described for thing in scene.things] == TOY_ROOM
    assert held_out_scene(0)[1] == TOY_WORDS


def test_rooms_are_shown_side_by_side_and_named(tmp_path, capsys) -> None:
    sheets = {}
    for name in ("indoor", "toy"):
        path = tmp_path / "new" / f"{name}.png"
        assert show_rooms.main(["--world", name, "--count", "3", "--columns", "2", "--height", "60",
                                "--output", str(path)]) == 0
        sheets[name] = np.asarray(Image.open(path))
        assert sheets[name].shape == (124, 164, 3)
        assert (sheets[name][64:, 84:] == 255).all()        # the fourth place is empty
        assert sheets[name][:60, :80].std() > 5
    assert (sheets["indoor"] != sheets["toy"]).any()
    assert capsys.readouterr().out.count(" on ") >= 4


def test_what_cannot_be_shown_is_told_in_one_line(tmp_path, capsys) -> None:
    path = tmp_path / "rooms.unknown"
    assert show_rooms.main(["--count", "1", "--height", "60", "--output", str(path)]) == 2
    [told] = capsys.readouterr().err.strip().splitlines()
    assert told.startswith("show_rooms: ") and ".unknown" in told
