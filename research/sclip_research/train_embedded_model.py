"""Train the embedded CLIP from nothing on scenes that the project renders itself.

    python -m sclip_research.train_embedded_model --work out/embedded --steps 7000
    python -m sclip_research.train_embedded_model --work out/more --initial weights.safetensors
    python -m sclip_research.train_embedded_model --world indoor indoor toy --resume ...

Two contrasts share one set of weights: regions against texts, through the very head that inference
uses (correlative self-attention in the last block, patch tokens projected into the text space), and
whole images against captions, through the class token. Scenes, crops, prompts and initial weights
are pure functions of ``--seed``. What stops a run costs it the steps since the last checkpoint:
the same command with ``--resume`` goes on from there.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("sclip_research.train_embedded_model", "train_embedded_model"))

import argparse
import copy
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, normalize

from sclip_research.scenes.phrases import TOY_LEXICON, Lexicon, joined
from sclip_research.scenes.worlds import WORLDS, world
from sclip_research.training.checkpoint import Checkpoint
from sclip_research.training.curves import Curves
from sclip_research.training.loftup.distillation import MovingAverage
from sclip_research.training.queries import Queries, mixed_vocabulary, sample_queries
from sclip_research.training.scene_pool import HEIGHT, Crop, ScenePool
from sclip_seg_ros.models.clip import EMBEDDED_FOLDER
from sclip_seg_ros.models.devices import resolve_device
from sclip_seg_ros.models.weights import read_state_dict
from sclip_seg_ros.segmentation.backbones.attention import attention_rule
from sclip_seg_ros.segmentation.backbones.backbone import feature_map
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.preprocessing import normalise
from sclip_seg_ros.segmentation.text.encoder import encode_prompts
from sclip_seg_ros.tools.program import Program, UsageError, add_resume_flags, documented

MEAN = open_clip.OPENAI_DATASET_MEAN
STD = open_clip.OPENAI_DATASET_STD
MAX_LOGIT_SCALE = math.log(100.0)
ENLARGEMENT = 2          # labels a patch side in the region loss
CAPTION_WEIGHT = 0.1
MIXED_WEIGHT = 0.5
COLOUR_WEIGHT = 0.5
POOL_SEEDS = 1000        # between the seeds of one run's pools


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--work", type=Path, default=Path("out/embedded"),
                        help="folder for the scene pool, the log and checkpoints")
    parser.add_argument("--initial", type=Path, help="weights file to start from")
    parser.add_argument("--output", type=Path, help="weights file to write; default: in --work")
    parser.add_argument("--keep", type=float, default=0.0, metavar="SHARE",
                        help="of the --initial weights in the result, 0 to 1: on the way from them "
                             "to the trained ones there often are better ones (Wortsman et al., "
                             "CVPR 2022)")
    parser.add_argument("--world", nargs="+", choices=WORLDS, default=["toy"], metavar="WORLD",
                        help=f"worlds to train on ({', '.join(WORLDS)}); one named twice has twice "
                             "the scenes")
    parser.add_argument("--scenes", type=int, default=12000,
                        help="rendered training scenes of each world")
    parser.add_argument("--render-workers", type=int, default=2, help="processes that render")
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=32, help="crops a step")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--noun-weight", type=float, default=1.0,
                        help="weight of the noun loss; shapes are harder to learn than colours")
    parser.add_argument("--balance", type=float, default=0.5,
                        help="a pixel counts as the area of its noun in the batch to the power of "
                             "minus this; 0: all alike, 1: all nouns alike (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16",
                        help="arithmetic of both towers; fp32 is faster on CPUs without AMX "
                             "(default %(default)s)")
    parser.add_argument("--height", type=int, default=HEIGHT, metavar="PIXELS",
                        help="of the rendered scenes, which are 4/3 as wide (default %(default)s)")
    parser.add_argument("--side", type=int, default=224, metavar="PIXELS",
                        help="side of the crops; a multiple of 16 (default %(default)s)")
    parser.add_argument("--small-steps", type=float, default=0.3,
                        help="share of the steps, at the start, on small crops")
    parser.add_argument("--small-side", type=int, default=160, metavar="PIXELS",
                        help="side of small crops; a multiple of 16 (default %(default)s)")
    parser.add_argument("--checkpoint-every", type=int, default=100, metavar="STEPS")
    add_resume_flags(parser, "throw away the checkpoint in --work, and begin anew",
                     "go on from the checkpoint in --work, if there is one")


def check(parsed: argparse.Namespace) -> None:
    """Refuse a share of weights that are not there.

    Raises:
        UsageError: with what is allowed.
    """
    if not 0 <= parsed.keep <= 1 or parsed.keep and not parsed.initial:
        raise UsageError(f"--keep must be 0 to 1, and needs --initial, got {parsed.keep:g}")


def run(parsed: argparse.Namespace) -> None:
    """Train."""
    resolve_device(parsed.device)
    train(pools(parsed), parsed)


def pools(arguments: argparse.Namespace) -> list[ScenePool]:
    """Open a pool of scenes for each world that was named; what is missing is rendered."""
    opened = []
    for number, name in enumerate(arguments.world):
        suffix = "" if arguments.world == ["toy"] else f"_{name}_{number}"
        opened.append(ScenePool(arguments.work / f"scenes{suffix}", arguments.scenes,
                                arguments.seed + number * POOL_SEEDS, arguments.render_workers,
                                name, arguments.height))
    return opened


def train(pools: Sequence[ScenePool], arguments: argparse.Namespace) -> None:
    """Run the optimisation and write the averaged weights as float16 safetensors.

    Raises:
        ValueError: the checkpoint to go on from is another run's.
    """
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    bundle = f"local-dir:{EMBEDDED_FOLDER}"
    model = open_clip.create_model(bundle, load_weights=False).to(arguments.device).train()
    tokenize = open_clip.get_tokenizer(bundle)
    initialise(model)
    lexicon = joined([world(name).lexicon for name in dict.fromkeys(arguments.world)])
    checkpoint = Checkpoint(arguments.work / "checkpoint.pt", arguments)
    checkpoint.refuse_to_lose(arguments.resume, arguments.restart)
    if arguments.initial:
        model.load_state_dict(read_state_dict(arguments.initial))
    average = MovingAverage(model, 0.999, warm_up=True)
    initial = copy.deepcopy(average.network)
    optimiser = make_optimiser(model, arguments.learning_rate)
    output = arguments.output or arguments.work / "open_clip_model.safetensors"
    seen = torch.zeros(model.vocab_size, dtype=torch.bool, device=arguments.device)
    begin = checkpoint.load(model, average.network, optimiser, seen, rng) \
        if arguments.resume else 0
    curves = Curves(arguments.work, begin)
    start = time.monotonic()
    for step in range(begin, arguments.steps):
        for group in optimiser.param_groups:
            group["lr"] = arguments.learning_rate * schedule(step, arguments.steps)
        small = step < arguments.small_steps * arguments.steps
        side = arguments.small_side if small else arguments.side
        batch = []
        for _ in range(arguments.batch):
            pool = pools[int(rng.integers(len(pools)))] if len(pools) > 1 else pools[0]
            batch.append(pool.crop(int(rng.integers(len(pool))), side, rng))
        losses = step_losses(model, tokenize, batch, rng, arguments.device, seen,
                             arguments.balance, lexicon,
                             reduced=arguments.precision == "bf16")
        total = (losses["phrase"] + arguments.noun_weight * losses["noun"]
                 + COLOUR_WEIGHT * losses["colour"] + MIXED_WEIGHT * losses["mixed"]
                 + CAPTION_WEIGHT * losses["caption"])
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        average.update(model, step)
        if step % 20 == 0:
            row = {"seconds": time.monotonic() - start,
                   **{name: loss.item() for name, loss in losses.items()},
                   "scale": model.logit_scale.exp().item()}
            curves.add(step, row)
            print(step, *(f"{value:.4g}" for value in row.values()), flush=True)
        if (step + 1) % arguments.checkpoint_every == 0 or step + 1 == arguments.steps:
            checkpoint.save(step + 1, model, average.network, optimiser, seen, rng)
    for value, before in zip(average.network.state_dict().values(),
                             initial.state_dict().values(), strict=True):
        if value.is_floating_point():
            value.lerp_(before, arguments.keep)
    save(average.network, output, seen)


def step_losses(model: nn.Module, tokenize, batch: list[Crop], rng: np.random.Generator,
                device: str, seen: Tensor, balance: float,
                lexicon: Lexicon = TOY_LEXICON, reduced: bool = True) -> dict[str, Tensor]:
    """Compute every loss of one batch of crops, and mark the text tokens it showed as seen."""
    queries = sample_queries([crop.things for crop in batch], rng, lexicon=lexicon)
    texts = [str(OPENAI_IMAGENET_TEMPLATES[rng.integers(len(OPENAI_IMAGENET_TEMPLATES))](word))
             for word in queries.words]
    words, captions = (tokenize(list(said)).to(device)
                       for said in (texts, [crop.caption for crop in batch]))
    seen[words] = seen[captions] = True
    images = torch.from_numpy(np.stack([crop.image for crop in batch])).to(device)
    images = normalise(images.permute(0, 3, 1, 2).float() / 255, MEAN, STD)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=reduced):
        # Apart, because the padding behind the longest text is left out, and captions are long.
        words, captions = (normalize(encode_prompts(model, tokens).float(), dim=-1)
                           for tokens in (words, captions))
        backbone = backbone_of(model.visual)
        before = backbone.penultimate(images)
        dense = backbone.last_block(before, attention_rule("sclip")).float()
    scale = model.logit_scale.exp()
    patches = feature_map(normalize(dense, dim=-1), before.grid)
    scores = torch.einsum("bdhw,td->bthw", patches, words)
    size = tuple(ENLARGEMENT * side for side in before.grid)
    logits = scale * interpolate(scores, size=size, mode="bilinear", align_corners=False)
    losses = region_losses(logits, batch, queries, rng, balance)
    whole = scale * normalize(dense[:, 0], dim=-1) @ captions.T
    diagonal = torch.arange(len(batch), device=device)
    losses["caption"] = (cross_entropy(whole, diagonal) + cross_entropy(whole.T, diagonal)) / 2
    return losses


def region_losses(logits: Tensor, batch: list[Crop], queries: Queries,
                  rng: np.random.Generator, balance: float) -> dict[str, Tensor]:
    """Contrast every location with the texts of each granularity.

    Args:
        logits: (B, T, h, w) scaled similarities with all words.
        balance: a location counts as its noun's area in the batch to the power of -balance.
    """
    height, width = logits.shape[-2:]
    things = max(len(crop.things) for crop in batch)
    tables = torch.zeros(4, len(batch), things, dtype=torch.long)
    allowed = torch.empty(len(batch), logits.shape[1], dtype=torch.bool)
    masks = []
    for index, crop in enumerate(batch):
        count = len(crop.things)
        allowed[index], mixed = mixed_vocabulary(queries, crop.things, 6, rng)
        tables[:, index, :count] = torch.tensor([*queries.targets(crop.things), mixed])
        step = crop.mask.shape[0] // height
        masks.append(torch.from_numpy(crop.mask[step // 2::step, step // 2::step].copy()))
    located = torch.stack(masks).flatten(1).long()
    noun, colour, phrase, mixed = (
        table.gather(1, located).view(-1, height, width).to(logits.device) for table in tables)
    restricted = logits.masked_fill(~allowed.to(logits.device)[:, :, None, None], float("-inf"))
    area = torch.bincount(noun.flatten(), minlength=len(queries.lexicon.nouns))
    weight = area.float().pow(-balance)[noun]

    def contrast(scores: Tensor, target: Tensor) -> Tensor:
        return (weight * cross_entropy(scores, target, reduction="none")).sum() / weight.sum()

    return {
        "phrase": contrast(logits[:, queries.phrases], phrase),
        "noun": contrast(logits[:, queries.nouns], noun),
        "colour": contrast(logits[:, queries.colours], colour),
        "mixed": contrast(restricted, mixed),
    }


def initialise(model: nn.Module) -> None:
    """Start words and temperature so that a small model learns quickly."""
    nn.init.trunc_normal_(model.token_embedding.weight, std=0.02)
    model.logit_scale.data.fill_(math.log(1 / 0.07))


def make_optimiser(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """AdamW with decay on matrices only, and none on embeddings."""
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    decayed = [value for name, value in named if value.ndim >= 2 and "embedding" not in name]
    others = [value for name, value in named if value.ndim < 2 or "embedding" in name]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05},
                              {"params": others, "weight_decay": 0.0}],
                             lr=rate, betas=(0.9, 0.98), fused=True)


def schedule(step: int, steps: int) -> float:
    """Return the learning rate's factor: up, then level, and straight down to 1 % at the end.

    It is level for long, so that a run can be made longer or shorter while it goes on.
    """
    left = (steps - step) / max(1.0, 0.25 * steps)
    return min(1.0, (step + 1) / 200, max(0.01, left))


def save(model: nn.Module, path: Path, seen: Tensor) -> None:
    """Write the weights as float16 safetensors.

    Tokens that training never showed get a zero embedding: an unknown word then adds nothing to a
    phrase, instead of the noise it started from.
    """
    state = {key: value.half().contiguous().cpu() if value.is_floating_point() else value.cpu()
             for key, value in model.state_dict().items()}
    state["token_embedding.weight"][~seen.cpu()] = 0
    save_file(state, path, metadata={"format": "pt", "trained_by": "train_embedded_model"})


main = Program(*documented(__doc__), add_arguments, run, check,
               "interrupted; add --resume to go on from the last checkpoint")
