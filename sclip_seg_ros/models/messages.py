"""Other people's text in messages of our own: errors and values, as short as one line bears."""

from __future__ import annotations

_LONGEST = 200  # characters of an error; some libraries put whole configurations into theirs


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shortened(" ".join(lines[0].split()), _LONGEST)


def shortened(value: object, length: int) -> str:
    """Return a value as text of at most so many characters; dots stand for what is left out."""
    text = str(value)
    return text if len(text) <= length else text[:length - 3] + "..."
