"""Train a LoftUp for any CLIP with a plain vision transformer (`sclip-train-loftup`).

    sclip-train-loftup --model ViT-B/16 --pretrained metaclip_400m --images photos --masks masks
    torchrun --nproc-per-node 4 -m sclip_research.train_loftup --model ... --accumulation 4

    sclip-train-loftup --train tower --model ViT-B/16 --images photos

Huang et al., LoftUp, ICCV 2025: stage 1 learns features refined by class-agnostic masks, stage 2
learns from a teacher that sees part of the image larger. With --train tower the image tower itself
learns to see in one forward what it sees in windows. docs/training_loftup.md tells more.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_research.train_loftup", "sclip-train-loftup"))

import argparse
import logging

from sclip_research.training.loftup.arguments import (
    EXAMPLE,
    PROGRAM,
    add_arguments,
    check,
    settings_of,
)
from sclip_research.training.loftup.checkpoints import export, export_model, read_initial
from sclip_research.training.loftup.crops import Source
from sclip_research.training.loftup.engine import STATE_FILE, Trainer
from sclip_research.training.loftup.featurizer import Featurizer
from sclip_research.training.loftup.initialisation import new_network
from sclip_research.training.loftup.memory import describe, estimate, free
from sclip_research.training.loftup.photographs import open_photographs, open_unlabelled
from sclip_research.training.loftup.processes import Processes, first_alone, joined
from sclip_research.training.loftup.rooms import Rooms
from sclip_research.training.loftup.settings import TOWER, TrainingSettings, network_sizes
from sclip_research.training.loftup.windows import Tower
from sclip_seg_ros.models import ClipModel, load_clip, resolve_device
from sclip_seg_ros.segmentation.upsamplers.loftup.network import LoftUp
from sclip_seg_ros.tools.arguments import UsageError
from sclip_seg_ros.tools.program import Program

_log = logging.getLogger(PROGRAM)


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    _log.setLevel(logging.INFO)
    with joined(resolve_device(arguments.device)) as processes:
        train(arguments, processes)
    return 0


def train(arguments: argparse.Namespace, processes: Processes) -> None:
    """Run the training that the flags describe, and write its checkpoint.

    Raises:
        UsageError, ValueError: flags that do not go together, masks that do not fit their images.
        WeightsError: weights out of reach, or not fitting.
    """
    settings = settings_of(arguments).for_processes(processes.count)
    state = arguments.work / STATE_FILE
    if state.exists() and not (arguments.resume or arguments.restart):
        raise UsageError(f"'{state}' holds an older run; add --resume to go on with it, --restart "
                         "to begin anew, or give another --work folder")
    if arguments.resume and not state.exists():
        raise UsageError(f"there is no '{state}' to resume from; leave --resume out")
    arguments.work.mkdir(parents=True, exist_ok=True)
    clip = load_clip(arguments.model, arguments.pretrained, processes.device)
    featurizer = Featurizer(clip, arguments.features, arguments.normalisation,
                            arguments.attention, not arguments.no_residual)
    with first_alone(processes):    # it renders what the others then find
        source = open_source(arguments)
    network = initial_network(arguments, settings, clip, featurizer, source)
    trainer = Trainer(network, featurizer, source, settings, processes, arguments.work)
    if processes.first:
        _tell(network, featurizer, source, settings, processes)
    if arguments.resume:
        trainer.resume()
    elif processes.first:
        state.unlink(missing_ok=True)
    trainer.run(arguments.stop_after, arguments.save_every, arguments.log_every, arguments.workers,
                arguments.tensorboard)
    if processes.first:
        about = {**settings_of(arguments).as_dict(), "steps_taken": trainer.step,
                 "attention": arguments.attention, "residual": not arguments.no_residual}
        if settings.trained == TOWER:
            export_model(arguments.output, clip, trainer.result.visual, about,
                         {"inference": "whole", "attention": arguments.attention}, arguments.half)
            _log.info("runs from there: model:=local-dir:%s%s", arguments.output.resolve(),
                      " residual:=false" if arguments.no_residual else "")
        else:
            export(arguments.output, trainer.result, featurizer.contract, about, arguments.half)
        _log.info("wrote '%s' after %d steps", arguments.output, trainer.step)


def initial_network(arguments: argparse.Namespace, settings: TrainingSettings, clip: ClipModel,
                    featurizer: Featurizer, source: Source) -> LoftUp | Tower:
    """Return what is to be trained, as it is before the first step.

    Raises:
        WeightsError: a checkpoint to start from that does not fit.
    """
    if settings.trained == TOWER:
        return Tower(clip, arguments.attention, not arguments.no_residual)
    if arguments.initial:
        return read_initial(arguments.initial, featurizer.contract, featurizer.dimension)
    sizes = network_sizes(featurizer.dimension, arguments.heads, arguments.depth,
                          arguments.frequencies, arguments.hidden)
    return new_network(sizes, featurizer, source, settings)


def open_source(arguments: argparse.Namespace) -> Source:
    """Open the images and masks that the flags name."""
    if arguments.rooms:
        return Rooms(arguments.rooms_folder or arguments.work / "scenes", arguments.rooms,
                     arguments.rooms_seed, arguments.rooms_world, arguments.rooms_height)
    if arguments.trained == TOWER:
        return open_unlabelled(arguments.images, arguments.smallest_crop)
    if not arguments.masks:
        raise UsageError("--images needs --masks: a folder, a COCO file, or module:function")
    return open_photographs(arguments.images, arguments.masks, arguments.overlap,
                            arguments.smallest_crop)


def _tell(network: LoftUp | Tower, featurizer: Featurizer, source: Source,
          settings: TrainingSettings, processes: Processes) -> None:
    """Log what is about to happen, and warn where memory will not do."""
    if isinstance(network, Tower):
        _log.info("image tower of %d parameters of '%s'; %d images, %d steps of %d, %d process(es)",
                  sum(value.numel() for value in network.parameters()),
                  featurizer.contract.backbone, len(source), settings.steps,
                  settings.batch * settings.accumulation * processes.count, processes.count)
        return
    parts = estimate(network, featurizer, settings)
    _log.info("LoftUp of %d parameters for %s features of '%s'; %d images",
              sum(value.numel() for value in network.parameters()), featurizer.contract.layer,
              featurizer.contract.backbone, len(source))
    _log.info("%d steps of %d images, %d process(es)", settings.steps,
              settings.batch * settings.accumulation * processes.count, processes.count)
    _log.info("%s", describe(parts, processes.device))
    if sum(parts.values()) > free(processes.device):
        _log.warning("this is more than is free; lower --batch (and raise --accumulation), "
                     "--factors or --sides, or use --precision bf16")


main = Program(PROGRAM, "Train a LoftUp for any CLIP with a plain vision transformer, or that "
               "transformer to see in one forward what it sees in windows "
               "(docs/training_loftup.md).", EXAMPLE, add_arguments, run, check,
               "interrupted; add --resume to go on from the last state")
