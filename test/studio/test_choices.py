"""Choices: words, colours and settings that change, or are refused at their field."""

from __future__ import annotations

import pytest

from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.studio.choices.choices import (
    BUDGET,
    Choices,
    Refusal,
    changed_settings,
    declared_settings,
    values_of,
)
from sclip_seg_ros.studio.choices.imports import read

WORDS = Choices(("floor", "wall", "cup|mug"), "wall")


def refusal(change) -> Refusal:
    with pytest.raises(Refusal) as caught:
        change()
    return caught.value


def test_words_are_added_one_by_one_or_several_at_once():
    assert WORDS.add(" lamp ").classes == ("floor", "wall", "cup|mug", "lamp")
    assert WORDS.add("lamp, red  ball|ball\nrug").classes[3:] == ("lamp", "red ball|ball", "rug")


@pytest.mark.parametrize(("text", "said"), [
    ("Floor", "'Floor' stands in the classes twice"), (" ", "no word to add"),
    ("a||b", "a blank word"), ("x" * 300, "300 characters"),
    ("\n".join(f"w{index}" for index in range(300)), "303 classes do not fit")])
def test_words_that_cannot_be_are_refused_at_their_field(text, said):
    found = refusal(lambda: WORDS.add(text))
    assert found.field == "classes" and said in str(found)


@pytest.mark.parametrize("text", ["['floor'", "floor; wall", '"lamp', "- lamp", "{lamp}"])
def test_words_that_programs_refuse_are_refused(text):
    """Pieces of lists, typed, given as a new name, or imported as a vocabulary."""
    for change in (lambda: WORDS.add(text), lambda: WORDS.rename("wall", text),
                   lambda: read(f"sky\n{text}\n", WORDS)):
        found = refusal(change)
        assert f"class '{text}' looks like a piece of a list" in str(found)


def test_a_comma_in_a_new_name_is_told_with_what_to_write():
    found = refusal(lambda: WORDS.rename("wall", "wall, plaster"))
    assert found.field == "classes" and "write | between synonyms" in str(found)


def test_a_renamed_class_keeps_its_place_its_colour_and_its_part_as_background():
    changed = WORDS.coloured("wall", "#804080").rename("wall", "plaster | wall")
    assert changed.classes == ("floor", "plaster|wall", "cup|mug")
    assert changed.background == "plaster" and dict(changed.palette) == {"plaster": (128, 64, 128)}


def test_the_background_goes_with_its_class_and_the_last_class_stays():
    assert WORDS.remove("wall").background == ""
    alone = refusal(lambda: Choices(("floor",)).remove("floor"))
    assert alone.field == "classes" and "last class" in str(alone)


def test_classes_move_and_one_that_somebody_else_removed_is_told():
    assert WORDS.move("cup", 0).names == ["cup", "floor", "wall"]
    assert WORDS.move("floor", 99).names == ["wall", "cup", "floor"]
    assert "none of the classes any more" in str(refusal(lambda: WORDS.move("lamp", 0)))


def test_a_background_must_be_a_class():
    found = refusal(lambda: WORDS.as_background("sky"))
    assert found.field == "background" and "'sky'" in str(found)


@pytest.mark.parametrize(("name", "value", "said"), [
    ("probability_threshold", 1.5, "must be 0.0 to 1.0, got 1.5"),
    ("crf.iterations", 2.5, "a whole number"), ("attention", "none", "is unknown"),
    ("temporal.weight", 2.0, "must be 0.0 to 0.99"), (BUDGET, -1, "must be 0.0 to"),
    ("nonsense", 1, "does not exist"), ("use_pamr", "yes", "true or false")])
def test_a_setting_is_refused_at_its_own_field(name, value, said):
    found = refusal(lambda: WORDS.with_settings({name: value}))
    assert found.field == name and said in str(found)


def test_all_settings_can_be_read_changed_and_told_from_their_defaults():
    assert values_of(WORDS).keys() == declared_settings().keys()
    changed = WORDS.with_settings({"crf.iterations": 5, "pamr.dilations": [4, 8],
                                   "temporal.enabled": False, BUDGET: 80})
    assert changed_settings(changed) == {"crf.iterations": 5, "pamr.dilations": [4, 8],
                                         "temporal.enabled": False, BUDGET: 80.0}
    assert changed.settings.crf.iterations == 5 and changed_settings(WORDS) == {}


def test_what_names_files_cannot_be_changed_from_a_page():
    fixed = {name for name, item in SegmentorSettings.declared().items() if item.fixed}
    assert {"loftup.source", "anyup.source", "precision"} <= fixed
    assert fixed.isdisjoint(declared_settings())


def test_settings_are_taken_together_whatever_their_order():
    changed = WORDS.with_settings({"loftup.adaptive": True, "loftup.factor": 2.0,
                                   "crop": 64, "stride": 32}).settings
    assert changed.loftup.adaptive and (changed.crop, changed.stride) == (64, 32)
    found = refusal(lambda: WORDS.with_settings({"stride": 128, "crop": 64, "use_tlp": True}))
    assert found.field == "stride" and "stride must be" in str(found)


def test_each_name_of_two_settings_together():
    found = refusal(lambda: WORDS.with_settings({"use_loftup": True, "use_anyup": True}))
    assert found.field == "use_anyup" and "cannot both be on" in str(found)
