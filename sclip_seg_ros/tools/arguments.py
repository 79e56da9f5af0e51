"""The flags that all command-line programs share: model, settings, words."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sclip_seg_ros.io.profiles import (
    TEMPORAL,
    Profile,
    load_profile,
    parse_assignments,
    read_profile,
    read_vocabulary,
    refuse_pieces_of_lists,
)
from sclip_seg_ros.models.devices import PRECISIONS
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.templates import (
    DEFAULT_TEMPLATES,
    TEMPLATE_SETS,
    resolve_templates,
)
from sclip_seg_ros.segmentation.text.vocabulary import validate_classes, validate_negatives
from sclip_seg_ros.temporal import TemporalSettings
from sclip_seg_ros.tools.program import UsageError, filled

STAGES = tuple(switch.removeprefix("use_") for switch in SegmentorSettings.stages())
PHASE1 = ("loftup", "resclip", "densecrf")  # the bundle that --use-all-phase1 switches on
DEFAULT_METHOD = "sclip"
_STREAM = re.compile(r"(rtsps?|rtmps?|rtp|udp|srt|tcp):/|https?:/.*\.(m3u8|mjpe?g)\b")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")  # also of a Path, which leaves one stroke


def add_segmentor_flags(parser: argparse.ArgumentParser, stages: bool = True) -> None:
    """Add the flags that choose the model and how an image becomes labels.

    Args:
        parser: gains them; aliases and flags without effect are left out of its help.
        stages: whether the help shows the switches of the stages; a program that refuses them
            takes False.
    """
    settings = parser.add_argument_group("settings")
    settings.add_argument("--profile", metavar="NAME",
                          help="published settings and words of a data set, e.g. voc21, or the "
                               "path of a profile of your own")
    settings.add_argument("--method",
                          help="method of the profile: sclip (default), naclip, resclip, "
                               "scclip, proxyclip")
    sizes = settings.add_mutually_exclusive_group()
    for mode, help_ in (("slide", "overlapping windows"), ("whole", "one forward an image")):
        for flag, shown in ((f"--{mode}-inference", help_), (f"--{mode}", argparse.SUPPRESS)):
            sizes.add_argument(flag, dest="inference", action="store_const", const=mode,
                               help=shown)
    for stage in STAGES:
        # argparse cannot format a group without any visible flag.
        switch = settings.add_mutually_exclusive_group() if stages else settings
        flag = stage.replace("_", "-")
        switch.add_argument(f"--use-{flag}", dest=f"use_{stage}", action="store_true", default=None,
                            help="switch the stage on; without a flag the method decides, "
                                 "or the default (PAMR: on)" if stages else argparse.SUPPRESS)
        switch.add_argument(f"--no-{flag}", dest=f"use_{stage}", action="store_false",
                            default=None,
                            help="switch the stage off" if stages else argparse.SUPPRESS)
    settings.add_argument("--use-all-phase1", action="store_true", help=argparse.SUPPRESS)
    factor = settings.add_mutually_exclusive_group()
    factor.add_argument("--loftup-factor", type=float, metavar="FACTOR",
                        help="LoftUp's output side / patch grid's side, the same for all images")
    factor.add_argument("--loftup-adaptive", action="store_true",
                        help="LoftUp's factor from the size of the patch grid (default)")
    settings.add_argument("--loftup-source", metavar="WHERE",
                          help="LoftUp's weights: auto (default: the model's own), embedded, hub, "
                               "torch-hub, bilinear (none), or a checkpoint's path")
    settings.add_argument("--set", nargs="+", action="extend", default=[], dest="assignments",
                          metavar="NAME=VALUE",
                          help="any setting by its name in profile and ladder files, e.g. "
                               "short_side=448 crf.iterations=5 \"pamr.dilations=[4, 8]\"")
    _add_model_flags(parser.add_argument_group("model"))


def _add_model_flags(model: argparse._ArgumentGroup) -> None:
    model.add_argument("--model", default="embedded", help="embedded (default), or e.g. ViT-B/16")
    model.add_argument("--pretrained", default="", help="tag such as openai, or a weights file")
    arithmetic = model.add_mutually_exclusive_group()
    arithmetic.add_argument("--precision", choices=PRECISIONS,
                            help="arithmetic of the image tower (auto: half precision where the "
                                 "device computes in it, else fp32)")
    for flag, precision in (("--use-fp16", "fp16"), ("--no-fp16", "fp32")):
        arithmetic.add_argument(flag, dest="precision", action="store_const", const=precision,
                                help=argparse.SUPPRESS)
    model.add_argument("--device", default="auto",
                       help="auto (default: CUDA where there is one), cpu, cuda, cuda:1, ...")
    # Without effect: all prompts of a word always go through the text tower in one batch.
    model.add_argument("--batch-prompts", action="store_true", help=argparse.SUPPRESS)


def add_temporal_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that has every frame of a film labelled alone; see :func:`chosen_temporal`."""
    parser.add_argument("--no-temporal", dest="temporal", action="store_false",
                        help="label every frame alone; without it labels are steadied by the "
                             "frames before")


def chosen_temporal(arguments: argparse.Namespace) -> TemporalSettings:
    """Return how the frames of a film help one another, by flag and by --set.

    Raises:
        ValueError: an unknown setting, a value out of range, or a setting without effect.
    """
    changes = {name.removeprefix(TEMPORAL): value
               for name, value in assigned_settings(arguments.assignments).items()
               if name.startswith(TEMPORAL)}
    if changes and not arguments.temporal:
        raise UsageError(f"--set {TEMPORAL}{next(iter(changes))} has no effect beside "
                         "--no-temporal; leave one of them out")
    return TemporalSettings(enabled=arguments.temporal).with_changes(changes)


def refuse_stage_switches(parsed: argparse.Namespace, owner: str) -> None:
    """Refuse switches of stages where a program sets them itself; LoftUp's own flags stay.

    Args:
        parsed: flags of :func:`add_segmentor_flags`.
        owner: the program, or its flag, that sets them.

    Raises:
        UsageError: a stage was switched on or off.
    """
    chosen = {stage: getattr(parsed, f"use_{stage}") for stage in STAGES}
    switches = [f"--{'use' if on else 'no'}-{stage.replace('_', '-')}"
                for stage, on in chosen.items() if on is not None]
    switches += ["--use-all-phase1"] if parsed.use_all_phase1 else []
    switches += [f"--set {text}" for text in parsed.assignments if text.startswith("use_")]
    if switches:
        raise UsageError(f"{switches[0]} cannot go with {owner}, which runs every stage alone and "
                         "all together; leave it out")


def add_overlay_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how overlays look; :func:`check_overlay_flags` looks at them."""
    parser.add_argument("--overlay-alpha", type=float, default=0.5, metavar="SHARE",
                        help="share of the class colours in the overlay, 0 to 1 (default 0.5)")
    parser.add_argument("--no-legend", dest="legend", action="store_false",
                        help="leave the names of the classes out of the overlay")


def check_overlay_flags(parsed: argparse.Namespace) -> None:
    """Refuse a share of colours that is none.

    Raises:
        UsageError: naming the value and what is allowed.
    """
    if not 0 <= parsed.overlay_alpha <= 1:
        raise UsageError(f"--overlay-alpha must be 0 to 1, got {parsed.overlay_alpha}")


def add_vocabulary_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name what to look for."""
    words = parser.add_argument_group("words")
    source = words.add_mutually_exclusive_group()
    source.add_argument("--vocabulary", nargs="+", metavar="CLASS",
                        help="classes, synonyms separated by |: person car \"road|street\"")
    source.add_argument("--vocabulary-file", type=Path, metavar="FILE",
                        help="one class a line, synonyms separated by commas or |")
    words.add_argument("--background", metavar="CLASS",
                       help="the class that takes uncertain pixels; one of the vocabulary")
    words.add_argument("--negative", nargs="+", default=[], metavar="WORD",
                       help="words that compete with the classes and are never a label: their "
                            "pixels are the background's, or unlabelled")
    words.add_argument("--prompt-templates", nargs="+", metavar="TEMPLATE",
                       help="sentences with {} for the word, or names of sets: "
                            f"{', '.join(TEMPLATE_SETS)} (default {DEFAULT_TEMPLATES[0]})")


def text_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what vocabularies take besides classes and background, by its keyword."""
    return {"negatives": arguments.negative, "templates": arguments.prompt_templates}


def chosen_profile(arguments: argparse.Namespace, default: str = "") -> Profile | None:
    """Load the profile that is named; None where there is none.

    Args:
        arguments: parsed flags.
        default: profile to take without a flag.

    Raises:
        ValueError, FileNotFoundError: it does not exist or cannot be used.
    """
    name = arguments.profile or default
    if not name:
        if arguments.method:
            raise UsageError(f"--method '{arguments.method}' needs a profile; add --profile")
        return None
    method = arguments.method or DEFAULT_METHOD
    file = Path(name)
    return read_profile(file, method) if file.suffix else load_profile(name, method)


def chosen_settings(arguments: argparse.Namespace, profile: Profile | None,
                    varied: bool = False) -> SegmentorSettings:
    """Return the profile's settings, or the default ones, with the flags' changes.

    Args:
        arguments: of the command line.
        profile: that it names.
        varied: whether the program switches stages on and off itself, so that a setting of one that
            is off has an effect.

    Raises:
        ValueError: a value out of range, a setting without effect, or a setting that --set and a
            flag of its own both give.
    """
    changes: dict[str, Any] = {"inference": arguments.inference, "precision": arguments.precision,
                               "loftup.factor": arguments.loftup_factor,
                               "loftup.source": arguments.loftup_source}
    for stage in STAGES:
        switch = getattr(arguments, f"use_{stage}")
        bundled = arguments.use_all_phase1 and stage in PHASE1
        changes[f"use_{stage}"] = True if switch is None and bundled else switch
    if arguments.loftup_adaptive or arguments.loftup_factor is not None:
        changes["loftup.adaptive"] = arguments.loftup_adaptive
    changes = {name: value for name, value in changes.items() if value is not None}
    assigned = assigned_settings(arguments.assignments)
    if hasattr(arguments, "temporal"):  # those are for chosen_temporal()
        assigned = {name: value for name, value in assigned.items()
                    if not name.startswith(TEMPORAL)}
    for name in assigned:
        if name in changes:
            raise UsageError(f"--set {name} contradicts or repeats a flag of "
                             "its own; leave one of them out")
    settings = (profile.settings if profile else SegmentorSettings()).with_changes(
        {**changes, **assigned})
    _refuse_idle(changes, assigned, settings, varied)
    return settings


def _refuse_idle(flags: Mapping[str, Any], assigned: Mapping[str, Any],
                 settings: SegmentorSettings, varied: bool) -> None:
    """Refuse a setting of a stage that is off, by flag or by --set, and a factor not used."""
    spelled = {name: f"--{name.replace('.', '-')}" for name in flags}
    spelled.update({name: f"--set {name}" for name in assigned})
    given = {**flags, **assigned}
    switches = {group: switch for switch, group in settings.stages().items()}
    for name in given:
        group, nested, _ = name.partition(".")
        if nested and not varied and not getattr(settings, switches[group]):
            switch = switches[group]
            remedy = "leave one of them out" if switch in given else \
                f"add --{switch.replace('_', '-')}, or leave it out"
            raise UsageError(f"{spelled[name]} has no effect while {switch} is off; {remedy}")
    if given.get("loftup.adaptive") and "loftup.factor" in given:
        raise UsageError(f"{spelled['loftup.factor']} has no effect beside "
                         f"{spelled['loftup.adaptive']}; leave one of them out")


def assigned_settings(texts: Sequence[str]) -> dict[str, Any]:
    try:
        return parse_assignments(texts)
    except ValueError as error:
        raise UsageError(f"--set: {error}") from error


def chosen_classes(arguments: argparse.Namespace,
                   profile: Profile | None, typed: bool = True) -> tuple[list[str], str]:
    """Return the classes to look for and the name of the background, empty for none.

    Args:
        arguments, profile: that name them.
        typed: whether the words were typed on a command line here, where a list or the name of a
            file in their place is a slip.

    Raises:
        ValueError, FileNotFoundError: no classes, or unusable ones.
    """
    background = arguments.background or ""
    if arguments.vocabulary_file is not None:
        classes = read_vocabulary(arguments.vocabulary_file)
    elif arguments.vocabulary is not None:
        classes = arguments.vocabulary
        if typed:
            _refuse_files(classes)
            refuse_pieces_of_lists(classes)
        _refuse_commas(classes)
    elif profile is not None:
        classes, background = list(profile.classes), background or profile.background
    else:
        raise UsageError("there are no classes to look for; add --vocabulary floor wall "
                         "\"person|pedestrian\", --vocabulary-file or --profile")
    resolve_templates(arguments.prompt_templates or DEFAULT_TEMPLATES)
    validate_negatives(arguments.negative, validate_classes(classes, background))
    return classes, background


def is_address(name: Path | str) -> bool:
    """Tell an address of an object store or a server from a path."""
    return not os.path.lexists(name) and _ADDRESS.match(str(name)) is not None


def path_or_address(text: str) -> Path | str:
    """Return a path, which is not to be empty, or an address as it is, for a flag's ``type``."""
    return text if is_address(text) else Path(filled(text))


def refuse_address(name: Path | str, remedy: str = "") -> None:
    """Refuse an address of an object store or a web server in the place of a path.

    Args:
        name: to look at.
        remedy: another one than those for all programs, with "or" behind it.

    Raises:
        UsageError: with what to do.
    """
    if _STREAM.match(str(name)) and is_address(name):
        raise UsageError(f"'{name}' is a stream, and files and recordings are read here; save some "
                         "of it as a film (ffmpeg -i ADDRESS -t 60 film.mkv), or have a camera "
                         "driver such as gscam publish it for the node")
    if is_address(name):
        raise UsageError(f"'{name}' is an address, and files and recordings are read and written "
                         f"in folders; {remedy}mount it (rclone mount, s3fs) or copy it, and give "
                         "the folder's path")


def check_output(folder: Path) -> None:
    """Refuse a folder of results that cannot be made, before any work is done.

    Raises:
        UsageError: naming what is in the way.
    """
    refuse_address(folder)
    there = next(path for path in (folder.absolute(), *folder.absolute().parents)
                 if os.path.lexists(path))
    if not there.is_dir():
        raise UsageError(f"--output '{folder}' cannot be a folder, because '{there}' is a file; "
                         "choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"--output '{folder}' cannot be written, because '{there}' forbids it; "
                         "choose another folder")


def _refuse_files(classes: list[str]) -> None:
    """Refuse the name of a file for a word; a folder may be called as what its pictures show."""
    for entry in classes:
        if Path(entry).suffix and os.path.isfile(entry):
            raise UsageError(f"class '{entry}' is the name of a file; give it with "
                             "--vocabulary-file, or the words themselves")


def _refuse_commas(classes: list[str]) -> None:
    """Refuse classes that are separated as no shell separates words."""
    for entry in classes:
        if "," in entry:
            parts = [part.strip() for part in entry.split(",") if part.strip()]
            raise UsageError(f"class '{entry}' has a comma; write {shlex.join(parts)} for several "
                             "classes, or | between synonyms")
