"""From flags with addresses to errands: which recordings there are, and where results go."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sclip_seg_ros.tools.addresses import check_fsspec
from sclip_seg_ros.tools.arguments import UsageError, check_output

if TYPE_CHECKING:
    from sclip_seg_ros.cluster.addresses import File, Place


@dataclass(frozen=True)
class Errand:
    """A recording to copy, to label and to put somewhere.

    Attributes:
        bag: where it is.
        files: of it.
        name: of its copy.
        target: where the new one goes, a folder.
        receipt: the file that says that the new one is whole, and of what and how it was made.
    """

    bag: Place
    files: tuple[File, ...]
    name: str
    target: Place
    receipt: Place


def check_addresses(parsed: argparse.Namespace) -> None:
    """Find the recordings of flags among which is an address, and try the output.

    Paths beside addresses are treated as addresses are. ``errands``, ``bags`` and ``targets`` hold
    what is found; the latter are no paths of any machine.

    Raises:
        UsageError: in one sentence.
    """
    check_fsspec()
    from sclip_seg_ros.cluster.addresses import AddressError, Place
    if isinstance(parsed.output, Path):
        check_output(parsed.output)
    output = Place.of(parsed.output)
    try:
        bags = list(dict.fromkeys(
            place for bag in parsed.bags for place in Place.of(bag).matches()))
        parsed.errands = [_errand(bag, output) for bag in bags]
        _refuse_one_place_for_two(parsed.errands, output)
        if not parsed.dry_run:
            output.try_to_write()
    except AddressError as error:
        raise UsageError(str(error)) from error
    parsed.piece_seconds = parsed.run_in = None
    parsed.bags = [Path(errand.name) for errand in parsed.errands]
    parsed.targets = [Path(errand.target.name) for errand in parsed.errands]


def _errand(bag: Place, output: Place) -> Errand:
    """Return the errand for a recording."""
    files = bag.files()
    name = Path(files[0].name).parts[0]
    stem = Path(name).stem if len(Path(files[0].name).parts) == 1 else name
    return Errand(bag, tuple(files), name, output / stem, output / f"{stem}.receipt.json")


def _refuse_one_place_for_two(errands: list[Errand], output: Place) -> None:
    """Refuse results that would replace one another or an original, or lie in one.

    Raises:
        UsageError: naming them.
    """
    for target, count in Counter(errand.target for errand in errands).items():
        if count > 1:
            raise UsageError(f"{count} recordings are called '{target.name}'; segment them one by "
                             "one, into different --output folders")
    for errand in errands:
        if errand.bag.holds(output) or errand.target.holds(errand.bag):
            raise UsageError(f"--output '{output}' holds the recording '{errand.bag}' itself, or "
                             "lies in it; choose another folder")
