"""Class lists: what is understood, and every refusal with its reason and its remedy."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.segmentation.text.vocabulary import (
    MAX_CLASSES,
    VocabularyClass,
    background_id,
    parse_class,
    validate_classes,
)


def test_the_first_synonym_is_the_name():
    assert parse_class("person|pedestrian|man in a coat") == VocabularyClass(
        "person", ("person", "pedestrian", "man in a coat"))
    assert parse_class("floor") == VocabularyClass("floor", ("floor",))


@pytest.mark.parametrize("text", ["  fire   truck | lorry ", "fire\ttruck|lorry",
                                  "fire truck |\nlorry"])
def test_white_space_does_not_matter(text):
    assert parse_class(text).synonyms == ("fire truck", "lorry")


@pytest.mark.parametrize("text", ["", "   ", "a|", "|a", "a||b", "a| \t|b", "|"])
def test_a_blank_word_is_refused(text):
    with pytest.raises(ValueError, match="has a blank word; write e.g."):
        parse_class(text)


def test_a_word_may_have_256_characters():
    assert parse_class("x" * 256).name == "x" * 256
    with pytest.raises(ValueError, match="'x{57}...' has 257 characters; use at most 256"):
        parse_class("a|" + "x" * 257)


@pytest.mark.parametrize("text", ["driver's seat", "door (open)", "t-shirt", "café", "地板", "🪑",
                                  "fire-fighter", "nº 5"])
def test_words_with_signs_are_words(text):
    assert parse_class(text).name == text


@pytest.mark.parametrize("text, sign", [("f\0l\0", "U+0000"), ("a\x1bb", "U+001B"),
                                        ("caf\udce9", "U+DCE9")])
def test_what_belongs_to_no_text_is_refused_by_its_number(text, sign):
    with pytest.raises(ValueError, match=re.escape(f"has the character {sign}, which")):
        validate_classes(["table", text])


@pytest.mark.parametrize("value", [None, 3, ["a"], b"floor"])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(ValueError, match=f"is of type {type(value).__name__}; give a text"):
        validate_classes(["floor", value])


def test_classes_keep_their_order_and_spelling():
    classes = validate_classes(["Wall", "floor|ground", "TV set"])
    assert [entry.name for entry in classes] == ["Wall", "floor", "TV set"]
    assert classes[1].synonyms == ("floor", "ground")


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_any_sequence_of_texts_will_do(kind):
    assert [entry.name for entry in validate_classes(kind(["a", "b"]))] == ["a", "b"]


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_an_empty_list_is_refused(kind):
    with pytest.raises(ValueError, match="list of classes is empty; name at least one"):
        validate_classes(kind([]))


def test_a_text_in_place_of_a_list_is_refused():
    with pytest.raises(ValueError, match=r"one text 'floor'; give a list such as \['floor'"):
        validate_classes("floor")


@pytest.mark.parametrize("classes", [
    ["car", "car"],
    ["car", "Car"],
    ["car|CAR"],
    ["car", "lorry|car"],
    ["fire truck", "fire  truck "],
    ["Straße", "STRASSE"],
])
def test_a_word_may_stand_only_once(classes):
    with pytest.raises(ValueError, match="stands in the classes twice; keep one"):
        validate_classes(classes)


@pytest.mark.parametrize("word", ["Fußgänger", "障害物", "человек", "🚗", "naïve café",
                                  "it's 5\" {x}"])
def test_words_of_any_script_are_taken_as_they_are(word):
    assert validate_classes([word, "floor"])[0].name == word


def test_labels_leave_255_free():
    names = [f"thing {index}" for index in range(MAX_CLASSES)]
    assert len(validate_classes(names)) == 254 == UNLABELLED - 1
    with pytest.raises(ValueError, match="255 classes do not fit .*use at most 254"):
        validate_classes([*names, "one more"])


@pytest.mark.parametrize("background", ["floor", " FLOOR ", "floor|ground", "Floor|anything"])
def test_the_background_is_found_by_its_name(background):
    classes = validate_classes(["wall", "floor|ground"], background)
    assert background_id(classes, background) == 1


@pytest.mark.parametrize("background", ["sky", "ground", "flo", "  "])
def test_a_background_that_is_no_class_is_refused(background):
    assert background_id(validate_classes(["wall", "floor|ground"]), background) is None
    with pytest.raises(ValueError, match=f"background '{background}' is none of the classes; add"):
        validate_classes(["wall", "floor|ground"], background)


def test_no_background_is_a_choice():
    assert len(validate_classes(["wall", "floor"], "")) == 2


def test_long_values_are_shortened_in_messages():
    with pytest.raises(ValueError) as caught:
        validate_classes(["wall"], "sky " * 60)
    assert len(str(caught.value)) < 160
