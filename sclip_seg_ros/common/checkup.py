"""A check of the computer, what it finds, and the remedy: for the doctor of either side of ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sclip_seg_ros.common.text import first_line

OK, WARNING, FAULT, UNKNOWN = "ok", "warning", "fault", "not run"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        state: "ok"; "warning": it works, less well; "fault": it does not; "not run": the check
            cannot be made here.
        text: in one line, e.g. the versions found, or why the check was not made.
        remedy: instead of the check's own, where it depends on what was found.
    """

    state: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A row of the doctor's table.

    Attributes:
        name: in a word or two.
        run: looks, and returns what it found; what it raises counts as not run.
        remedy: in one sentence, what to do where it finds a fault.
    """

    name: str
    run: Callable[[], Finding]
    remedy: str


def ok(text: str) -> Finding:
    """Return that all is well."""
    return Finding(OK, text)


def warning(text: str, remedy: str = "") -> Finding:
    """Return that it works, less well than it could."""
    return Finding(WARNING, text, remedy)


def fault(text: str, remedy: str = "") -> Finding:
    """Return that something does not work."""
    return Finding(FAULT, text, remedy)


def not_run(why: str) -> Finding:
    """Return that the check cannot be made here."""
    return Finding(UNKNOWN, why)


def examine(checks: Iterable[Check]) -> Iterator[tuple[Check, Finding]]:
    """Make one check after the other; each finding that is no "ok" has a remedy.

    What cannot even be looked into, such as a library that breaks when it is used, ends no other.
    """
    for check in checks:
        try:
            found = check.run()
        except Exception as error:
            found = not_run(f"the check itself failed: {type(error).__name__}: {first_line(error)}")
        if found.state in (WARNING, FAULT) and not found.remedy:
            found = Finding(found.state, found.text, check.remedy)
        yield check, found
