"""Choices from text that people have: parameter files, vocabularies, command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from sclip_seg_ros.io.former_names import FORMERLY
from sclip_seg_ros.io.profiles import load_profile, parse_vocabulary, profile_names
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.palette import parse_palette
from sclip_seg_ros.studio.choices.choices import (
    Choices,
    Refusal,
    declared_settings,
    value_of,
)
from sclip_seg_ros.tools.arguments import chosen_classes, chosen_settings, chosen_temporal
from sclip_seg_ros.tools.program import OneLineParser
from sclip_seg_ros.tools.segment.arguments import add_arguments

LONGEST = 200_000  # characters
FIELD = "import"


@dataclass(frozen=True)
class Import:
    """What a text says.

    Attributes:
        choices: those it asks for.
        notes: what of it was left aside, in sentences.
    """

    choices: Choices
    notes: tuple[str, ...] = ()


def read(text: str, present: Choices) -> Import:
    """Read a parameter file, a vocabulary file, or a line of sclip-segment or ros2 launch.

    What a text does not name has its default. No file that it names is opened: what is fixed once
    a model is loaded, paths among it, stays as in the present choices.

    Raises:
        Refusal: at the field of the import.
    """
    if len(text) > LONGEST:
        raise Refusal(FIELD, f"the text has {len(text)} characters; at most {LONGEST} are read")
    plain = text.strip()
    if not plain:
        raise Refusal(FIELD, "there is nothing to import; paste a parameter file, a vocabulary, or "
                             "a command line")
    try:
        if re.match(r"(ros2 run \S+ )?sclip[- ]segment\s", plain):
            found = _segment(plain)
        elif re.match(r"ros2 launch\s", plain):
            found = _launch(plain)
        elif "ros__parameters" in plain:
            found = _parameters(plain)
        else:
            found = Import(Choices(tuple(parse_vocabulary(text, "the text"))))
        return _with_fixed(replace(found, choices=found.choices.checked()), present)
    except Refusal as error:
        raise Refusal(FIELD, error) from error
    except (ValueError, FileNotFoundError) as error:
        raise Refusal(FIELD, error) from error


def _with_fixed(found: Import, present: Choices) -> Import:
    """Keep what cannot change while the model is loaded."""
    kept, notes = {}, list(found.notes)
    for name, item in SegmentorSettings.declared().items():
        if item.fixed:
            kept[name] = value_of(present, name)
            asked = value_of(found.choices, name)
            if asked not in (item.default, kept[name]):
                notes.append(f"{name} '{asked}' is not changed by an import; start the studio "
                             "with it.")
    settings = found.choices.settings.with_changes(kept)
    return Import(replace(found.choices, settings=settings), tuple(notes))


def _parameters(text: str) -> Import:
    sections = list(_sections(_yaml(text, "the text")))
    if len(sections) != 1:
        raise ValueError(f"the parameter file has {len(sections)} nodes with ros__parameters; give "
                         "that of one node")
    return of_node(sections[0])


def _sections(content: Any) -> list[Mapping[str, Any]]:
    """Return the mappings below ros__parameters, at whatever depth."""
    if not isinstance(content, Mapping):
        return []
    found = []
    for name, value in content.items():
        if name == "ros__parameters":
            if not isinstance(value, Mapping):
                raise ValueError("ros__parameters holds no 'name: value' lines")
            found.append(value)
        else:
            found += _sections(value)
    return found


def of_node(values: Mapping[str, Any]) -> Import:
    """Read the node's parameters, also nested ones: ROS joins their names with dots.

    Raises:
        Refusal, ValueError: it names no words, or values that cannot be.
    """
    left = _flat(values)
    classes = left.pop("classes", None)
    if isinstance(classes, str):
        classes = [part.strip() for part in classes.split(",") if part.strip()]
    if not isinstance(classes, list) or not classes:
        raise ValueError("it has no classes; a vocabulary_file is not opened here, paste its words "
                         "instead")
    choices = Choices(tuple(map(str, classes)), str(left.pop("background", "") or ""))
    if left.get("palette"):
        choices = replace(choices, palette=dict(parse_palette(str(left["palette"]))))
    left.pop("palette", None)
    former = {name: left.pop(name) for name in list(left) if name in FORMERLY}
    notes = [f"{name} is called {FORMERLY[name]} now." for name in former]
    left = {FORMERLY[name]: value for name, value in former.items()} | left
    settings = {name: value for name, value in left.items() if name in declared_settings()}
    notes += [_aside(name, value) for name, value in left.items() if name not in settings]
    return Import(choices.with_settings(settings), tuple(notes))


def _segment(text: str) -> Import:
    words = shlex.split(text.replace("\\\n", " "))
    words = words[min(words.index(name) for name in ("segment", "sclip-segment")
                      if name in words) + 1:]
    parser = OneLineParser(prog="sclip-segment", allow_abbrev=False, add_help=False)
    add_arguments(parser)
    if "--version" in words:
        raise ValueError("--version says nothing of words; leave it out")
    parsed = parser.parse_intermixed_args(words)
    if parsed.vocabulary_file is not None:
        raise ValueError("--vocabulary-file is not opened here; paste the file's words instead")
    if parsed.profile and parsed.profile.replace("-", "_") not in profile_names():
        raise ValueError(f"--profile '{parsed.profile}' is not opened here; name one of "
                         f"{', '.join(profile_names())}, or give words and settings")
    profile = load_profile(parsed.profile, parsed.method or "sclip") if parsed.profile else None
    classes, background = chosen_classes(parsed, profile, typed=False)
    settings = chosen_settings(parsed, profile, varied=True)
    notes = [_aside(f"--{name}", getattr(parsed, name)) for name in ("model", "pretrained")
             if getattr(parsed, name) not in ("", "embedded")]
    notes += [f"--{flag} is not changed by an import; start the studio with it."
              for flag, given in (("negative", parsed.negative),
                                  ("prompt-templates", parsed.prompt_templates)) if given]
    return Import(Choices(tuple(classes), background, settings=settings,
                          temporal=chosen_temporal(parsed)), tuple(notes))


def _launch(text: str) -> Import:
    given = dict(word.split(":=", 1) for word in shlex.split(text.replace("\\\n", " "))
                 if ":=" in word)
    if "params_file" in given:
        raise ValueError("params_file is not opened here; paste the parameter file itself")
    if "classes" not in given:
        raise ValueError("the line has no classes:=[...]; add them")
    return of_node({name: _yaml(value, f"{name}:={value}") for name, value in given.items()})


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested parameters by their whole names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def _yaml(text: str, what: str) -> Any:
    """Read YAML.

    Raises:
        ValueError: it is none; what names it.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{what} is not valid YAML ({' '.join(str(error).split())})") from error


def _aside(name: str, value: Any) -> str:
    if name in ("model", "pretrained", "--model", "--pretrained"):
        return f"{name} '{value}' is not loaded by an import; start the studio with it."
    if name in SegmentorSettings.declared():
        return f"{name} is not changed by an import; start the studio with it."
    return f"{name} is the node's alone and was left aside."
