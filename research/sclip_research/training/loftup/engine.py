"""The optimisation: steps, mixed precision, several processes, checkpoints that resume."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from sclip_research.training.curves import Curves
from sclip_research.training.loftup.checkpoints import load_state, save_state, stated_settings
from sclip_research.training.loftup.crops import Batch, Source, load_batches, step_plan
from sclip_research.training.loftup.distillation import MovingAverage
from sclip_research.training.loftup.featurizer import Featurizer
from sclip_research.training.loftup.norm_statistics import NormStatistics
from sclip_research.training.loftup.objective import Objective
from sclip_research.training.loftup.processes import Processes
from sclip_research.training.loftup.settings import TOWER, TrainingSettings
from sclip_research.training.loftup.windows import WindowObjective
from sclip_seg_ros.models.devices import DTYPES

STATE_FILE = "state.pt"


class Trainer:
    """One process's part in a training run.

    Attributes:
        network: what is trained.
        step: number of steps taken so far.
    """

    def __init__(self, network: nn.Module, featurizer: Featurizer, source: Source,
                 settings: TrainingSettings, processes: Processes, work: Path) -> None:
        """Prepare a run from its first step; :meth:`resume` goes on with an older one.

        Args:
            network: initial weights, of a LoftUp or of a tower as the settings say; the first
                process's are everybody's.
            featurizer: the frozen backbone, on the process's device.
            source: images, with masks for a LoftUp.
            settings: of this process, see :meth:`TrainingSettings.for_processes`.
            work: folder of the state and the curves.

        Raises:
            ValueError: fp16 on a CPU, whose small gradients nothing would save there.
        """
        device = processes.device
        if settings.precision == "fp16" and device.type != "cuda":
            raise ValueError(f"precision='fp16' does not train on '{device}'; choose bf16 or fp32")
        self.network = network.to(device).train()
        self.step = 0
        self._featurizer, self._source = featurizer, source
        self._settings, self._processes, self._work = settings, processes, work
        self._optimiser = _optimiser(network, settings)
        self._scaler = torch.amp.GradScaler(enabled=settings.precision == "fp16")
        self._statistics = NormStatistics(network)
        self._teacher = MovingAverage(network, settings.teacher_decay, settings.teacher_every) \
            if settings.stage == 2 else None
        self._average = MovingAverage(network, settings.average, warm_up=True) \
            if settings.average else None
        self._objective = WindowObjective(settings, featurizer) if settings.trained == TOWER \
            else Objective(settings, featurizer, self._teacher.network if self._teacher else None)
        self._distributed = network if processes.count == 1 else DistributedDataParallel(
            network, device_ids=[device.index] if device.type == "cuda" else None,
            broadcast_buffers=False,  # NormStatistics keeps them equal
            find_unused_parameters=settings.trained == TOWER)  # the last block's, by the rule
        self._seconds: dict[str, float] = defaultdict(float)

    @property
    def result(self) -> nn.Module:
        """The network to save: the averaged one if there is one."""
        return self._average.network if self._average else self.network

    def resume(self) -> None:
        """Go on where the run in the work folder stopped.

        Raises:
            WeightsError, ValueError: see :func:`load_state`.
        """
        state = load_state(self._work / STATE_FILE, self._settings, self._processes.count,
                           self._featurizer.contract)
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        for name, average in self._averages().items():
            average.network.load_state_dict(state[name])

    def run(self, until: int | None = None, save_every: int = 500, log_every: int = 20,
            workers: int = 0, tensorboard: bool = False) -> None:
        """Train to the last step, or to an earlier one.

        Args:
            until: stop, with a state to go on from, after this many steps in all.
            save_every, log_every: steps between two states, and two rows of the curves.
            workers: processes that prepare examples.
            tensorboard: write the curves for TensorBoard as well.
        """
        stop = min(self._settings.steps, until or self._settings.steps)
        if self.step >= stop:
            return
        first = self._processes.first
        curves = Curves(self._work, self.step, tensorboard) if first else None
        batches = iter(load_batches(self._source, self._settings, self.step, stop,
                                    self._processes.rank, self._processes.count, workers))
        sums: dict[str, float] = defaultdict(float)
        count, since = 0, time.monotonic()
        with tqdm(total=stop, initial=self.step, unit="step", disable=not first) as progress:
            while self.step < stop:
                losses = self._take_step(batches)
                for name, value in losses.items():
                    sums[name] += value
                count += 1
                if curves and (self.step % log_every == 0 or self.step == stop):
                    row = self._row({name: value / count for name, value in sums.items()},
                                    count, time.monotonic() - since)
                    curves.add(self.step - 1, row)
                    progress.set_postfix({name: f"{row[name]:.3g}" for name in losses})
                    sums.clear()
                    self._seconds.clear()
                    count, since = 0, time.monotonic()
                if first and (self.step % save_every == 0 or self.step == stop):
                    save_state(self._work / STATE_FILE, self._state())
                progress.update()
        if curves:
            curves.close()

    def _take_step(self, batches: Any) -> dict[str, float]:
        """Take one step over this process's batches; return the mean of each loss."""
        settings, turns = self._settings, self._settings.accumulation
        for group in self._optimiser.param_groups:
            group["lr"] = settings.rate(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        self._statistics.begin()
        sums: dict[str, float] = defaultdict(float)
        for turn in range(turns):
            started = time.monotonic()
            batch = Batch(*(part.to(self._processes.device, non_blocking=True)
                            for part in next(batches)))
            self._seconds["data"] += time.monotonic() - started
            for name, value in self._take_turn(batch, turn).items():
                sums[name] += value / turns
        self._statistics.finish(turns)
        self._scaler.unscale_(self._optimiser)
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        for average in self._averages().values():
            average.update(self.network, self.step)
        self.step += 1
        return sums

    def _take_turn(self, batch: Batch, turn: int) -> dict[str, float]:
        """Add one batch's gradients; processes exchange theirs in the last turn alone."""
        settings, processes = self._settings, self._processes
        last = turn + 1 == settings.accumulation
        quiet = nullcontext() if last or processes.count == 1 else self._distributed.no_sync()
        plan = step_plan(settings, self.step, turn * processes.count + processes.rank)
        dtype = DTYPES[settings.precision]
        with quiet:
            with torch.autocast(processes.device.type, dtype, enabled=dtype != torch.float32):
                losses = self._objective(self._distributed, batch, plan)
                total = self._objective.total(losses) / settings.accumulation
            self._scaler.scale(total).backward()
        self._statistics.collect()
        return {name: value.item() for name, value in losses.items()}

    def _row(self, losses: dict[str, float], steps: int, seconds: float) -> dict[str, float]:
        settings = self._settings
        images = steps * settings.batch * settings.accumulation * self._processes.count
        return {**losses, "rate": settings.rate(self.step - 1),
                "images_per_second": images / seconds,
                "data_share": self._seconds["data"] / seconds}

    def _averages(self) -> dict[str, MovingAverage]:
        named = {"average": self._average, "teacher": self._teacher}
        return {name: average for name, average in named.items() if average is not None}

    def _state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {"step": self.step,
                "settings": stated_settings(self._settings, self._processes.count,
                                            self._featurizer.contract),
                "network": self.network.state_dict(), "optimiser": self._optimiser.state_dict(),
                "scaler": self._scaler.state_dict(),
                **{name: average.network.state_dict()
                   for name, average in self._averages().items()}}


def _optimiser(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW with decay on matrices and kernels only."""
    named = list(network.parameters())
    groups = [{"params": [value for value in named if value.dim() > 1],
               "weight_decay": settings.weight_decay},
              {"params": [value for value in named if value.dim() <= 1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
