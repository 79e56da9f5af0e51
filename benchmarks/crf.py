"""Compare the CRF on the lattice with pydensecrf on rendered rooms; prints JSON.

    python -m benchmarks.crf --classes 21 --scenes 5

Times of the CPU are processor time of one thread, so that other programs do not count; on another
device they are wall time. Of several repeats, taken in turn, the fastest counts.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.crf", "crf"))

import argparse
import json
from collections.abc import Callable

import numpy as np
import torch
from sclip_research.scenes import render, sample_scene
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from benchmarks import clocks
from sclip_seg_ros.models import resolve_device
from sclip_seg_ros.segmentation.refinement.dense_crf.dense_crf import dense_crf
from sclip_seg_ros.segmentation.refinement.dense_crf.lattice import smoothness_lattice
from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CrfSettings
from sclip_seg_ros.tools.program import Program, documented, positive

PATCH = 16


def rendered(seed: int, height: int, width: int, classes: int) -> tuple[Tensor, Tensor]:
    """Return a room and uncertain class probabilities, as from patches of 16 pixels."""
    scene = render(sample_scene(np.random.default_rng(seed)), height, width)
    truth = one_hot(torch.from_numpy(scene.mask).long() % classes, classes)
    patches = interpolate(truth.permute(2, 0, 1)[None].float(), (height // PATCH, width // PATCH),
                          mode="area")
    noise = torch.randn(patches.shape, generator=torch.Generator().manual_seed(seed))
    logits = interpolate(3 * patches + noise, (height, width), mode="bilinear")[0]
    return torch.from_numpy(scene.image), logits.softmax(0)


def timed(call: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, float]:
    """Return a call's result and its seconds, by the clock of the device and its threads."""
    result, milliseconds = clocks.timed(call, device, clocks.clock_of(device)[0])
    return result, milliseconds * 1e-3


def compare(image: Tensor, probabilities: Tensor, settings: CrfSettings, device: torch.device,
            repeats: int) -> dict[str, float]:
    """Run both backends on one scene and return times and differences."""
    on_device = image.to(device), probabilities.to(device)
    cpu = torch.device("cpu")
    reference, first, again, half = [], [], [], []
    for _ in range(repeats):
        expected, seconds = timed(lambda: dense_crf(
            image, probabilities, CrfSettings("pydensecrf", settings.iterations)), cpu)
        reference.append(seconds)
        smoothness_lattice.cache_clear()
        first.append(timed(lambda: dense_crf(*on_device, settings), device)[1])
        found, seconds = timed(lambda: dense_crf(*on_device, settings), device)
        again.append(seconds)
        reduced = CrfSettings("lattice", settings.iterations, resolution=0.5)
        coarse, seconds = timed(lambda reduced=reduced: dense_crf(*on_device, reduced), device)
        half.append(seconds)
    found, coarse = found.cpu(), coarse.cpu()
    return {
        "pydensecrf_seconds": min(reference), "lattice_seconds": min(again),
        "lattice_first_frame_seconds": min(first), "lattice_half_resolution_seconds": min(half),
        "argmax_agreement": (found.argmax(0) == expected.argmax(0)).double().mean().item(),
        "mean_abs_dq": (found - expected).abs().mean().item(),
        "half_resolution_argmax_agreement":
            (coarse.argmax(0) == expected.argmax(0)).double().mean().item(),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--classes", type=positive, nargs="+", default=[8, 21])
    for name, default in (("height", 480), ("width", 640), ("scenes", 20), ("repeats", 3),
                          ("iterations", 10)):
        parser.add_argument(f"--{name}", type=positive, default=default,
                            help="(default %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    device = resolve_device(arguments.device)
    torch.set_num_threads(1)
    settings = CrfSettings("lattice", arguments.iterations)
    results = []
    for classes in arguments.classes:
        rows = [compare(*rendered(seed, arguments.height, arguments.width, classes), settings,
                        device, arguments.repeats) for seed in range(arguments.scenes)]
        mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        results.append({
            "classes": classes, **mean,
            "ratio_vs_pydensecrf": mean["lattice_seconds"] / mean["pydensecrf_seconds"],
            "lowest_argmax_agreement": min(row["argmax_agreement"] for row in rows),
        })
    print(json.dumps({"height": arguments.height, "width": arguments.width,
                      "scenes": arguments.scenes, "iterations": arguments.iterations,
                      "device": str(device), "torch": torch.__version__,
                      "results": results}, indent=2))


main = Program(*documented(__doc__), add_arguments, run)
