"""A file that remembers every measured image, so that an interrupted run can go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sclip_seg_ros.common.text import shortened


class JournalError(ValueError):
    """A journal cannot be continued; the message says why and what to do."""


class Journal:
    """One JSON object a line: first what is measured, then one record an image.

    A last line that was cut short by an interruption is dropped.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], resume: bool) -> None:
        """Start a journal, or open the one that is there.

        Args:
            path: of the file; its folder is made.
            run: all that the images' counts depend on.
            resume: go on with an existing file.

        Raises:
            JournalError: the file belongs to another run, or is not a journal.
        """
        self.path = path
        self.run = json.loads(json.dumps(run))
        self.images: list[str] = []
        if resume and path.is_file() and path.stat().st_size:
            self._reopen()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_line({"run": self.run}), encoding="utf-8")

    def append(self, record: Mapping[str, Any]) -> None:
        """Write the record of one image."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(_line(record))
        self.images.append(record["image"])

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records of all images, in their order."""
        with open(self.path, encoding="utf-8") as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def _reopen(self) -> None:
        lines = self.path.read_bytes().splitlines(keepends=True)
        if not lines[-1].endswith(b"\n"):
            with open(self.path, "r+b") as file:
                file.truncate(sum(map(len, lines[:-1])))
            lines.pop()
        try:
            found = json.loads(lines[0])["run"]
            self.images = [json.loads(line)["image"] for line in lines[1:]]
        except (ValueError, LookupError, TypeError) as error:
            raise JournalError(f"'{self.path}' is not a journal of a benchmark ({error}); remove "
                               "it or choose another --output") from error
        for key in sorted({*found, *self.run}):
            if found.get(key) != self.run.get(key):
                raise JournalError(
                    f"'{self.path}' was measured with another {_difference(key, found, self.run)}"
                    "; repeat those flags, give --restart, or choose another --output")


def _difference(key: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the first value in which two runs differ."""
    old, new = found.get(key), wanted.get(key)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for inner in sorted({*old, *new}):
            if old.get(inner) != new.get(inner):
                return _difference(inner, old, new)
    return f"{key} ({shortened(json.dumps(old))}, now {shortened(json.dumps(new))})"


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":")) + "\n"
