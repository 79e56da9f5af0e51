"""A run's state, to go on from, and its result, in the published form."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sclip_research.training.loftup.settings import TrainingSettings
from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.models import ClipModel
from sclip_seg_ros.models.clip import WEIGHTS
from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract
from sclip_seg_ros.segmentation.upsamplers.loftup.network import HEADS_KEY, LoftUp, build_loftup
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import stated_heads
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import read_loftup
from sclip_seg_ros.tools.fetch import write_configuration

_PER_PROCESS = "accumulation"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; a run that is killed meanwhile leaves the old file whole."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_state(path: Path, settings: TrainingSettings, processes: int,
               contract: FeatureContract) -> dict[str, Any]:
    """Read a run's state, and make sure that the same run goes on.

    Raises:
        WeightsError: a file that is no such state.
        ValueError: settings or a backbone other than the run's own.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        stored = dict(state["settings"])
    except Exception as error:  # the unpickler answers a broken file with any of a dozen types
        raise WeightsError(f"'{path}' is not a state of a training run "
                           f"({first_line(error)}); add --restart to begin anew") \
            from error
    wanted = stated_settings(settings, processes, contract)
    for name, value in wanted.items():
        if stored.get(name) != value:
            raise ValueError(f"'{path}' was trained with {name}={stored.get(name)}, now it is "
                             f"{value}; give the old value, --restart, or another --work "
                             "folder")
    return state


def stated_settings(settings: TrainingSettings, processes: int,
                    contract: FeatureContract) -> dict[str, Any]:
    """Return what must stay the same over a run, however many processes take part."""
    stated = settings.as_dict() | {_PER_PROCESS: settings.accumulation * processes}
    return stated | {f"feature_{name}": value for name, value in asdict(contract).items()}


def export(path: Path, network: LoftUp, contract: FeatureContract, about: dict[str, Any],
           half: bool = False) -> None:
    """Write a network as a checkpoint of the published form, its contract in the metadata.

    Args:
        network: what is saved.
        contract: the features it was trained on.
        about: anything else worth knowing, kept as JSON.
        half: parameters as float16; the running statistics stay float32.
    """
    parameters = dict(network.named_parameters())
    state: dict[str, Tensor] = {
        name: (value.half() if half and name in parameters else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()}
    metadata = {"format": "pt", "trained_by": "sclip-train-loftup",
                HEADS_KEY: str(network.sizes.heads), "training": json.dumps(about)}
    metadata |= {f"feature_{name}": value for name, value in asdict(contract).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata=metadata)
    os.replace(partial, path)


def export_model(folder: Path, clip: ClipModel, visual: nn.Module, about: dict[str, Any],
                 suits: dict[str, Any], half: bool = False) -> None:
    """Write a CLIP with another image tower into a folder that ``local-dir:FOLDER`` runs from.

    Args:
        folder: made where there is none.
        clip: whose texts, configuration and tokenizer stay as they are.
        visual: the image tower.
        about: anything worth knowing, kept as JSON.
        suits: settings that it is to run with where users leave them to the model.
        half: weights as float16.
    """
    state = {name: value for name, value in clip.model.state_dict().items()
             if not name.startswith("visual.")}
    state |= {f"visual.{name}": value for name, value in visual.state_dict().items()}
    state = {name: (value.half() if half and value.is_floating_point() else value)
             .detach().cpu().contiguous() for name, value in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_configuration(folder, clip, suits)
    partial = folder / f"{WEIGHTS[0]}.partial"
    save_file(state, partial, metadata={"format": "pt", "trained_by": "sclip-train-loftup",
                                        "training": json.dumps(about)})
    os.replace(partial, folder / WEIGHTS[0])


def read_initial(path: Path, contract: FeatureContract, dimension: int) -> LoftUp:
    """Read a network to start from.

    Raises:
        WeightsError: it does not fit, or was trained on other features.
    """
    weights = read_loftup(str(path))
    stated = FeatureContract.from_metadata(weights.metadata)
    departures = stated.departures(contract)
    if departures:
        raise WeightsError(f"'{path}' cannot be trained further on these features: "
                           f"{'; '.join(departures)}; give the model and features it was made for")
    network = build_loftup(weights.state, dimension, stated_heads(weights.metadata))
    return network.train().requires_grad_(True)
