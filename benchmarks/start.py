"""Time from a node's start to "ready", its weights cached: in a silent network, and without one.

    sudo scripts/run_in_overlay python -m benchmarks.start --runs 5 --output start.json

Weights are random, of full size, in the layout of the hub's cache. In the silent network every
packet, also to the name server, vanishes without an answer, and is counted; without one there is
no route. Runs alternate, so that what else the computer does falls on both alike. Needs the right
to make network namespaces; SigLIP needs transformers, and is left out without it.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.start", "start"))

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import open_clip
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import save_file

from benchmarks.clocks import worked
from examples.child_processes import ProcessError
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.models.hub import MAIN
from sclip_seg_ros.models.weights import checksum
from sclip_seg_ros.tools.program import Program, documented, positive

MODELS = {"ViT-B-16": "openai", "ViT-B-16-SigLIP": "webli"}
COMMIT = "0" * 40
DEADLINE_SECONDS = 300.0
_LOOPBACK = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && ip link set lo up"
_SILENT = ("ip link add out type veth peer name nowhere && ip addr add 10.9.0.2/24 dev out && "
           "ip link set out up && ip link set nowhere up && "
           "ip neigh add 10.9.0.1 lladdr 02:00:00:00:00:01 dev out nud permanent && "
           "ip route add default via 10.9.0.1")
NETWORKS = {"none": _LOOPBACK, "silent": f"{_LOOPBACK} && {_SILENT}"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--runs", type=positive, default=5, help="in each network (%(default)s)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--output", type=Path, help="JSON file")


def run(options: argparse.Namespace) -> None:
    """Measure and print a table."""
    folder = Path(tempfile.mkdtemp(prefix="sclip-start-"))
    found: dict[str, list[tuple[float, float, int]]] = {}
    try:
        for model in options.models:
            tag = MODELS[model]
            if "SigLIP" in model and find_spec("transformers") is None:
                print(f"{model} is left out: it needs `pip install transformers`", file=sys.stderr)
                continue
            fill_cache(folder, model, tag)
            for turn in range(-1, options.runs):  # the first fills the system's own caches
                for network in list(NETWORKS)[::1 if turn % 2 else -1]:  # each is first in turn
                    took = start(folder, model, tag, network)
                    print(f"{model}, network {network}, run {turn}: {took[0]:.1f} s, {took[1]:.1f} "
                          f"of them at work, {took[2]} packets sent", file=sys.stderr)
                    if turn >= 0:
                        found.setdefault(f"{model}, {network}", []).append(took)
    finally:
        shutil.rmtree(folder)
    rows = []
    for what, runs in found.items():
        seconds, work, sent = (sorted(values) for values in zip(*runs, strict=True))
        rows.append((what, f"{statistics.median(seconds):.1f} ({seconds[0]:.1f} to "
                           f"{seconds[-1]:.1f})", f"{statistics.median(work):.1f}", str(max(sent))))
    print("\n".join(markdown_table(
        ("model, network", "seconds", "processor seconds", "packets sent"), rows)))
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def start(cache: Path, model: str, tag: str, network: str) -> tuple[float, float, int]:
    """Return the seconds that a node needs until it is ready, and what it did in them.

    Returns:
        Seconds, those of processor time, and packets sent to other computers.

    Raises:
        ProcessError: it does not become ready.
    """
    command = [sys.executable, "-m", "sclip_seg_ros.ros.node", "--ros-args",
               "-p", f"model:={model}", "-p", f"pretrained:={tag}", "-p", "inference:=whole",
               "-p", "short_side:=224"]  # a single window, which is soon warmed up
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "ROS_DOMAIN_ID": "0",
                   "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    begin = time.monotonic()
    process = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", f'{NETWORKS[network]} && exec "$@"', "sh", *command],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    deadline = threading.Timer(DEADLINE_SECONDS, process.kill)
    deadline.start()
    try:
        for line in process.stdout or ():
            said.append(line)
            if " ready" in line:
                return time.monotonic() - begin, worked(process.pid), _sent(process.pid)
    finally:
        deadline.cancel()
        process.kill()
        process.wait()
    raise ProcessError(f"the node with '{model}' and network '{network}' does not become ready: "
                       + "".join(said[-3:]))


def _sent(process: int) -> int:
    """Return how many packets have left a process's computer, those to itself left out."""
    lines = Path(f"/proc/{process}/net/dev").read_text().splitlines()
    return sum(int(line.split(":")[1].split()[9]) for line in lines if line.strip()[:4] == "out:")


def fill_cache(cache: Path, model: str, tag: str) -> None:
    """Put random weights, and a tokenizer where the model has its own, where a hub's would be."""
    config = open_clip.get_model_config(model)
    custom = config.pop("custom_text", False)
    network = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    repository = get_pretrained_cfg(model, tag)["hf_hub"].rstrip("/")
    snapshot = _snapshot(cache, repository)
    weights = snapshot / "open_clip_model.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
    blob = snapshot.parents[1] / "blobs" / checksum(weights)
    blob.parent.mkdir(exist_ok=True)
    weights.rename(blob)
    weights.symlink_to(os.path.relpath(blob, snapshot))
    if name := config["text_cfg"].get("hf_tokenizer_name"):
        _write_tokenizer(_snapshot(cache, name))


def _snapshot(cache: Path, repository: str) -> Path:
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / MAIN).write_text(COMMIT)
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot


def _write_tokenizer(folder: Path) -> None:
    """Write a tokenizer of few words: which words a model knows takes no time."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = Tokenizer(models.WordLevel(
        {word: index for index, word in enumerate(special.values())}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", **special}))


main = Program(*documented(__doc__), add_arguments, run)
