"""Settings as people write them in files and flags: names in either spelling, values of YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from sclip_seg_ros.common.settings import Settings, by_name
from sclip_seg_ros.common.text import shortened

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text",
          tuple: "a list of whole numbers"}
# YAML 1.1 takes 1e-3 for text: it wants a point and a sign, 1.0e-3.
_SCIENTIFIC = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def typed_changes(section: Mapping[Any, Any], settings: type[Settings]) -> dict[str, Any]:
    """Turn a section of a file into changes, as ``with_changes`` of a settings class takes them.

    Raises:
        ValueError: an unknown setting, one given twice, or a value of another kind.
    """
    return {name: typed(name, value, settings) for name, value in flattened(section).items()}


def flattened(section: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a section's values by the names of settings; none is checked.

    ``{"crf": {"iterations": 5}}``, ``{"crf.iterations": 5}`` and ``{"crf__iterations": 5}`` all
    become ``{"crf.iterations": 5}``.

    Raises:
        ValueError: a setting given twice.
    """
    return by_name((f"{key}.{inner}" if inner else str(key), item)
                   for key, value in section.items()
                   for inner, item in (value.items() if isinstance(value, Mapping) and value
                                       else [("", value)]))


def typed(name: str, value: Any, settings: type[Settings]) -> Any:
    """Return a value of YAML as the type of its setting: lists become tuples, 2 becomes 2.0.

    Args:
        name: of the setting, e.g. ``"crf.iterations"``.
        value: as read.
        settings: class that the setting belongs to.

    Raises:
        ValueError: an unknown setting, a group of them, or a value of another kind.
    """
    declared = settings.declared()
    inside = [known for known in declared if known.startswith(f"{name}.")]
    if inside:
        raise ValueError(f"'{name}: {shortened(value)}' gives a value to a group; set what is in "
                         f"it, e.g. '{inside[0]}'")
    if name not in declared:
        raise ValueError(_no_setting(name, list(declared)))
    default = declared[name].default
    if isinstance(default, float) and type(value) is not bool and _is_number(value):
        return float(value)
    if isinstance(default, tuple) and isinstance(value, (list, tuple)) \
            and all(type(item) is type(default[0]) for item in value):
        return tuple(value)
    if type(value) is type(default) and not isinstance(default, tuple):
        return value
    kind, example = _KINDS[type(default)], list(default) if isinstance(default, tuple) else default
    hint = "" if isinstance(default, bool) else f", e.g. {example}"
    raise ValueError(f"setting '{name}' cannot be {shortened(repr(value))}; give {kind}{hint}")


def _no_setting(name: str, names: list[str]) -> str:
    """Say that a setting does not exist, and which ones with a similar name do."""
    inside = {known.partition(".")[2]: known for known in names if "." in known}
    similar = get_close_matches(name, names) or [inside[match]
                                                 for match in get_close_matches(name, inside)]
    remedy = f"did you mean {' or '.join(similar)}?" if similar \
        else f"choose one of {', '.join(names)}"
    return f"setting '{name}' does not exist; {remedy}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) \
        or isinstance(value, str) and _SCIENTIFIC.fullmatch(value) is not None
