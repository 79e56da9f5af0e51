"""The embedded model finds what it is asked for, also pairs that it never saw."""

import json
import logging

import numpy as np
import pytest
from sclip_research.evaluate_embedded_model import evaluate, evaluate_nouns, main
from sclip_research.scenes import HELD_OUT_PAIRS
from sclip_research.scenes.held_out import held_out_nouns, held_out_phrases, held_out_scene
from sclip_research.scenes.indoor.words import SYNONYMS
from sclip_research.scenes.phrases import TOY_LEXICON
from sclip_research.training.queries import sample_queries

from sclip_seg_ros.models.clip import EMBEDDED_FOLDER
from sclip_seg_ros.models.weights import checksum
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.figures.metrics import IouMeter

SCENES = 16  # of the 100 that the README's figures come from


@pytest.fixture(scope="module")
def segmentor():
    return SCLIPSegmentor()


def test_weights_ship_within_16_megabytes():
    weights = EMBEDDED_FOLDER / "open_clip_model.safetensors"
    assert 1e6 < weights.stat().st_size <= 16e6


def test_model_card_states_the_shipped_weights():
    card = (EMBEDDED_FOLDER / "README.md").read_text()
    facts = json.loads((EMBEDDED_FOLDER / "evaluation.json").read_text())
    assert facts["weights_sha256"] == checksum(EMBEDDED_FOLDER / "open_clip_model.safetensors")
    for key in ("miou", "miou_held_out_pairs"):
        assert f"{facts[key]:.3f}" in card


def test_miou_over_held_out_scenes(segmentor):
    assert evaluate(segmentor, SCENES, "any").iou.mean() >= 0.70


def test_miou_over_pairs_never_seen(segmentor):
    assert evaluate(segmentor, SCENES, "held-out").iou.mean(held_out_phrases()) >= 0.65


def test_miou_over_bare_nouns(segmentor):
    assert evaluate_nouns(segmentor, SCENES).iou.mean() >= 0.50


def test_other_words_for_a_thing_find_it_too(segmentor):
    """In the indoor world, whose things have several names."""
    found = {False: IouMeter(), True: IouMeter()}
    for index in range(SCENES // 2):
        scene, nouns, truth = held_out_nouns(index, "indoor")
        for other, meter in found.items():
            words = [SYNONYMS.get(noun, (noun,))[0] if other else noun for noun in nouns]
            meter.add(segmentor.segment(scene.image, words), truth, nouns)
    assert found[True].mean() >= 0.9 * found[False].mean() > 0.2


@pytest.mark.parametrize("flags, complaint", [
    (["--model", "x"], "model 'x' is unknown; "),
    (["--device", "abacus"], "device='abacus' is unknown; "),
    (["--scenes", "1", "--output", "no/such/folder/report.json"], "No such file or directory"),
])
def test_what_cannot_be_evaluated_is_told_in_one_line(flags, complaint, capsys, tmp_path,
                                                      monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    *_, told = capsys.readouterr().err.strip().splitlines()
    assert told.startswith("evaluate_embedded_model: ") and complaint in told


def test_training_neither_shows_nor_names_a_held_out_pair():
    assert not set(TOY_LEXICON.pairs()) & HELD_OUT_PAIRS
    scene, _ = held_out_scene(0, "training")
    queries = sample_queries([scene.things], np.random.default_rng(0), distractors=1000)
    assert not held_out_phrases() & set(queries.words)


def test_asking_by_noun_finds_the_same_thing_as_asking_by_phrase(segmentor):
    agreements = []
    for index in range(6):
        scene, _ = held_out_scene(index, "any")
        nouns = sorted({thing.noun for thing in scene.things})
        truth = np.array([nouns.index(thing.noun) for thing in scene.things])[scene.mask]
        agreements.append(np.mean(segmentor.segment(scene.image, nouns) == truth))
    assert np.mean(agreements) >= 0.80


def test_words_never_learnt_are_named_in_a_warning(segmentor, caplog):
    segmentor.vocabulary(["red ball", "a photo of a cup", "red dog", "road|street",
                          "a flurble chair by a snorp"])
    assert "knows nothing of 'dog' in 'red dog', 'road', 'street', " \
        "'flurble' and 'by' and 'snorp' in 'a flurble chair by a snorp'; " in caplog.text
    assert "ball" not in caplog.text


def test_that_photos_mean_nothing_to_it_is_logged_when_it_is_loaded(caplog):
    with caplog.at_level(logging.INFO):
        SCLIPSegmentor()
    assert caplog.text.count("the embedded model knows nothing but rendered rooms") == 1
    caplog.clear()
    with caplog.at_level(logging.INFO):
        SCLIPSegmentor("ViT-S-32-alt", "random")
    assert "rendered rooms" not in caplog.text


def test_inserting_a_class_keeps_the_colours_of_the_others(segmentor):
    before = segmentor.vocabulary(["floor", "wall", "ball"]).colours.tolist()
    after = segmentor.vocabulary(["cup", "floor", "lamp", "wall", "ball"]).colours.tolist()
    assert [after[1], after[3], after[4]] == before


def test_asking_by_colour_merges_the_things_of_a_colour(segmentor):
    for index in (1, 3, 7):
        scene, _ = held_out_scene(index, "any")
        colours = [f"{phrase.split()[0]} object" for phrase in scene.phrases]
        asked = sorted(set(colours))
        by_phrase = segmentor.segment(scene.image, scene.phrases)
        by_colour = segmentor.segment(scene.image, asked)
        merged = np.array([asked.index(colour) for colour in colours])[by_phrase]
        assert np.mean(merged == by_colour) >= 0.90
        assert len(np.unique(by_colour)) > 2
