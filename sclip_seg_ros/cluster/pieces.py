"""Cut a recording or a film into pieces that can be labelled apart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """A stretch of one recording or film, in its own unit of time: nanoseconds, or frames.

    Its work begins at ``run_in`` with an image-tower run and nothing remembered; what comes before
    ``begin`` is labelled for the sake of what follows, and thrown away.

    Attributes:
        number: of the piece, from 0.
        begin: of what is kept.
        end: behind what is kept; None for all there is.
        run_in: where work begins, ``begin`` or earlier.
    """

    number: int
    begin: int
    end: int | None
    run_in: int


def cut(begin: int, end: int, length: int, run_in: int) -> list[Piece]:
    """Cut from begin to end into pieces of about a length; the last takes whatever comes behind.

    Args:
        begin, end: of what is known to be there.
        length: of a piece; the last one is half as long to one and a half times.
        run_in: how much before a piece its work begins; never before the first one.

    Raises:
        ValueError: a length that is none, or a run-in below 0.
    """
    if length < 1 or run_in < 0:
        raise ValueError(f"pieces need a length of 1 or more and a run-in of 0 or more, got "
                         f"{length} and {run_in}")
    count = max(1, round((end - begin) / length))
    starts = [begin + number * length for number in range(count)]
    return [Piece(number, start, starts[number + 1] if number + 1 < count else None,
                  max(begin, start - run_in)) for number, start in enumerate(starts)]
