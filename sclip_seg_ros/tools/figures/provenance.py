"""Where a figure comes from: weights, commit, versions, device, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import sclip_seg_ros
from sclip_seg_ros.models.identity import Origin
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.segmentation.pipeline import Pipeline

LIBRARIES = ("torch", "open_clip_torch", "numpy", "opencv-python-headless", "pillow", "timm",
             "pydensecrf2")


def describe_weights(origin: Origin | None) -> dict[str, Any]:
    """Return the file that a loaded model's weights were read from, its SHA-256 and commit.

    All are None for random weights, the commit also for files that come from no hub.
    """
    return {"weights_file": origin.path.name if origin else None,
            "weights_sha256": origin.sha256 if origin else None,
            "weights_commit": f"{origin.repository}@{origin.commit}"
                              if origin and origin.repository else None}


def describe_upsamplers(pipelines: Iterable[Pipeline]) -> dict[str, str]:
    """Return where the upsamplers' weights of a run's pipelines come from, with their SHA-256."""
    used = [pipeline.upsampler for pipeline in pipelines]
    return {upsampler.title: upsampler.origin for upsampler in used
            if upsampler is not None and upsampler.origin}


def describe_segmentation(segmentor: SCLIPSegmentor, vocabulary: Vocabulary) -> dict[str, Any]:
    """Name all that labels depend on besides the image; equal for runs that may be continued."""
    weights = describe_weights(segmentor.origin)
    if segmentor.origin is None:
        weights = {"random": uuid.uuid4().hex}  # no two runs have the same
    fallback = segmentor.pipeline.upsampler_fallback
    return {"version": sclip_seg_ros.__version__, "commit": commit(),
            "model": {"name": segmentor.name, "precision": segmentor.precision, **weights},
            "upsampler": describe_upsamplers([segmentor.pipeline]) or None,
            "proxy": segmentor.proxies.origin(segmentor.settings),
            "settings": asdict(segmentor.pipeline.decided), "upsampler_fallback": fallback,
            **describe_words(vocabulary)}


def describe_words(vocabulary: Vocabulary) -> dict[str, Any]:
    """Name what labels depend on of the words."""
    return {"words": [list(entry.synonyms) for entry in vocabulary.classes],
            "background": vocabulary.background, "negatives": list(vocabulary.negatives),
            "prompt templates": list(vocabulary.templates)}


def commit() -> str | None:
    """Return the commit of the source tree, "+changes" appended where files differ from it.

    None where the package is installed without its repository.
    """
    root = Path(sclip_seg_ros.__file__).resolve().parents[1]
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top) != root:
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{_git(root, 'rev-parse', 'HEAD')}{'+changes' if changed else ''}"


def versions() -> dict[str, str | None]:
    """Return the versions of Python, this package and the libraries that decide on numbers."""
    found: dict[str, str | None] = {"python": platform.python_version(),
                                    "sclip_seg_ros": sclip_seg_ros.__version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def device_name(device: torch.device) -> str:
    """Return what a device is called, e.g. "NVIDIA H200" or "x86_64, 8 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def peak_memory(device: torch.device) -> dict[str, float | None]:
    """Return the process's largest memory so far, in MiB: main memory, and tensors on CUDA."""
    unit = 1024 if platform.system() == "Darwin" else 1  # ru_maxrss: bytes there, KiB elsewhere
    cuda = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / unit,
            "cuda_mib": None if cuda is None else cuda / 2**20}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True,
                              text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
