"""A parameter's value as somebody wrote it, made into what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sclip_seg_ros.common.text import OF_LISTS, is_piece_of_list, shortened
from sclip_seg_ros.io.profiles import refuse_numbers
from sclip_seg_ros.ros.parameters.declarations import DECLARATIONS, Declaration
from sclip_seg_ros.segmentation.text.palette import Colour, parse_palette

_SHOWN = 80  # characters of a value in a message
_COMMAS = ",，、،；"  # of other scripts too; no word has one


def parse_value(entry: Declaration, value: Any) -> Any:
    """Return a parameter's value as what it means: equal for values that mean the same.

    Raises:
        ValueError: a value of another type, out of range, or none of the choices.
    """
    if value is None:
        raise ValueError(f"{entry.name} cannot be deleted; set it to its default, "
                         f"{entry.default!r}")
    if entry.name in _PARSERS:
        return _PARSERS[entry.name](value)
    if entry.choices and (not isinstance(value, str) or value not in entry.choices):
        raise ValueError(f"{entry.name}='{value}' is unknown; choose one of "
                         f"{', '.join(entry.choices)}")
    if isinstance(entry.default, bool):
        return _of_type(entry, value, bool, "not a switch; give true or false")
    if isinstance(entry.default, (int, float)):
        return _number(entry, value)
    if isinstance(entry.default, list):
        items = _of_type(entry, value, list, f"not a list; give e.g. {entry.default}")
        return tuple(int(item) if isinstance(item, float) and item % 1 == 0 else item
                     for item in items)
    return _of_type(entry, value, str, "not text; put it in quotes")


def parse_classes(value: Any) -> tuple[str, ...]:
    """Return classes from a list, or from one text with commas between the classes.

    Raises:
        ValueError: anything else, an empty list, pieces of a list for words, or numbered ones.
    """
    items = _items(value)
    if items is None or items == []:
        raise ValueError("the list of classes is empty; name at least one thing to look for")
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        quotes = "; put words such as yes, no, on and off in quotes" \
            if isinstance(items, list) and any(isinstance(item, bool) for item in items) else ""
        raise ValueError(f"classes={value!r} is not a list of texts; give e.g. ['floor', 'wall']"
                         f"{quotes}")
    refuse_numbers(items)
    for item in items:
        for word in item.split("|"):
            if is_piece_of_list(word, OF_LISTS + _COMMAS):
                raise _broken("classes", value, "\"['floor', 'person|pedestrian']\" or "
                              "floor,person|pedestrian")
    return tuple(" ".join(item.split()) for item in items)


def parse_negatives(value: Any) -> tuple[str, ...]:
    """Return negative words from a list, or from one text with commas between them; or none.

    Raises:
        ValueError: anything else, or pieces of a list for words.
    """
    items = _items(value)
    if isinstance(value, str):
        items = [item for item in items if item.strip()]
    if not items:
        return ()
    words = _texts("negative_words", items)
    if any(is_piece_of_list(word, OF_LISTS + _COMMAS) for word in words):
        raise _broken("negative_words", value, "\"['mirror', 'window']\" or mirror,window")
    return words


def parse_class_ids(value: Any) -> tuple[int, ...]:
    """Return class ids from a list, or from one text with commas between the ids.

    Raises:
        ValueError: anything else.
    """
    items = _items(value)
    if isinstance(value, str):
        items = [item for item in items if item.strip()]
    try:
        if not isinstance(items, list) or any(isinstance(item, bool) for item in items) \
                or any(int(item) != float(item) for item in items):
            raise ValueError
        return tuple(int(item) for item in items)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"class_ids={value!r} is not a list of whole numbers; give e.g. [1, 2, "
                         "3], or [] to number the classes") from error


def parse_topics(value: Any) -> tuple[str, ...]:
    """Return topics from a list, or from one text with commas between the topics.

    Raises:
        ValueError: anything else, nothing, or pieces of a list for topics.
    """
    topics = _texts("image_topics", _items(value))
    if any(is_piece_of_list(topic, OF_LISTS + _COMMAS) for topic in topics):
        raise _broken("image_topics", value,
                      "\"['/front/image_raw', '/rear/image_raw']\" or "
                      "/front/image_raw,/rear/image_raw")
    return topics


def parse_depth_topics(value: Any) -> tuple[str, ...]:
    """Return topics from a list, or from one text with commas; empty for cameras without depth.

    Raises:
        ValueError: anything else, or pieces of a list for topics.
    """
    items = [] if value is None else _items(value)
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"depth_topics={value!r} is not a list of topics; give e.g. "
                         "['/depth/image_raw']")
    topics = tuple(item.strip() for item in items)
    if any(is_piece_of_list(topic, OF_LISTS + _COMMAS) for topic in topics):
        raise _broken("depth_topics", value,
                      "\"['/front/depth', '/rear/depth']\" or /front/depth,/rear/depth")
    return topics if any(topics) else ()


def parse_point_classes(value: Any) -> tuple[str, ...]:
    """Return class names from a list, or from one text with commas between them.

    Raises:
        ValueError: anything else, or pieces of a list for classes.
    """
    items = [] if value is None else _items(value)
    if not isinstance(items, list) or not all(isinstance(item, str) and item.strip(" -")
                                              for item in items):
        raise ValueError(f"points.classes={value!r} is not a list of classes; give e.g. ['floor', "
                         "'table'], or ['-floor'] for all others")
    if any(is_piece_of_list(item.strip(" -"), OF_LISTS + _COMMAS) for item in items):
        raise _broken("points.classes", value, "\"['floor', 'table']\" or floor,table")
    return tuple(" ".join(item.split()) for item in items)


def parse_templates(value: Any) -> tuple[str, ...]:
    """Return prompt templates from a list, or from one text, which is one template.

    Raises:
        ValueError: anything else, nothing, or pieces of a list for sentences.
    """
    templates = _texts("prompt_templates", value)
    if any(is_piece_of_list(template.replace("{}", "x"), OF_LISTS) for template in templates):
        raise _broken("prompt_templates", value, "\"['a photo of a {}.', 'a {} in a room.']\"")
    return templates


def parse_colours(value: Any) -> tuple[tuple[str, Colour], ...]:
    """Return classes and their colours from one text such as ``"road=#804080, sky=#4682b4"``.

    Raises:
        ValueError: anything else, or pieces of a list for names.
    """
    entry = DECLARATIONS["palette"]
    palette = parse_palette(_of_type(entry, value, str, "not text; give e.g. 'road=#804080'"))
    if any(is_piece_of_list(name, OF_LISTS + "=#") for name, _ in palette):
        raise _broken("palette", value, "\"road=#804080, sky=#4682b4\"")
    return palette


def _items(value: Any) -> Any:
    """Return what commas separate in a text, none of "" and "[]"; anything else as it is."""
    if not isinstance(value, str):
        return value
    return [] if value.strip() in ("", "[]") else value.split(",")


def _texts(name: str, value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if items == []:
        raise ValueError(f"{name} is empty; give e.g. {DECLARATIONS[name].default}")
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"{name}={value!r} is not a list of texts; give e.g. "
                         f"{DECLARATIONS[name].default}")
    if not all(item.strip() for item in items):
        raise ValueError(f"{name}={value!r} has an empty text; " + (
            "take it out" if any(item.strip() for item in items) else
            f"give e.g. {DECLARATIONS[name].default}"))
    return tuple(item.strip() for item in items)


def _broken(name: str, value: Any, example: str) -> ValueError:
    return ValueError(f"{name}={shortened(repr(value), _SHOWN)} looks like a list that could not "
                      f"be read as one; write {example}")


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "classes": parse_classes, "negative_words": parse_negatives, "class_ids": parse_class_ids,
    "image_topics": parse_topics, "depth_topics": parse_depth_topics,
    "points.classes": parse_point_classes,
    "prompt_templates": parse_templates, "palette": parse_colours}


def _of_type(entry: Declaration, value: Any, kind: type, complaint: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{entry.name}={value!r} is {complaint}")
    return value


def _number(entry: Declaration, value: Any) -> int | float:
    """Return a number as its parameter's type: 50.0 for 50, and 64 for 64.0."""
    kind = type(entry.default)
    is_number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not is_number or kind is int and isinstance(value, float) and value % 1 != 0:
        whole = "whole " if kind is int else ""
        raise ValueError(f"{entry.name}={value!r} is not a {whole}number; give {entry.low} to "
                         f"{entry.high}")
    if not entry.low <= value <= entry.high:
        raise ValueError(f"{entry.name} must be {entry.low} to {entry.high}, got {value}")
    return kind(value)
