"""The embedded model's training, in the small: it learns, and it repeats."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import load_file
from sclip_research import train_embedded_model
from sclip_research.training.checkpoint import Checkpoint
from sclip_research.training.queries import mixed_vocabulary, sample_queries
from sclip_research.training.scene_pool import ScenePool


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train on twelve scenes in a folder of its own; return its log and weights."""
    def train(*arguments: str):
        work = tmp_path_factory.mktemp("training")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["train", "--work", str(work), "--scenes", "12", "--batch",
                                        "4", "--device", "cpu", *arguments])
            train_embedded_model.main()
        with open(work / "log.csv") as file:
            log = list(csv.DictReader(file))
        return log, load_file(work / "open_clip_model.safetensors")
    return train


def test_the_losses_fall(run):
    """In the arithmetic that most processors are fast in."""
    log, _ = run("--steps", "41", "--small-steps", "1", "--precision", "fp32")
    for loss in ("phrase", "colour"):
        assert float(log[-1][loss]) < 0.9 * float(log[0][loss])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(run):
    flags = ("--scenes", "4", "--steps", "2", "--small-steps", "1", "--seed")
    first, second, other = (run(*flags, seed)[1] for seed in ("5", "5", "6"))
    assert all(first[name].equal(second[name]) for name in first)
    tower = [name for name in first if name.startswith("visual.") and first[name].ndim > 1]
    assert tower and not any(first[name].equal(other[name]) for name in tower)


@pytest.fixture(scope="module")
def both_worlds(tmp_path_factory):
    """Train four steps on both worlds, in one go; return the flags, the folder and the weights."""
    flags = ["--world", "indoor", "toy", "--scenes", "3", "--batch", "2", "--steps", "4",
             "--small-steps", "1", "--device", "cpu", "--checkpoint-every", "2",
             "--render-workers", "1", "--precision", "fp32"]
    work = tmp_path_factory.mktemp("worlds")
    assert train_embedded_model.main(["--work", str(work), *flags]) == 0
    return flags, work, load_file(work / "open_clip_model.safetensors")


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(both_worlds, monkeypatch, capsys):
    flags, work, weights = both_worlds
    (work / "checkpoint.pt").unlink()
    save = Checkpoint.save

    def stopped(self, *state):
        save(self, *state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", stopped)
        assert train_embedded_model.main(["--work", str(work), *flags]) == 130
    assert "interrupted; add --resume to go on" in capsys.readouterr().err
    assert train_embedded_model.main(["--work", str(work), *flags, "--resume"]) == 0
    again = load_file(work / "open_clip_model.safetensors")
    assert all(again[name].equal(weights[name]) for name in weights)


def test_a_share_of_the_initial_weights_is_kept_in_the_result_alone(both_worlds, tmp_path):
    flags, work, initial = both_worlds
    more = [*flags, "--initial", str(work / "open_clip_model.safetensors"), "--seed", "2"]
    trained, kept = (str(tmp_path / name) for name in ("trained.safetensors", "kept.safetensors"))
    assert train_embedded_model.main(["--work", str(tmp_path), *more, "--output", trained]) == 0
    assert train_embedded_model.main(["--work", str(tmp_path), *more, "--output", kept, "--resume",
                                      "--keep", "0.25"]) == 0
    after, found = load_file(trained), load_file(kept)
    for name, value in found.items():
        if name.startswith("visual.") and value.is_floating_point():
            between = 0.75 * after[name].float() + 0.25 * initial[name].float()
            assert value.float().sub(between).abs().max() <= 2e-3 * (1 + between.abs().max()), name


def test_an_older_run_is_not_passed_over(both_worlds, tmp_path, capsys):
    flags, work, weights = both_worlds
    before = (work / "checkpoint.pt").read_bytes()
    assert train_embedded_model.main(["--work", str(work), *flags]) == 2
    assert "add --resume to go on with it, --restart to begin anew" in capsys.readouterr().err
    assert (work / "checkpoint.pt").read_bytes() == before
    assert train_embedded_model.main(["--work", str(work), *flags, "--restart", "--output",
                                      str(tmp_path / "again.safetensors")]) == 0
    again = load_file(tmp_path / "again.safetensors")
    assert all(again[name].equal(weights[name]) for name in weights)


def test_the_checkpoint_of_another_run_is_refused(both_worlds, capsys):
    flags, work, _ = both_worlds
    other = ["--work", str(work), *flags, "--resume", "--learning-rate", "0.5"]
    assert train_embedded_model.main(other) == 2
    told = capsys.readouterr().err
    assert "is of another run: learning_rate=0.5 (there 0.001)" in told


@pytest.mark.parametrize("flags, complaint", [
    (["--initial", "nowhere.safetensors"], "weights file 'nowhere.safetensors' does not exist"),
    (["--device", "abacus"], "device='abacus' is unknown"),
    (["--keep", "0.5"], "--keep must be 0 to 1, and needs --initial, got 0.5"),
])
def test_what_cannot_be_trained_is_told_in_one_line(flags, complaint, tmp_path, capsys):
    assert train_embedded_model.main(["--work", str(tmp_path), "--scenes", "1", *flags]) == 2
    *_, told = capsys.readouterr().err.strip().splitlines()
    assert told.startswith("train_embedded_model: ") and complaint in told


def test_words_that_training_never_showed_have_no_embedding(run):
    _, weights = run("--steps", "1", "--small-steps", "1", "--precision", "fp32")
    shown = weights["token_embedding.weight"].any(dim=1).sum()
    assert 20 < shown < 2000


ASK = """
import numpy as np
from sclip_research.scenes import Thing
from sclip_research.scenes.indoor.words import LEXICON
from sclip_research.training.queries import mixed_vocabulary, sample_queries
things, rng = [Thing("red", "chair"), Thing("blue", "wall")], np.random.default_rng(4)
queries = sample_queries([things], rng, lexicon=LEXICON)
print([mixed_vocabulary(queries, things, 6, rng)[0].nonzero().tolist() for _ in range(5)])
"""


def test_another_process_asks_the_same(capfd):
    exec(ASK, {})
    here = capfd.readouterr().out
    there = subprocess.run([sys.executable, "-c", ASK], check=True, capture_output=True, text=True,
                           env={**os.environ, "PYTHONHASHSEED": "1"})
    assert there.stdout == here


def test_a_vocabulary_never_names_a_thing_twice(tmp_path):
    pool = ScenePool(tmp_path, 4, seed=3)
    rng = np.random.default_rng(0)
    for index in range(len(pool)):
        crop = pool.crop(index, 64, rng)
        queries = sample_queries([crop.things], rng)
        allowed, targets = mixed_vocabulary(queries, crop.things, 6, rng)
        words = [word for word, chosen in zip(queries.words, allowed, strict=True) if chosen]
        for thing, target in zip(crop.things, targets, strict=True):
            assert [word for word in words if word in (thing.noun, thing.phrase)] \
                == [queries.words[target]]
