"""The frame of every program: parsing, errors in one line, exit codes, Ctrl-C."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.common.entry import INTERRUPTED
from sclip_seg_ros.common.streams import listeners_may_leave
from sclip_seg_ros.tools.arguments import OneLineParser, UsageError
from sclip_seg_ros.tools.console import UNUSABLE, USER_ERRORS, complain, readable


@dataclass(frozen=True)
class Program:
    """A command-line program; calling it runs it.

    Attributes:
        name: by which it is called.
        purpose: one or two sentences for its help.
        example: of its use.
        add_arguments: adds its flags to a parser.
        run: does the work of checked flags, and returns the exit code. What flags, files or weights
            it finds unusable it raises; the frame answers in one line.
        check: refuses flags that do not go together, and fills in what follows from them.
        interrupted: what Ctrl-C leaves behind.
        intermixed: whether names of files may stand between flags.
    """

    name: str
    purpose: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    check: Callable[[argparse.Namespace], None] = lambda parsed: None
    interrupted: str = "interrupted"
    intermixed: bool = False

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Parse the command line, run, and return the exit code.

        Args:
            arguments: of the command line; by default the process's own.

        Returns:
            That of ``run``; 2: unusable flags, files or weights; 130: interrupted.
        """
        with listeners_may_leave():
            try:
                return self.run(self.parse(arguments))
            except KeyboardInterrupt:
                return complain(self.name, self.interrupted, INTERRUPTED)
            except USER_ERRORS as error:
                return complain(self.name, error, UNUSABLE)

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
        parsed.command = readable(shlex.join([self.name, *given]))
        self.check(parsed)
        return parsed

    def parser(self) -> OneLineParser:
        """Return the parser of its flags."""
        parser = OneLineParser(prog=self.name, description=self.purpose,
                               epilog=f"example: {self.example}", allow_abbrev=False)
        self.add_arguments(parser)
        return parser
