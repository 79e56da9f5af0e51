"""The quality ladder: what is given up, and in which order, when time is short."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sclip_seg_ros.common.settings import by_name
from sclip_seg_ros.common.text import shortened
from sclip_seg_ros.common.yaml_values import flattened, typed
from sclip_seg_ros.segmentation.settings import SegmentorSettings

MAX_LEVELS = 256  # the level travels as uint8
_OF_THE_MODEL = ("model", "model_name", "pretrained", "device")


@dataclass(frozen=True)
class QualityLevel:
    """One rung of the ladder: a name, and what it changes of the settings the user chose.

    Attributes:
        name: shown in every status message.
        changes: for :meth:`SegmentorSettings.with_changes`, e.g. of ``pamr.steps``. Empty for the
            settings as they are.
    """

    name: str
    changes: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Refuse changes that no settings could take.

        Raises:
            ValueError: a blank name, an unknown setting, one that needs other weights, or a value
                of another type.
        """
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"quality level name {self.name!r} is not text; give a short name "
                             "such as 'whole-224'")
        checked = {key: self._checked(key, value)
                   for key, value in by_name(self.changes.items()).items()}
        object.__setattr__(self, "changes", MappingProxyType(checked))

    def apply(self, base: SegmentorSettings) -> SegmentorSettings:
        """Return the settings of this level.

        Raises:
            ValueError: a value that the base settings do not allow, e.g. a stride beyond the crop.
        """
        try:
            return base.with_changes(self.changes)
        except ValueError as error:
            raise ValueError(f"quality level '{self.name}' does not fit the settings it changes: "
                             f"{error}") from error

    def _checked(self, key: str, value: Any) -> Any:
        setting = SegmentorSettings.declared().get(key)
        if key in _OF_THE_MODEL or setting and (setting.fixed or setting.shared):
            raise ValueError(f"quality level '{self.name}' changes '{key}', but all levels share "
                             "one set of weights; set it once for the whole program")
        try:
            return typed(key, value, SegmentorSettings)
        except ValueError as error:
            raise ValueError(f"quality level '{self.name}': {error}") from error


@dataclass(frozen=True)
class QualityLadder:
    """Quality levels that share one set of weights, from the best to the cheapest."""

    levels: tuple[QualityLevel, ...]

    def __post_init__(self) -> None:
        """Refuse a ladder that cannot be climbed.

        Raises:
            ValueError: no level, too many, or two of one name.
        """
        object.__setattr__(self, "levels", tuple(self.levels))
        if not self.levels:
            raise ValueError("the quality ladder is empty; give at least one level")
        if len(self.levels) > MAX_LEVELS:
            raise ValueError(f"the quality ladder has {len(self.levels)} levels; give at most "
                             f"{MAX_LEVELS}")
        for index, name in enumerate(self.names):
            if name in self.names[:index]:
                raise ValueError(f"quality level '{name}' stands on the ladder twice; rename one "
                                 "of them")

    def __len__(self) -> int:
        """Return the number of levels."""
        return len(self.levels)

    @property
    def names(self) -> tuple[str, ...]:
        """Level names, the best first."""
        return tuple(level.name for level in self.levels)

    def settings_for(self, base: SegmentorSettings, level: int) -> SegmentorSettings:
        """Return the settings of a level, 0 being the best.

        Raises:
            ValueError: no such level, or one that does not fit the base settings.
        """
        if not 0 <= level < len(self):
            raise ValueError(f"quality level {level} is not on the ladder; give 0 to "
                             f"{len(self) - 1}")
        return self.levels[level].apply(base)

    def for_base(self, base: SegmentorSettings) -> QualityLadder:
        """Return the ladder without levels that would repeat an earlier one.

        Fewer CRF iterations are not a level of their own where the CRF is off.

        Raises:
            ValueError: a level that does not fit the base settings.
        """
        kept: dict[SegmentorSettings, QualityLevel] = {}
        for level in self.levels:
            kept.setdefault(level.apply(base).effective(), level)
        return QualityLadder(tuple(kept.values()))


def parse_ladder(data: Any) -> QualityLadder:
    """Build a ladder from the content of a ladder file.

    Args:
        data: ``{"levels": [{"name": "full"}, {"name": "fast", "stride": 224, "pamr.steps": 4}]}``,
            best first; a setting inside a group may be written ``pamr.steps``, ``pamr__steps`` or
            as a mapping ``pamr: {steps: 4}``.

    Raises:
        ValueError: anything else; a sentence that names the level, the value and the remedy.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("levels"), list):
        raise ValueError("a ladder file must hold a list called 'levels', the best level first; "
                         f"this one holds {shortened(repr(data))}")
    unknown = [key for key in data if key != "levels"]
    if unknown:
        raise ValueError(f"'{unknown[0]}' means nothing in a ladder file; only 'levels' does")
    return QualityLadder(tuple(_parse_level(entry, index)
                               for index, entry in enumerate(data["levels"])))


def _parse_level(entry: Any, index: int) -> QualityLevel:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ValueError(f"level {index} of the ladder is {shortened(repr(entry))}; write it as a "
                         "mapping with a 'name' and the settings it changes")
    try:
        changes = flattened({key: value for key, value in entry.items() if key != "name"})
    except ValueError as error:
        raise ValueError(f"quality level '{entry['name']}': {error}") from error
    return QualityLevel(entry["name"], changes)
