"""Text for people: other people's errors and values in one line, and tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

# What is left in words of a list that YAML could not read, which then arrives as one text.
OF_LISTS = "[]{};"
_QUOTES = "'\"`‘’‚“”„«»"
_NUMBERED = re.compile(r"(\d{1,9})(?:\s*[:)=|\t]\s*|\s*\.(?!\d)\s*|\s+)(?=\S)")
_LONGEST = 200  # characters of an error; some libraries put whole configurations into theirs


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shortened(" ".join(lines[0].split()), _LONGEST)


def shortened(value: object, length: int = 60) -> str:
    """Return a value as text of at most so many characters; dots stand for what is left out."""
    text = str(value)
    return text if len(text) <= length else text[:length - 3] + "..."


def differing(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """Name the keys that two tables have different values for; empty if there is none."""
    return ", ".join(key for key in sorted({*old, *new}) if old.get(key) != new.get(key))


def is_piece_of_list(text: str, signs: str = OF_LISTS) -> bool:
    """Tell whether a text is a piece of a list rather than a word, a sentence or a topic.

    Args:
        text: with a word in place of the braces that a template may have.
        signs: that it does not have anywhere.
    """
    text = text.strip()
    return (not set(text).isdisjoint(signs) or "\n" in text or text.startswith("- ")
            or text.endswith(":") or text.count("(") != text.count(")")
            or text[:1] in tuple(_QUOTES)
            or text[-1:] in tuple(_QUOTES) and text.count(text[-1]) % 2 == 1)


def is_numbered(texts: Sequence[str]) -> bool:
    """Tell a list whose entries begin with their numbers, as "0: person", "1: bicycle".

    Numbers that tell words apart, as "1 euro coin" and "2 euro coin", belong to the words.
    """
    found = [_NUMBERED.match(text.strip()) for text in texts]
    numbers = [int(match[1]) for match in found if match]
    words = {text.strip()[match.end():].casefold()
             for text, match in zip(texts, found, strict=True) if match}
    return len(texts) > 1 and len(words) == len(texts) and numbers == sorted(set(numbers))


def in_number(count: int, noun: str) -> str:
    """Return so many things in words that fit: "1 class", "2 classes", "3 frames"."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count} {noun}{ending}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]], figures: bool = False,
                   aligned: bool = False) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        head: names of the columns.
        rows: their cells; a bar in a text is escaped.
        figures: whether all columns but the first hold numbers, which stand to the right.
        aligned: whether cells are padded, so that it reads in a terminal as well.
    """
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rules = ["-" * (width + 2) if aligned else "---" for width in widths]
    if figures:
        rules[1:] = [f"{rule}:" if not aligned else f"{rule[1:]}:" for rule in rules[1:]]
    if aligned:
        cells = [[cell.rjust(width) if figures and index else cell.ljust(width)
                  for index, (cell, width) in enumerate(zip(row, widths, strict=True))]
                 for row in cells]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], f"|{'|'.join(rules)}|", *lines[1:]]


def aligned(rows: Iterable[Sequence[str]], left: int = 1,
            right: Collection[int] = ()) -> list[str]:
    """Return the lines of a table for a terminal, whose columns have two blanks between them.

    Args:
        rows: their cells, of the head too.
        left: how many columns stand to the left; the others stand to the right.
        right: columns among these that stand to the right all the same.
    """
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(
        cell.ljust(width) if index < left and index not in right else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in cells]
