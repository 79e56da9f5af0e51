"""Words to choose from: those of the vocabularies that ship with the package."""

from __future__ import annotations

from functools import lru_cache

from sclip_seg_ros.io.profiles import read_vocabulary
from sclip_seg_ros.models.resources import config_folders


@lru_cache(maxsize=1)
def suggestions() -> list[dict[str, str]]:
    """Return every class of the shipped vocabularies once, with where it comes from, sorted."""
    found: dict[str, dict[str, str]] = {}
    for folder in config_folders():
        for path in sorted((folder / "vocabularies").glob("*.txt")):
            for text in read_vocabulary(path):
                if text.count("|") < 4:  # not the long lists that stand for a background
                    found.setdefault(text.casefold(), {"text": text, "from": path.stem})
    return sorted(found.values(), key=lambda entry: entry["text"].casefold())


@lru_cache(maxsize=1)
def vocabularies() -> dict[str, list[str]]:
    """Return the shipped vocabularies by name."""
    found: dict[str, list[str]] = {}
    for folder in config_folders():
        for path in sorted((folder / "vocabularies").glob("*.txt")):
            found.setdefault(path.stem, read_vocabulary(path))
    return found
