"""Situations that a governor meets, in simulated time, and what is asked of it there."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean

from benchmarks.governor.machine import (
    LEVELS,
    TRACES,
    Machine,
    RefiningMachine,
    Run,
    replay,
    step,
)

WHOLE = 600       # frames without a load behind the last one
SURE = 0.9        # share of the budget that a level may take, without noise, to be owed
FITS = 0.85       # the same, to be the level that ought to be in use
REFINED = [{**LEVELS[0], "pamr": 200.0}, {**LEVELS[0], "pamr": 80.0}, *LEVELS]


@dataclass(frozen=True)
class Situation:
    """A machine under a load, and a budget.

    Attributes:
        group: what it is an example of.
        machine: with its load and noise.
        budget_ms: of every frame.
        frames: that it lasts.
        ends: frames at which a load ends, long enough before the next one begins.
    """

    group: str
    machine: Machine
    budget_ms: float
    frames: int
    ends: Sequence[int] = ()


@dataclass
class Figures:
    """What came of the situations of a group.

    Attributes:
        owed: frames that the cheapest level would have kept within the budget.
        over: of them, over the budget.
        frames: all of them.
        changes: of the level, and the most in 1000 frames of one situation.
        qualities: mean over the frames of a situation; 1 is the best level, 0 the cheapest.
        back: frames from the end of a load to the level that fits then.
    """

    owed: int = 0
    over: int = 0
    frames: int = 0
    changes: int = 0
    most_changes: float = 0.0
    qualities: list[float] = field(default_factory=list)
    back: list[int] = field(default_factory=list)

    def add(self, situation: Situation, run: Run) -> None:
        """Count what came of a situation."""
        machine, budget = situation.machine, situation.budget_ms
        cheapest = len(machine.levels) - 1
        owed = [machine.expected(cheapest, frame) <= SURE * budget
                for frame in range(situation.frames)]
        self.owed += sum(owed)
        self.over += sum(total > budget and due
                         for total, due in zip(run.totals, owed, strict=True))
        self.frames += situation.frames
        self.changes += run.changes
        self.most_changes = max(self.most_changes, 1000 * run.changes / situation.frames)
        self.qualities.append(mean(_qualities(machine, run)))
        for end in situation.ends:
            best = next((level for level in range(cheapest)
                         if machine.expected(level, end) <= FITS * budget), cheapest)
            later = (frame for frame in range(end, situation.frames) if run.levels[frame] <= best)
            self.back.append(next(later, situation.frames) - end)

    @property
    def kept(self) -> float:
        """Share of the frames owed that were within the budget."""
        return 1 - self.over / max(self.owed, 1)


def _qualities(machine: Machine, run: Run) -> Iterator[float]:
    cheapest = len(machine.levels) - 1
    plain = next((index for index, level in enumerate(machine.levels) if "pamr" not in level), 0)
    for index, level in enumerate(run.levels):
        lost = (1 - run.shares[index]) * (plain - level) if run.shares and level < plain else 0.0
        yield 1 - (level + lost) / cheapest


def situations(seeds: int) -> Iterator[Situation]:
    """Yield all situations, each with some seeds of noise."""
    for seed in range(seeds):
        yield from _steady(seed)
        yield from _on_and_off(seed)
        yield from _recorded(seed)
        yield from _busy(seed)
        yield from _slow(seed)
        yield from _spikes(seed)
        yield from _misled(seed)
        yield from _refined(seed)


def _steady(seed: int) -> Iterator[Situation]:
    for noise in (0.03, 0.06, 0.09, 0.12):
        for budget in (75.0, 120.0, 171.0, 240.0):
            yield Situation("steady noise", Machine(noise=noise, seed=seed), budget, 1000)


def _on_and_off(seed: int) -> Iterator[Situation]:
    for noise in (0.03, 0.09):
        for factor in (1.5, 2.5, 4.0):
            for budget in (160.0, 240.0):
                length = 150
                machine = Machine(noise=noise, seed=seed, load=lambda frame, factor=factor,
                                  length=length: factor if frame // length % 2 else 1.0)
                yield Situation("load on and off", machine, budget, 1800,
                                range(2 * length, 1800, 2 * length))


def _recorded(seed: int) -> Iterator[Situation]:
    for name in sorted(TRACES["loads"]):
        for budget in (60.0, 90.0, 130.0, 200.0):
            yield Situation("recorded loads", Machine(noise=0.03, seed=seed, load=replay(name)),
                            budget, 2 * len(TRACES["loads"][name]["factors"]))


def _busy(seed: int) -> Iterator[Situation]:
    for budget in (200.0, 300.0):
        for factor, spread, hiccups in ((2.0, 0.2, 0.02), (2.5, 0.25, 0.03)):
            generator = random.Random(f"{seed} {budget}")
            load = [_busy_factor(generator, frame, factor, spread, hiccups)
                    for frame in range(2000)] + WHOLE * [1.0]
            yield Situation("busy cores, long tail",
                            Machine(noise=0.02, seed=seed, load=load.__getitem__), budget,
                            len(load), [2000])


def _busy_factor(generator: random.Random, frame: int, factor: float, spread: float,
                 hiccups: float) -> float:
    if frame // 100 % 2 == 0:
        return generator.lognormvariate(0.0, 0.03)
    hiccup = generator.uniform(1.3, 1.8) if generator.random() < hiccups else 1.0
    return factor * hiccup * generator.lognormvariate(0.0, spread)


def _slow(seed: int) -> Iterator[Situation]:
    for top in (200, 1000):
        yield Situation("drift", Machine(noise=0.03, seed=seed, load=lambda frame, top=top:
                                         3.0 - 2.0 * abs(frame - top) / top), 200.0, 2 * top)
    for factor in (1.6, 1.9):
        bouts = Machine(noise=0.03, seed=seed, load=lambda frame, factor=factor:
                        factor if frame % 80 < 40 else 1.0)
        yield Situation("frequent bouts", bouts, 160.0, 2400)


def _spikes(seed: int) -> Iterator[Situation]:
    for every in (60, 180):
        machine = Machine(noise=0.03, seed=seed, load=lambda frame, every=every:
                          3.0 if frame % every == every - 1 else 1.0)
        yield Situation(f"a spike in {every}", machine, 200.0, 1500)


def _misled(seed: int) -> Iterator[Situation]:
    for hidden in (1.1, 1.2, 1.5, 3.0):
        yield Situation("measured too fast", Machine(noise=0.03, seed=seed,
                                                     true_factor={0: hidden}), 180.0, 2000)
    for hidden in (0.5, 0.7):
        yield Situation("measured too slow", Machine(noise=0.03, seed=seed,
                                                     true_factor={0: hidden}), 120.0, 2000)
    for length in (200, 1000):
        machine = Machine(noise=0.02, seed=seed, load=step(0, length, 1.3), true_factor={0: 1.3})
        yield Situation("load ends, measured too fast", machine, 240.0, length + WHOLE, [length])


def _refined(seed: int) -> Iterator[Situation]:
    for noise in (0.05, 0.1):
        for budget in (260.0, 400.0):
            for factor in (1.0, 1.5, 2.5):
                machine = RefiningMachine(REFINED, noise=noise, seed=seed, load=lambda frame,
                                          factor=factor: factor if frame // 150 % 2 else 1.0)
                yield Situation("refinements cut short", machine, budget, 900, (300, 600))

