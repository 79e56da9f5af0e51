"""The flags of `sclip-train-loftup`, checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sclip_research.scenes.worlds import WORLDS
from sclip_research.training.loftup.masks import LARGEST_FIRST, ORDERS
from sclip_research.training.loftup.settings import (
    LOFTUP,
    PRECISIONS,
    TOWER,
    TRAINED,
    TrainingSettings,
)
from sclip_research.training.scene_pool import HEIGHT
from sclip_seg_ros.models.clip import DENSE_LOGIT_SCALE
from sclip_seg_ros.segmentation.backbones.attention import last_block_rules
from sclip_seg_ros.segmentation.upsamplers.feature_contract import LAYERS, NORMALISATIONS
from sclip_seg_ros.tools.arguments import UsageError
from sclip_seg_ros.tools.program import add_resume_flags, positive

PROGRAM = "sclip-train-loftup"
EXAMPLE = (f"{PROGRAM} --model ViT-B/16 --pretrained metaclip_400m --images photos "
           "--masks masks --device cuda --precision bf16")
_DEFAULTS = TrainingSettings()
# Where none is given. A tower's patches are compared as most models' are with words.
_BY_KIND = {LOFTUP: {"learning_rate": _DEFAULTS.learning_rate,
                     "contrast_weight": _DEFAULTS.contrast_weight,
                     "contrast_scale": _DEFAULTS.contrast_scale},
            TOWER: {"learning_rate": 1e-4, "contrast_weight": 0.5,
                    "contrast_scale": DENSE_LOGIT_SCALE}}
# What has no effect on the other kind of training, so that nobody waits for it in vain.
_OF_LOFTUP = ("features", "normalisation", "heads", "depth", "frequencies", "hidden", "masks",
              "overlap", "sides", "factors", "stage", "initial", "alpha", "mask_weight",
              "direction_weight", "balance", "affinity_weight", "enlargement", "teacher_alpha",
              "teacher_weight", "teacher_decay", "affinity_pixels", "teacher_every")
_OF_TOWER = ("size", "crop", "stride")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    _add_model_flags(parser.add_argument_group("backbone"))
    _add_data_flags(parser.add_argument_group("images and masks"))
    _add_loss_flags(parser.add_argument_group("losses"))
    _add_run_flags(parser.add_argument_group("run"))


def check(parsed: argparse.Namespace) -> None:
    """Refuse flags that do not go together, name the checkpoint, and choose what was left open.

    Raises:
        UsageError: in one sentence.
    """
    for name, value in _BY_KIND[parsed.trained].items():
        if getattr(parsed, name) is None:
            setattr(parsed, name, value)
    _refuse_ineffective(parsed, _OF_LOFTUP if parsed.trained == TOWER else _OF_TOWER)
    if parsed.trained == TOWER:
        parsed.output = parsed.output or parsed.work / "model"
        if parsed.output.exists() and not parsed.output.is_dir():
            raise UsageError(f"--output '{parsed.output}' is a file; a tower is written as a "
                             "folder with its model, give a folder")
        return
    parsed.output = parsed.output or parsed.work / "loftup.safetensors"
    if parsed.output.suffix != ".safetensors":
        raise UsageError(f"--output '{parsed.output}' must end in .safetensors, which holds the "
                         "contract")
    if parsed.stage == 2 and not parsed.initial and not parsed.resume:
        raise UsageError("--stage 2 starts from stage 1; give its checkpoint with --initial")


def _refuse_ineffective(parsed: argparse.Namespace, names: Sequence[str]) -> None:
    """Refuse flags of the other kind of training."""
    plain = argparse.ArgumentParser()
    add_arguments(plain)
    for name in names:
        if getattr(parsed, name) != plain.get_default(name):
            raise UsageError(f"--{name.replace('_', '-')} has no effect with --train "
                             f"{parsed.trained}; leave it out")


def settings_of(arguments: argparse.Namespace) -> TrainingSettings:
    """Collect the settings of all processes together from the flags."""
    names = TrainingSettings.__dataclass_fields__
    values = {name: getattr(arguments, name) for name in names}
    return TrainingSettings(**{name: tuple(value) if isinstance(value, list) else value
                               for name, value in values.items()})


def _add_model_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", default="embedded", help="embedded (default), or e.g. ViT-B/16")
    group.add_argument("--pretrained", default="", help="tag such as openai, or a weights file")
    group.add_argument("--train", dest="trained", choices=TRAINED, default=LOFTUP,
                       help="loftup (default): an upsampler; tower: the image tower itself, to see "
                            "in one forward what it sees in windows, without masks")
    group.add_argument("--features", choices=LAYERS, default="attended",
                       help="contract: the last block as it segments (default), or its values "
                            "alone")
    group.add_argument("--normalisation", choices=NORMALISATIONS, default="clip",
                       help="statistics of the images: the model's own (default), or ImageNet's, "
                            "as published for the values")
    group.add_argument("--attention", choices=last_block_rules(), default="sclip",
                       help="of the last block, for attended features and towers")
    group.add_argument("--no-residual", action="store_true",
                       help="last block without residual and feed-forward network")
    group.add_argument("--heads", type=positive, default=4, help="of a new network")
    group.add_argument("--depth", type=positive, default=2, help="layers of a new network")
    group.add_argument("--frequencies", type=positive, default=20, help="of a new network")
    group.add_argument("--hidden", type=int, default=0,
                       help="width of a new network's feed-forward networks; 0: the features'")


def _add_data_flags(group: argparse._ArgumentGroup) -> None:
    images = group.add_mutually_exclusive_group(required=True)
    images.add_argument("--images", type=Path, metavar="FOLDER", help="photographs")
    images.add_argument("--rooms", type=positive, metavar="N",
                        help="render N rooms instead, with exact masks")
    group.add_argument("--masks", metavar="WHERE",
                       help="folder of PNG masks or COCO-RLE JSON, a COCO annotation file, or "
                            "module:function")
    group.add_argument("--overlap", choices=ORDERS, default=LARGEST_FIRST,
                       help="painting order of overlapping masks; the last one owns the pixel")
    group.add_argument("--smallest-crop", type=float, default=0.5, metavar="SHARE",
                       help="of a photograph's short side (default 0.5)")
    group.add_argument("--rooms-seed", type=int, default=1)
    group.add_argument("--rooms-world", choices=WORLDS, default="toy",
                       help="world of the rendered rooms (default %(default)s)")
    group.add_argument("--rooms-height", type=positive, default=HEIGHT, metavar="PIXELS",
                       help="of the rendered rooms (default %(default)s)")
    group.add_argument("--rooms-folder", type=Path, metavar="FOLDER",
                       help="where rendered rooms are kept (default: in --work)")
    group.add_argument("--sides", type=positive, nargs="+", default=list(_DEFAULTS.sides),
                       help="of the square images; one is drawn for each step (default 224)")
    group.add_argument("--factors", type=float, nargs="+", default=list(_DEFAULTS.factors),
                       help="output side / patch grid's side; one is drawn for each step "
                            "(default 16, full resolution for patches of 16)")
    group.add_argument("--size", type=positive, nargs=2, default=_DEFAULTS.size,
                       metavar=("ROWS", "COLUMNS"),
                       help="tower: of its images, as the segmentor shrinks the camera's (default "
                            "336 448)")
    group.add_argument("--crop", type=positive, default=_DEFAULTS.crop,
                       help="tower: side of the teacher's windows (default %(default)s)")
    group.add_argument("--stride", type=positive, default=_DEFAULTS.stride,
                       help="tower: step between them (default %(default)s)")
    group.add_argument("--workers", type=int, default=0, help="processes that prepare images")


def _add_loss_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--stage", type=int, choices=(1, 2), default=_DEFAULTS.stage)
    for name, text in (
            ("alpha", "share of a mask's mean in the target"),
            ("mask_weight", "L2 to the mask-refined target"),
            ("direction_weight", "1 - cosine to the same target"),
            ("balance", "pixels count as their mask's area to the power of minus this"),
            ("affinity_weight", "stage 2: affinity matrices of student and teacher"),
            ("teacher_weight", "stage 2: L2 to the teacher's features"),
            ("enlargement", "stage 2: side of the teacher's image / the student's"),
            ("teacher_alpha", "stage 2: share of a mask's mean in the teacher's features"),
            ("teacher_decay", "stage 2: share of itself that the teacher keeps")):
        group.add_argument(f"--{name.replace('_', '-')}", type=float,
                           default=getattr(_DEFAULTS, name), help=text + " (default %(default)s)")
    _add_by_kind(group, "contrast_weight", "resemblance to the batch's masks, or for a tower to "
                 "patches of it, as the target's")
    _add_by_kind(group, "contrast_scale", "inverse temperature of that resemblance")
    group.add_argument("--affinity-pixels", type=positive, default=_DEFAULTS.affinity_pixels,
                       help="stage 2: pixels compared at once (default %(default)s)")
    group.add_argument("--teacher-every", type=positive, default=_DEFAULTS.teacher_every,
                       help="stage 2: steps between the teacher's updates (default %(default)s)")


def _add_run_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--work", type=Path, default=Path("out/loftup"),
                       help="folder of the state and the curves (default %(default)s)")
    group.add_argument("--output", type=Path, help="checkpoint to write (default: in --work)")
    group.add_argument("--initial", type=Path, help="checkpoint to start from")
    add_resume_flags(group, "throw away the run in --work, and begin anew",
                     "go on with the run in --work")
    group.add_argument("--stop-after", type=positive, metavar="STEP",
                       help="stop early, with a state to go on from")
    group.add_argument("--half", action="store_true", help="write the weights as float16")
    _add_by_kind(group, "learning_rate", "the highest")
    group.add_argument("--device", default="auto", help="auto (default), cpu, cuda, ...")
    group.add_argument("--precision", choices=PRECISIONS, default=_DEFAULTS.precision,
                       help="arithmetic; bf16 and fp16 are mixed precision (default %(default)s)")
    for name, text in (("steps", "of the whole run"), ("batch", "images a process holds at once"),
                       ("accumulation", "batches that make one step, over all processes")):
        group.add_argument(f"--{name}", type=positive, default=getattr(_DEFAULTS, name),
                           help=text + " (default %(default)s)")
    for name, text in (("weight_decay", "on matrices"),
                       ("clip", "largest norm of the gradient"),
                       ("average", "decay of the averaged weights that are saved; 0: none")):
        group.add_argument(f"--{name.replace('_', '-')}", type=float,
                           default=getattr(_DEFAULTS, name), help=text + " (default %(default)s)")
    group.add_argument("--warm-up", type=int, default=_DEFAULTS.warm_up,
                       help="steps of it (default %(default)s)")
    group.add_argument("--seed", type=int, default=_DEFAULTS.seed)
    group.add_argument("--save-every", type=positive, default=500, metavar="STEPS")
    group.add_argument("--log-every", type=positive, default=20, metavar="STEPS")
    group.add_argument("--tensorboard", action="store_true",
                       help="curves for TensorBoard as well as log.csv")


def _add_by_kind(group: argparse._ArgumentGroup, name: str, text: str) -> None:
    group.add_argument(f"--{name.replace('_', '-')}", type=float,
                       help=f"{text} (default: {_BY_KIND[LOFTUP][name]:g}, of a tower "
                            f"{_BY_KIND[TOWER][name]:g})")
