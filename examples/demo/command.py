"""Run the main job and leave pictures and a summary behind.

    python -m examples.demo --images photos --model ViT-B/16 --pretrained openai
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.demo.footage import read_footage, render_footage
from examples.demo.report import write_report
from examples.demo.run import run_processes
from sclip_seg_ros.common.errors import Failed
from sclip_seg_ros.models import EMBEDDED
from sclip_seg_ros.tools.program import Program, documented, positive

# The median of twenty, by `python -m examples.demo.rooms`; for figures over many rooms see
# evaluate_embedded_model.
SCENE_SEED = 9
# For pictures: words that the embedded model knows, and words for a model that knows the world.
KNOWN = (["floor", "wall", "door", "box"],
         [f"{colour} object" for colour in ("gray", "black", "white", "brown", "red", "yellow",
                                            "green", "blue", "cyan")])
STREET = (["road", "building", "sky", "tree", "car"],
          ["road", "pavement|sidewalk", "building", "sky", "tree", "car", "person|pedestrian",
           "bicyclist", "pole", "sign"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--output", type=Path, default=Path("out/demo"))
    parser.add_argument("--images", type=Path, help="play this folder's pictures instead")
    parser.add_argument("--frames", type=positive, default=90)
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--pretrained", default="")
    parser.add_argument("--device", default="auto", help="of the node (default %(default)s)")
    parser.add_argument("--before", nargs="+", help="vocabulary to start with")
    parser.add_argument("--after", nargs="+", help="vocabulary to change to half-way")


def run(arguments: argparse.Namespace) -> None:
    """Film, run the three processes, check, picture.

    Raises:
        ProcessError: one of them failed.
        Failed: what came out is not as it should be.
    """
    if arguments.images:
        footage = read_footage(arguments.images, arguments.frames)
        before, after = KNOWN if arguments.model == EMBEDDED else STREET
    else:
        print("demo: rendering the room ...", flush=True)
        footage = render_footage(SCENE_SEED, arguments.frames)
        before, after = vocabularies(footage.things)
    before, after = arguments.before or before, arguments.after or after
    run_processes(footage, before, after, arguments)
    summary = write_report(footage, arguments.output)
    problems = [key for key in ("stamps_matched", "vocabulary_changed", "ids_within_vocabulary")
                if not summary[key]]
    if problems:
        raise Failed(f"FAILED checks: {', '.join(problems)}")


def vocabularies(things) -> tuple[list[str], list[str]]:
    """Choose what to ask about a room: first nouns, then colours with nouns; some are not there."""
    nouns = sorted({thing.noun for thing in things})
    phrases = sorted({thing.phrase for thing in things})
    absent = [noun for noun in ("cup", "cone", "ball", "chair", "bottle") if noun not in nouns]
    return nouns + absent[:2], phrases + ["red cup", "yellow cone"][:2 if len(phrases) < 12 else 0]


main = Program(*documented(__doc__), add_arguments, run)
