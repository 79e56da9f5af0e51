"""A parameter's value as somebody wrote it, made into what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sclip_seg_ros.ros.parameter_table import DECLARATIONS, Declaration
from sclip_seg_ros.segmentation.palette import parse_palette


def parse_value(entry: Declaration, value: Any) -> Any:
    """Return a parameter's value as what it means: equal for values that mean the same.

    Raises:
        ValueError: a value of another type, out of range, or none of the choices.
    """
    if entry.name in _PARSERS:
        return _PARSERS[entry.name](value)
    if entry.choices and value not in entry.choices:
        raise ValueError(f"{entry.name}='{value}' is unknown; choose one of "
                         f"{', '.join(entry.choices)}")
    if isinstance(entry.default, bool):
        return _of_type(entry, value, bool, "no switch; give true or false")
    if isinstance(entry.default, (int, float)):
        return _number(entry, value)
    if isinstance(entry.default, list):
        return tuple(_of_type(entry, value, list, f"no list; give e.g. {entry.default}"))
    text = _of_type(entry, value, str, "no text; put it in quotes")
    return parse_palette(text) if entry.name == "palette" else text


def parse_classes(value: Any) -> tuple[str, ...]:
    """Return classes from a list, or from one text with commas between the classes.

    Raises:
        ValueError: anything else, or an empty list.
    """
    if isinstance(value, str):
        value = value.split(",") if value.strip() else []
    if value is None or value == []:
        raise ValueError("the list of classes is empty; name at least one thing to look for")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"classes={value!r} is no list of texts; give e.g. ['floor', 'wall']")
    return tuple(" ".join(item.split()) for item in value)


def parse_list(name: str, value: Any) -> tuple[str, ...]:
    """Return the texts of a list parameter, which may also be one text.

    Raises:
        ValueError: anything else, or nothing.
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items \
            or not all(isinstance(item, str) and item.strip() for item in items):
        raise ValueError(f"{name}={value!r} is no list of texts; give e.g. "
                         f"{DECLARATIONS[name].default}")
    return tuple(item.strip() for item in items)


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "classes": parse_classes,
    "prompt_templates": partial(parse_list, "prompt_templates"),
    "image_topics": partial(parse_list, "image_topics"),
}


def _of_type(entry: Declaration, value: Any, kind: type, complaint: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{entry.name}={value!r} is {complaint}")
    return value


def _number(entry: Declaration, value: Any) -> int | float:
    """Return a number as its parameter's type: 50.0 for 50, and 64 for 64.0."""
    kind = type(entry.default)
    is_number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not is_number or kind is int and isinstance(value, float) and value % 1 != 0:
        raise ValueError(f"{entry.name}={value!r} is no {'whole ' if kind is int else ''}number; "
                         f"give {entry.low} to {entry.high}")
    if not entry.low <= value <= entry.high:
        raise ValueError(f"{entry.name}={value} is out of range; give {entry.low} to {entry.high}")
    return kind(value)
