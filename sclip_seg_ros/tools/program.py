"""The frame of every program: parsing, errors in one line, exit codes, Ctrl-C.

Light, because the doctor is a program, too, and has to run where libraries are missing.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sclip_seg_ros import __version__
from sclip_seg_ros.common.entry import INTERRUPTED, forget_interrupt
from sclip_seg_ros.common.errors import Failed
from sclip_seg_ros.common.streams import listeners_may_leave
from sclip_seg_ros.tools.console import FAILED, UNUSABLE, USER_ERRORS, complain, readable


class UsageError(ValueError):
    """A flag has an unusable value; the message says which and what to give."""


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers a wrong flag with one line, and knows ``--version``."""

    def __init__(self, **settings: Any) -> None:
        """Take the settings of any parser."""
        super().__init__(**settings)
        self.register("type", Path, lambda text: Path(filled(text)))  # "" would be this folder
        self.add_argument("--version", action="version",
                          version=f"{self.prog} {__version__}", help="print the version and exit")

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message}; see {self.prog} --help")


@dataclass(frozen=True)
class Program:
    """A command-line program; calling it runs it.

    Attributes:
        name: by which it is called, such as "sclip-segment" or "python -m benchmarks.crf".
        purpose: one or two sentences for its help.
        example: of its use.
        add_arguments: adds its flags to a parser.
        run: does the work of checked flags, and returns the exit code, or None for 0. What flags,
            files or weights it finds unusable, and what failed, it raises; the frame answers in one
            line.
        check: refuses flags that do not go together, and fills in what follows from them.
        interrupted: what Ctrl-C leaves behind.
        intermixed: whether names of files may stand between flags.
    """

    name: str
    purpose: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]
    check: Callable[[argparse.Namespace], None] = lambda parsed: None
    interrupted: str = "interrupted"
    intermixed: bool = False

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Parse the command line, run, and return the exit code.

        Args:
            arguments: of the command line; by default the process's own.

        Returns:
            That of ``run``; 1: it failed; 2: unusable flags, files or weights; 130: interrupted.
        """
        short = re.split(r"[ .]", self.name)[-1]
        with listeners_may_leave():
            try:
                return self.run(self.parse(arguments)) or 0
            except KeyboardInterrupt:
                forget_interrupt()  # ROS may have ended the program before a postponed one could
                return complain(short, self.interrupted, INTERRUPTED)
            except Failed as error:
                return complain(short, error, FAILED)
            except USER_ERRORS as error:
                return complain(short, error, UNUSABLE)

    def parse(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse a command line; ``command`` holds it as it was given.

        Raises:
            UsageError: an unknown flag or value.
        """
        given = sys.argv[1:] if arguments is None else arguments
        parser = self.parser()
        parse: Any = parser.parse_intermixed_args if self.intermixed else parser.parse_args
        try:
            parsed = parse(given)
        except UsageError as error:
            file = next((word for word in given if word.startswith("-") and os.path.exists(word)),
                        None)
            if file is None:
                raise
            raise UsageError(f"'{file}' is read as a flag, as all that begins with '-' is; write "
                             f"'./{file}' for the file") from error
        parsed.command = readable(" ".join([self.name, *map(shlex.quote, given)]))
        if getattr(parsed, "resume", False) and parsed.restart:
            raise UsageError("--resume and --restart are opposites; leave one of them out")
        self.check(parsed)
        return parsed

    def parser(self) -> OneLineParser:
        """Return the parser of its flags."""
        parser = OneLineParser(prog=self.name, description=self.purpose,
                               epilog=f"example: {self.example}", allow_abbrev=False)
        self.add_arguments(parser)
        return parser


def add_resume_flags(group: argparse._ActionsContainer, restart: str,
                     resume: str = "go on with what an earlier run left, as is done without it, "
                                   "too") -> None:
    """Add the flags of a run that can be interrupted: to go on with it, and to begin anew.

    Args:
        group: of flags.
        restart, resume: their help.
    """
    group.add_argument("--resume", action="store_true", help=resume)
    group.add_argument("--restart", action="store_true", help=restart)


def documented(text: str) -> tuple[str, str, str]:
    """Return name, purpose and example of a program from the text that its module begins with.

    Args:
        text: whose first indented line is the example, with ``python -m MODULE`` in it.
    """
    lines = text.splitlines()
    example = next(line.strip() for line in lines if line.startswith("    "))
    return (re.findall(r"python -m [\w.]+", example)[0],
            " ".join(line for line in lines if not line.startswith("    ")), example)


def filled(text: str) -> str:
    """Return a name or a path as it is, for a flag's ``type``.

    Raises:
        argparse.ArgumentTypeError: it is empty.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give a path, and see that the variable it "
                                         "comes from, if any, is set")
    return text


def positive(text: str) -> int:
    """Parse a whole number of at least 1, for a flag's ``type``.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)


def pixels(text: str) -> tuple[int, int]:
    """Parse "640x480", for a flag's ``type``; return width and height.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    match = re.fullmatch(r"0*([1-9]\d{0,3})x0*([1-9]\d{0,3})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size; write WIDTHxHEIGHT in pixels, "
                                         "e.g. 640x480")
    return int(match[1]), int(match[2])
