"""Read profiles (published settings with their classes) and vocabularies from config/ files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from sclip_seg_ros.common.text import is_numbered, is_piece_of_list, shortened
from sclip_seg_ros.common.yaml_values import typed_changes
from sclip_seg_ros.io.file_kinds import found_instead
from sclip_seg_ros.models.resources import config_folders, config_path
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import validate_classes
from sclip_seg_ros.temporal import TemporalSettings

TEMPORAL = "temporal."  # beginning of the names that flags know besides the segmentor's
_KEYS = ("vocabulary", "background", "settings", "methods")


@dataclass(frozen=True)
class Profile:
    """What a data set is segmented with.

    Attributes:
        name: of the profile, e.g. ``"voc21"``.
        method: whose settings these are, e.g. ``"sclip"``.
        settings: ready for a segmentor.
        classes: one string a class in the order of the ids, synonyms separated by ``|``.
        background: name of the background class, empty where there is none.
    """

    name: str
    method: str
    settings: SegmentorSettings
    classes: tuple[str, ...]
    background: str


def profile_names() -> list[str]:
    """Return the names of the installed profiles, sorted."""
    return sorted({path.stem for folder in config_folders()
                   for path in (folder / "profiles").glob("*.yaml")})


def load_profile(name: str, method: str = "sclip") -> Profile:
    """Load an installed profile, e.g. ``load_profile("voc21", "naclip")``.

    Hyphens stand for underscores: data sets are called ``coco-object``, files ``coco_object``.

    Raises:
        ValueError: an unknown profile, method or key, or a value that the settings refuse.
    """
    installed = name.replace("-", "_")
    if installed not in profile_names():
        raise ValueError(f"profile '{name}' does not exist; choose one of "
                         f"{', '.join(profile_names())}, or give the path of a YAML file of your "
                         "own")
    return read_profile(config_path(f"profiles/{installed}.yaml"), method)


def read_profile(path: str | Path, method: str = "sclip") -> Profile:
    """Read a profile of your own; its ``vocabulary`` is a path relative to the file.

    Raises:
        FileNotFoundError: the file or its vocabulary does not exist.
        ValueError: an unknown method or key, or a value that the settings refuse.
    """
    path = Path(path)
    content = _yaml_mapping(path)
    for key in content:
        if key not in _KEYS:
            raise ValueError(f"{path}: key '{key}' is unknown; a profile has {', '.join(_KEYS)}")
    content = {"background": "", **content}
    for key, kind, called in (("vocabulary", str, "text"), ("background", str, "text"),
                              ("methods", Mapping, "group")):
        if not isinstance(content.get(key), kind):
            raise ValueError(f"{path}: '{key}' is missing or not {called}; correct it")
    methods = content["methods"]
    if method not in methods:
        raise ValueError(f"{path}: method '{method}' is not in the profile; choose one of "
                         f"{', '.join(methods)}")
    background = content["background"]
    classes = read_vocabulary(path.parent / content["vocabulary"])
    try:
        changes = {**_changes(content.get("settings")), **_changes(methods[method])}
        settings = SegmentorSettings().with_changes(changes)
        validate_classes(classes, background)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Profile(path.stem, method, settings, tuple(classes), background)


def read_vocabulary(path: str | Path) -> list[str]:
    """Read a vocabulary file, see :func:`parse_vocabulary`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not UTF-8 text, or holds no usable list of classes.
    """
    return parse_vocabulary(_text(Path(path)), str(path))


def parse_vocabulary(text: str, what: str) -> list[str]:
    """Read the text of a vocabulary file: one class a line, synonyms separated by ``,`` or ``|``.

    ``#`` starts a comment, blank lines do not count.

    Args:
        text: with lines.
        what: it is, for errors.

    Returns:
        One string a class, synonyms separated by ``|``, as a segmentor takes them.

    Raises:
        ValueError: it holds no usable list of classes.
    """
    classes = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0]
        if not line.strip():
            continue
        words = [" ".join(word.split()) for word in line.replace(",", "|").split("|")]
        if not all(words):
            raise ValueError(f"{what}, line {number}: '{line.strip()}' has a blank synonym; "
                             "write e.g. 'person, pedestrian'")
        classes.append("|".join(words))
    try:
        refuse_pieces_of_lists(classes)
        validate_classes(classes)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    return classes


@lru_cache(maxsize=1)
def shipped_words() -> list[dict[str, str]]:
    """Return every class of the shipped vocabularies once, with where it comes from, sorted."""
    found: dict[str, dict[str, str]] = {}
    for folder in config_folders():
        for path in sorted((folder / "vocabularies").glob("*.txt")):
            for text in read_vocabulary(path):
                if text.count("|") < 4:  # not the long lists that stand for a background
                    found.setdefault(text.casefold(), {"text": text, "from": path.stem})
    return sorted(found.values(), key=lambda entry: entry["text"].casefold())


def refuse_pieces_of_lists(classes: Sequence[str]) -> None:
    """Refuse what somebody wrote as a list in a form that is not read as one.

    Raises:
        ValueError: a class with brackets, semicolons or quotes around it, or all with numbers.
    """
    refuse_numbers(classes)
    for text in classes:
        if any(map(is_piece_of_list, text.split("|"))):
            raise ValueError(f"class '{shortened(text)}' looks like a piece of a list that "
                             "could not be read as one; give each class by itself, without "
                             "brackets, quotes and semicolons")


def refuse_numbers(classes: Sequence[str]) -> None:
    """Refuse classes that begin with their ids, as lists of data sets have them.

    Raises:
        ValueError: all of them do.
    """
    if is_numbered(classes):
        raise ValueError(f"class '{shortened(classes[0])}' begins with its number, as all do; "
                         "give the words alone, ids of your own are given beside (class_ids)")


def parse_assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Turn texts such as ``"crf.iterations=5"`` into changes for ``with_changes``.

    Names are those of profile and ladder files, values are YAML. The last one of a name counts.

    Raises:
        ValueError: no assignment, an unknown setting, or a value of another kind.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ValueError(f"'{text}' assigns no value; write NAME=VALUE, e.g. crf.iterations=5")
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"the value of '{text}' is not YAML; quote it") from error
        if name.startswith(TEMPORAL):
            within = typed_changes({name.removeprefix(TEMPORAL): value}, TemporalSettings)
            changes.update((TEMPORAL + inner, item) for inner, item in within.items())
        else:
            changes.update(typed_changes({name: value}, SegmentorSettings))
    return changes


def _changes(section: Any) -> dict[str, Any]:
    """Turn a section of a profile into changes for ``SegmentorSettings.with_changes``."""
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise ValueError(f"'{section}' stands where settings belong; write 'name: value' lines")
    return typed_changes(section, SegmentorSettings)


def _yaml_mapping(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML ({error}); correct it") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds no 'name: value' lines; see config/profiles for examples")
    return content


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(
            f"'{path}' is a folder; name a file in it" if path.is_dir() else
            f"'{path}' is a pipe or a device; save its text in a file" if path.exists() else
            f"file '{path}' does not exist; check its path")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        if instead := found_instead(path, "text"):
            raise ValueError(f"{path} is not text: {instead}") from error
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
