"""The one entry of all command-line programs: ``sclip VERB``, and ``sclip-VERB`` as before.

Nothing heavy is imported before the verb is known, so that help comes at once, and Ctrl-C is
answered in one line from the first moment.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sclip_seg_ros import __version__
from sclip_seg_ros.common.cores import obey_quota
from sclip_seg_ros.common.entry import run_program
from sclip_seg_ros.common.libraries import remedy_for
from sclip_seg_ros.common.streams import listeners_may_leave
from sclip_seg_ros.tools.console import UNUSABLE, complain

_PREFIX = "sclip-"


@dataclass(frozen=True)
class Verb:
    """One program.

    Attributes:
        module: that has ``main(arguments)``, which returns the exit code.
        purpose: in a few words.
        extra: of the package, that brings what it needs beside the node's own requirements.
    """

    module: str
    purpose: str
    extra: str = ""


VERBS = {
    "segment": Verb("sclip_seg_ros.tools.segment.command", "label photos and films"),
    "bag": Verb("sclip_seg_ros.tools.bag.command", "label recordings (rosbag2)", "tools"),
    "fetch": Verb("sclip_seg_ros.tools.fetch",
                  "fetch a model ahead, for robots without a network"),
    "doctor": Verb("sclip_seg_ros.tools.doctor.command",
                   "tell whether this computer is fit, and what to do where it is not"),
    "benchmark": Verb("sclip_seg_ros.tools.benchmark.command",
                      "measure accuracy and speed on a data set", "tools"),
    "gallery": Verb("sclip_seg_ros.tools.gallery.command",
                    "show what each stage does to a picture"),
    "level-costs": Verb("sclip_seg_ros.tools.level_costs",
                        "measure the levels of a quality ladder on this computer"),
    "check-upsampler": Verb("sclip_seg_ros.tools.check_upsampler",
                            "tell from your own pictures whether LoftUp helps"),
    "check-attention": Verb("sclip_seg_ros.tools.check_attention.command",
                            "tell from your own labelled pictures which attention to take"),
    "studio": Verb("sclip_seg_ros.studio.command", "choose words by looking, in a browser",
                   "studio"),
    "train-loftup": Verb("sclip_research.train_loftup", "train a LoftUp for your own CLIP, or that "
                         "CLIP to see without windows", "research"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that the command line names, or that the program is called by.

    Args:
        arguments: behind ``sclip``; by default the process's own, where ``sclip-segment`` names
            its verb itself.

    Returns:
        The verb's exit code; 2: there is no such verb, or it cannot run here; 130: interrupted.
    """
    with listeners_may_leave():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    program, words = "sclip", list(sys.argv[1:] if arguments is None else arguments)
    called = Path(sys.argv[0]).name
    if arguments is None and called.startswith(_PREFIX):
        program, words = called, [called[len(_PREFIX):], *words]
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0 if words else UNUSABLE
    if words[0] == "--version":
        print(f"sclip {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in VERBS:
        return complain(program, _no_verb(name), UNUSABLE)
    obey_quota()
    try:
        return run_program(VERBS[name].module, program, rest)
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] in ("sclip_seg_ros", ""):
            raise
        return complain(program, _not_installed(name, error.name), UNUSABLE)


def usage() -> str:
    """Return what the verbs are for, a line each."""
    width = max(map(len, VERBS))
    return "\n".join([
        "usage: sclip VERB [...]; each verb answers --help", "",
        *(f"  {name:{width}}  {verb.purpose}" for name, verb in VERBS.items())])


def _no_verb(name: str) -> str:
    similar = get_close_matches(name, VERBS)
    remedy = f"did you mean {' or '.join(similar)}?" if similar \
        else f"choose one of {', '.join(VERBS)}"
    return f"there is no verb '{name}'; {remedy}"


def _not_installed(name: str, module: str) -> str:
    library = module.partition(".")[0]
    remedy = remedy_for(module, VERBS[name].extra) if library != "sclip_research" else \
        "it comes with `pip install` and with the source tree, not with the ROS package"
    return f"'{name}' needs the Python module '{library}', which is not installed; {remedy}"


if __name__ == "__main__":
    sys.exit(main())
