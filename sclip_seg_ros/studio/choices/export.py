"""Choices as files and command lines, for the node and the programs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from sclip_seg_ros.io.profiles import TEMPORAL
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.palette import Colour
from sclip_seg_ros.studio.choices.choices import BUDGET, Choices, changed_settings

FORMS = ("parameters", "vocabulary", "segment", "launch")
PARAMETERS_FILE = "sclip_seg.yaml"


@dataclass(frozen=True)
class Origin:
    """What the choices were made with.

    Attributes:
        model, pretrained: as the programs and the node take them; empty where unknown.
        paths: of pictures, films and recordings, as they were given.
        negatives, templates: negative words and prompt templates, which the page does not change.
    """

    model: str = ""
    pretrained: str = ""
    paths: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Export:
    """One way to keep choices.

    Attributes:
        text: to be copied or saved.
        file: name to save it under; empty for a command line.
        notes: what it does not say, in sentences.
    """

    text: str
    file: str = ""
    notes: tuple[str, ...] = ()


def export(form: str, choices: Choices, origin: Origin) -> Export:
    """Write choices down.

    Args:
        form: one of :data:`FORMS`.
        choices: to be kept.
        origin: what they were made with.

    Raises:
        ValueError: an unknown form, or words that it cannot hold.
    """
    makers = {"parameters": parameters, "vocabulary": vocabulary, "segment": segment_line,
              "launch": launch_line}
    if form not in makers:
        raise ValueError(f"there is no form '{form}'; choose one of {', '.join(FORMS)}")
    return makers[form](choices, origin)


def parameters(choices: Choices, origin: Origin) -> Export:
    """Return a parameter file of the node: words, and what differs from the defaults."""
    values = node_parameters(choices, origin)
    text = yaml.safe_dump({"/**": {"ros__parameters": values}}, sort_keys=False,
                          allow_unicode=True, default_flow_style=None, width=88)
    note = f"ros2 launch sclip_seg_ros segment.launch.py params_file:=$PWD/{PARAMETERS_FILE}"
    return Export(f"# {note}\n{text}", PARAMETERS_FILE)


def node_parameters(choices: Choices, origin: Origin) -> dict[str, Any]:
    """Return the node's parameters."""
    values: dict[str, Any] = {name: value for name, value in (
        ("model", origin.model), ("pretrained", origin.pretrained)) if value}
    values["classes"] = list(choices.classes)
    if choices.background:
        values["background"] = choices.background
    values |= {name: list(value) for name, value in (
        ("negative_words", origin.negatives), ("prompt_templates", origin.templates)) if value}
    if choices.palette:
        values["palette"] = palette_text(choices.palette)
    return values | changed_settings(choices)


def palette_text(palette: dict[str, Colour] | Any) -> str:
    """Return colours as the node's parameter has them."""
    return ", ".join(f"{name}=#{red:02x}{green:02x}{blue:02x}"
                     for name, (red, green, blue) in palette.items())


def vocabulary(choices: Choices, origin: Origin) -> Export:
    """Return a vocabulary file: one class a line.

    Raises:
        ValueError: a word with a character that means something else there.
    """
    for text in choices.classes:
        for mark in ",#":
            if mark in text:
                raise ValueError(f"'{text}' has '{mark}', which a vocabulary file does not hold; "
                                 "keep the words as a parameter file")
    lines = [", ".join(entry.synonyms) for entry in choices.parsed]
    notes = (f"A vocabulary file does not say that '{choices.background}' is the background.",) \
        if choices.background else ()
    return Export("\n".join(lines) + "\n", "vocabulary.txt", notes)


def segment_line(choices: Choices, origin: Origin) -> Export:
    """Return a command line of `sclip-segment`.

    Raises:
        ValueError: a word that a command line cannot hold.
    """
    words = ["sclip-segment", *(origin.paths or ("PICTURES",))]
    if origin.model:
        words += ["--model", origin.model]
    if origin.pretrained:
        words += ["--pretrained", origin.pretrained]
    for text in choices.classes:
        if "," in text or text.startswith("-"):
            raise ValueError(f"'{text}' cannot stand on a command line; keep the words as a "
                             "parameter file")
    words += ["--vocabulary", *choices.classes]
    if choices.background:
        words += ["--background", choices.background]
    for flag, given in (("--negative", origin.negatives), ("--prompt-templates", origin.templates)):
        words += [flag, *given] if given else []
    changed = changed_settings(choices)
    if not choices.temporal.enabled:
        words.append("--no-temporal")
        changed = {name: value for name, value in changed.items()
                   if not name.startswith(TEMPORAL)}
    off = {group for switch, group in SegmentorSettings.stages().items()
           if not getattr(choices.settings, switch)}
    changed = {name: value for name, value in changed.items() if name.partition(".")[0] not in off}
    notes = []
    if changed.pop(BUDGET, None):
        notes.append("A budget is the node's alone; sclip-segment takes its time.")
    if choices.palette:
        notes.append("Colours cannot be given to sclip-segment; the labels are the same.")
    if changed:
        words += ["--set", *(f"{name}={_flow(value)}" for name, value in changed.items())]
    return Export(shlex.join(words), notes=tuple(notes))


def launch_line(choices: Choices, origin: Origin) -> Export:
    """Return a line that starts the node; with a parameter file where it takes one."""
    values = node_parameters(choices, origin)
    words = ["ros2", "launch", "sclip_seg_ros", "segment.launch.py"]
    if values.keys() <= {"model", "pretrained", "classes", BUDGET}:
        listed = yaml.safe_dump(values.pop("classes"), default_flow_style=True, width=float("inf"),
                                allow_unicode=True, default_style="'").strip()
        words += [shlex.quote(f"{name}:={value}") for name, value in values.items()]
        words.append(f'classes:="{listed}"' if set(listed).isdisjoint('"$`\\!')
                     else f"classes:={shlex.quote(listed)}")
        return Export(" ".join(words))
    words.append(f"params_file:=$PWD/{PARAMETERS_FILE}")
    return Export(" ".join(words), notes=(
        f"Save the parameter file as {PARAMETERS_FILE} in the folder that you start this in; a "
        "launch line alone does not hold all that was changed.",))


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")
