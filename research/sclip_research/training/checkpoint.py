"""What a run of the embedded model's training needs to go on where it stopped."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

# What may differ between a run and its continuation.
_FREE = ("work", "steps", "small_steps", "output", "initial", "resume", "restart",
         "checkpoint_every", "keep", "device", "render_workers", "command")


class Checkpoint:
    """A file with model, average, optimiser, step and the state of chance."""

    def __init__(self, path: Path, arguments: argparse.Namespace) -> None:
        """Name the file, and the run that it belongs to."""
        self._path = path
        self._run = {name: value for name, value in sorted(vars(arguments).items())
                     if name not in _FREE}

    def refuse_to_lose(self, resume: bool, restart: bool) -> None:
        """Refuse to pass over a file without being told; remove it for a new beginning.

        Raises:
            ValueError: there is one, and neither flag was given.
        """
        if restart:
            self._path.unlink(missing_ok=True)
        elif self._path.exists() and not resume:
            raise ValueError(f"'{self._path}' holds an older run; add --resume to go on with it, "
                             "--restart to begin anew, or give another --work")

    def save(self, step: int, model: nn.Module, average: nn.Module,
             optimiser: torch.optim.Optimizer, seen: Tensor, rng: np.random.Generator) -> None:
        """Write the state after a number of steps; a crash leaves the file before whole."""
        partial = self._path.with_suffix(".partial")
        torch.save({"run": self._run, "step": step, "model": model.state_dict(),
                    "average": average.state_dict(), "optimiser": optimiser.state_dict(),
                    "seen": seen, "rng": rng.bit_generator.state, "torch": torch.get_rng_state()},
                   partial)
        os.replace(partial, self._path)

    def load(self, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer,
             seen: Tensor, rng: np.random.Generator) -> int:
        """Bring everything to the state of the file.

        Returns:
            the steps that are done; 0 where there is no file yet.

        Raises:
            ValueError: the file is of a run with other arguments.
        """
        if not self._path.exists():
            return 0
        state = torch.load(self._path, map_location=seen.device, weights_only=True)
        differing = [f"{name}={value!r} (there {state['run'].get(name)!r})"
                     for name, value in self._run.items() if state["run"].get(name) != value]
        if differing:
            raise ValueError(f"{self._path} is of another run: {', '.join(differing)}; give the "
                             "same arguments, --restart, or another --work")
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        seen.copy_(state["seen"])
        rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch"].cpu())
        return int(state["step"])
