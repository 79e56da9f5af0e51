"""Settings that are declared once: a field of a dataclass with its range, unit and description.

Everything else follows from the field: the check of a value, the names and types that files and
``--set`` take, the node's parameters with their descriptors, and docs/parameters.md.

    @dataclass(frozen=True)
    class BlurSettings(Settings):
        '''Blur the scores.'''

        sigma: float = number(2.0, 0.1, 50.0, "Width of the blur.", unit="pixels")
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any, TypeVar

_KEY = "setting"  # of a field's metadata
_Self = TypeVar("_Self", bound="Settings")


@dataclass(frozen=True)
class Setting:
    """What a field of a settings class says about itself.

    Attributes:
        default: its value and, by it, its type.
        description: one or two sentences, for `ros2 param describe` and docs/parameters.md.
        low, high: range of a number, or of the numbers of a list; both inclusive.
        unit: of a number, in the plural; empty where it has none.
        choices: allowed texts, which may grow later; empty where any will do.
        most: numbers in a list at most.
        items: what the numbers of a list are, for messages.
        hint: what texts mean something, for messages.
        fixed: cannot change while the model is loaded.
        shared: all levels of a quality ladder have it in common; so have they what is fixed.
        section: heading of docs/parameters.md that it stands under.
        switch: of a group, the name of the setting that switches it on; empty where none does.
    """

    default: Any
    description: str = ""
    low: float | None = None
    high: float | None = None
    unit: str = ""
    choices: Collection[str] = ()
    most: int = 0
    items: str = "values"
    hint: str = ""
    fixed: bool = False
    shared: bool = False
    section: str = ""
    switch: str = ""

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that the setting cannot have.

        Args:
            name: of the setting, e.g. ``crf.iterations``.
            value: to be checked.

        Raises:
            ValueError: naming the setting, its value and what is allowed.
        """
        if isinstance(self.default, Settings):
            self.group(name, value).check(f"{name}.")
        elif isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"{name}={value!r} is not a switch; give true or false")
        elif isinstance(self.default, tuple):
            self._check_list(name, value)
        elif isinstance(self.default, str):
            self._check_text(name, value)
        else:
            check_number(name, value, self.low, self.high, type(self.default))

    def group(self, name: str, value: Any) -> Settings:
        """Return a group of settings, or refuse what is none."""
        kind = type(self.default)
        if not isinstance(value, kind):
            raise ValueError(f"{name}={value!r} is not a group of settings; give "
                             f"{kind.__name__}(...)")
        return value

    def _check_text(self, name: str, value: Any) -> None:
        if self.choices:
            if not isinstance(value, str) or value not in self.choices:
                raise ValueError(f"{name}='{value}' is unknown; choose one of "
                                 f"{', '.join(self.choices)}")
        elif not isinstance(value, str):
            raise ValueError(f"{name}={value!r} is not text; give {self.hint or 'one in quotes'}")

    def _check_list(self, name: str, value: Any) -> None:
        if not isinstance(value, Sequence) or isinstance(value, str):
            unit = f" in {self.unit}" if self.unit else ""
            raise ValueError(f"{name}={value!r} is not a list; give {self.items}{unit}, e.g. "
                             f"{self.default}")
        if not value:
            raise ValueError(f"{name} is empty; name at least one, e.g. {self.default}")
        if len(value) > self.most:
            raise ValueError(f"{name} has {len(value)} {self.items}; give at most {self.most}")
        for item in value:
            check_number(name, item, self.low, self.high, type(self.default[0]))


def check_number(name: str, value: Any, low: Any, high: Any, kind: type) -> None:
    """Refuse what is not a number of a kind, int or float, within low and high."""
    abstract: type = Integral if kind is int else Real
    if isinstance(value, bool) or not isinstance(value, abstract):
        raise ValueError(f"{name}={value!r} is not a {'whole ' if kind is int else ''}number; give "
                         f"{low} to {high}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, got {value}")


def number(default: float, low: float, high: float, description: str, **more: Any) -> Any:
    """Declare a number, a whole one where its default is; for ``more`` see :class:`Setting`."""
    return _declare(Setting(default, description, low, high, **more))


def switch(default: bool, description: str, **more: Any) -> Any:
    """Declare what is on or off."""
    return _declare(Setting(default, description, **more))


def choice(default: str, choices: Collection[str], description: str, **more: Any) -> Any:
    """Declare one of some texts; they may be the keys of a registry, which may grow."""
    return _declare(Setting(default, description, choices=choices, **more))


def text(default: str, description: str, hint: str, **more: Any) -> Any:
    """Declare a free text; the hint says what to give."""
    return _declare(Setting(default, description, hint=hint, **more))


def numbers(default: tuple[float, ...], low: float, high: float, most: int, description: str,
            **more: Any) -> Any:
    """Declare a list of one to ``most`` numbers."""
    return _declare(Setting(default, description, low, high, most=most, **more))


def group(kind: type[Settings], switch: str = "") -> Any:
    """Declare a group of settings, and the name of the setting that switches it on."""
    return _declare(Setting(kind(), switch=switch))


def _declare(setting: Setting) -> Any:
    return field(default=setting.default, metadata={_KEY: setting})


@dataclass(frozen=True)
class Settings:
    """Base of settings classes, which are frozen dataclasses of declared fields."""

    def __post_init__(self) -> None:
        """Take a list for a tuple, so that settings can be compared and used as keys."""
        for name, value in vars(self).items():
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    @classmethod
    def own(cls) -> dict[str, Setting]:
        """Return the declared fields by name, groups as such."""
        return {item.name: item.metadata[_KEY] for item in fields(cls)}

    @classmethod
    def declared(cls, prefix: str = "") -> dict[str, Setting]:
        """Return every setting by its name in files and messages, e.g. ``crf.iterations``.

        Groups are replaced by what is in them, after the setting that switches them on.
        """
        own = cls.own()
        switches = {item.switch: name for name, item in own.items() if item.switch}
        found: dict[str, Setting] = {}

        def unfold(name: str) -> None:
            found.update(type(own[name].default).declared(f"{prefix}{name}."))

        for name, item in own.items():
            if not isinstance(item.default, Settings):
                found[prefix + name] = item
                if name in switches:
                    unfold(switches[name])
            elif not item.switch:
                unfold(name)
        return found

    def check(self, prefix: str = "") -> None:
        """Refuse values that no program could work with.

        Args:
            prefix: of the names in messages, e.g. ``crf.`` of a group.

        Raises:
            ValueError: naming the setting, its value and what is allowed.
        """
        for name, item in self.own().items():
            item.check(prefix + name, getattr(self, name))

    def with_changes(self: _Self, changes: Mapping[str, Any] | None = None, /,
                     **more: Any) -> _Self:
        """Return a copy with some settings changed.

        Args:
            changes: values by name; nested ones as in files, ``{"loftup.factor": 3.0}``.
            more: the same as keywords, in which two underscores stand for the dot:
                ``loftup__factor=3.0``.

        Raises:
            ValueError: an unknown setting, or one given twice.
        """
        own = self.own()
        groups = [name for name, item in own.items() if isinstance(item.default, Settings)]
        new: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        for name, value in by_name([*(changes or {}).items(), *more.items()]).items():
            outer, dot, inner = name.partition(".")
            if not dot:
                new[name] = value
            elif outer not in groups:
                raise ValueError(f"setting '{name}' does not exist; groups of settings are "
                                 f"{', '.join(groups)}")
            elif inner not in own[outer].default.own():
                raise ValueError(f"setting '{name}' does not exist; {outer} has "
                                 f"{', '.join(own[outer].default.own())}")
            else:
                nested.setdefault(outer, {})[inner] = value
        for name in new:
            if name not in own:
                raise ValueError(f"setting '{name}' does not exist; choose one of "
                                 f"{', '.join(own)}")
        for name, inside in nested.items():
            base = own[name].group(name, new.get(name, getattr(self, name)))
            new[name] = base.with_changes(inside)
        return replace(self, **self.implied(new))

    @classmethod
    def implied(cls, changes: dict[str, Any]) -> dict[str, Any]:
        """Return changes of own fields, by name, with what they imply for others."""
        return changes

    def effective(self: _Self) -> _Self:
        """Return the settings with those at their default that the others leave without effect."""
        return self


def by_name(given: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return values by the names of files and messages; ``crf__iterations`` stands for one too.

    Raises:
        ValueError: a setting given twice.
    """
    changes: dict[str, Any] = {}
    for key, value in given:
        name = key.replace("__", ".")
        if name in changes:
            raise ValueError(f"setting '{name}' is given twice; keep one of them")
        changes[name] = value
    return changes
