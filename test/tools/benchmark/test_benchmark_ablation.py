"""`sclip-benchmark --ablation`: every stage alone and together, and the committed table."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
import torch
from checkpoints import save_anyup, save_loftup
from folder_data import write_folder_data
from tiny_clip import write_tiny_clip

from sclip_seg_ros.models.clip import EMBEDDED_FOLDER
from sclip_seg_ros.models.weights import checksum
from sclip_seg_ros.tools.benchmark.ablation import AblationMeter
from sclip_seg_ros.tools.benchmark.command import main
from sclip_seg_ros.tools.benchmark.memory import peak_during
from sclip_seg_ros.tools.figures.configurations import CONFIGURATIONS

pytestmark = pytest.mark.usefixtures("one_commit")
COMMITTED = Path(__file__).resolve().parents[3] / "benchmarks/results/demo_scenes.json"
SLICE = 1        # scenes that are measured again
TOLERANCE = 0.01  # of an image's mIoU: sums in another order turn a few pixels at the contours
KEYS = [configuration.key for configuration in CONFIGURATIONS]
WITH_LOFTUP = {"loftup", "loftup+resclip", "phase1", "all"}
WITH_ANYUP = {"anyup", "anyup+pamr"}
ANYUP = Path(os.environ.get("SCLIP_ANYUP_WEIGHTS", Path(__file__).resolve().parents[3]
                            / "../shared/data/anyup/anyup_multi_backbone.pth"))


@pytest.fixture(autouse=True)
def without_anyup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file that this computer happens to have decide which rows can run."""
    monkeypatch.setenv("TORCH_HOME", "/nowhere")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Lay out three noisy pictures of two classes."""
    return write_folder_data(tmp_path_factory.mktemp("data"), 3, ["floor", "table"])


def ablate(data: Path, model: str, output: Path, *flags: str) -> int:
    return main(["--dataset", "folder", "--data-root", str(data), "--model", model, "--device",
                 "cpu", "--ablation", "--output", str(output), *flags])


@pytest.fixture(scope="module")
def measured(data: Path, tiny_model: str, tmp_path_factory) -> Path:
    """Run the ablation once; return its results' path."""
    output = tmp_path_factory.mktemp("ablation") / "results.json"
    assert ablate(data, tiny_model, output) == 0
    return output


def rows(path: Path) -> dict[str, dict]:
    return {row["key"]: row for row in json.loads(path.read_text())["configurations"]}


def test_every_configuration_has_a_row(measured: Path) -> None:
    found = rows(measured)
    assert list(found) == KEYS
    assert {key for key, row in found.items() if row["skipped"]} == WITH_LOFTUP | WITH_ANYUP
    for key in set(KEYS) - WITH_LOFTUP - WITH_ANYUP:
        row = found[key]
        assert 0 <= row["scores"]["miou"] <= 1 and row["speed"]["milliseconds_per_image"] > 0
        assert len(row["miou_by_image"]) == 3
        assert row["compared"]["miou_gain"] == pytest.approx(
            row["scores"]["miou"] - found["plain"]["scores"]["miou"])


def test_row_is_what_a_run_of_its_own_measures(measured: Path, data: Path, tiny_model: str,
                                               tmp_path: Path) -> None:
    alone = tmp_path / "alone.json"
    assert main(["--dataset", "folder", "--data-root", str(data), "--model", tiny_model,
                 "--use-resclip", "--use-pamr", "--use-densecrf", "--output", str(alone)]) == 0
    expected, found = json.loads(alone.read_text()), rows(measured)["resclip+pamr+densecrf"]
    assert found["scores"] == expected["scores"]
    assert found["by_class"] == expected["by_class"]
    assert found["settings"] == expected["settings"]


def test_stages_run_where_their_row_says_so(measured: Path) -> None:
    found = rows(measured)
    assert "pamr" in found["pamr"]["speed"]["stage_ms"]
    assert "densecrf" in found["densecrf"]["speed"]["stage_ms"]
    assert not {"pamr", "densecrf", "upsample"} & set(found["plain"]["speed"]["stage_ms"])
    assert found["rcs"]["settings"]["resclip"]["sfr"] is False
    assert found["resclip"]["settings"]["resclip"]["sfr"] is True


def test_absent_loftup_costs_its_own_rows_alone(measured: Path) -> None:
    row = next(line for line in measured.with_suffix(".md").read_text().splitlines()
               if line.startswith("| LoftUp |"))
    assert row.split(" | ")[1:4] == ["no LoftUp for this model", "", "+2 to +4"]
    assert "no LoftUp is known for" in measured.with_suffix(".md").read_text()


def test_unreadable_loftup_costs_its_own_rows_alone(data: Path, tiny_model: str,
                                                    tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"rubbish")
    output = tmp_path / "results.json"
    assert ablate(data, tiny_model, output, "--num-samples", "1", "--loftup-source",
                  str(tmp_path / "broken.safetensors")) == 0
    found = rows(output)
    assert {key for key, row in found.items() if row["skipped"]} == WITH_LOFTUP | WITH_ANYUP
    assert "broken.safetensors" in found["loftup"]["skipped"]


def test_with_loftup_every_row_is_measured(data: Path, tiny_model: str, tmp_path: Path) -> None:
    loftup, output = save_loftup(tmp_path / "loftup.safetensors", 32), tmp_path / "results.json"
    flags = ("--num-samples", "1", "--loftup-source", loftup, "--loftup-factor", "2.0")
    assert ablate(data, tiny_model, output, *flags) == 0
    found = rows(output)
    assert {key for key, row in found.items() if row["skipped"]} == WITH_ANYUP
    for key in WITH_LOFTUP:
        assert "upsample" in found[key]["speed"]["stage_ms"]
        assert found[key]["settings"]["loftup"]["factor"] == 2.0
    assert "upsample" not in found["pamr"]["speed"]["stage_ms"]
    assert checksum(Path(loftup)) in json.loads(output.read_text())["model"]["upsamplers"]["LoftUp"]
    assert checksum(Path(loftup)) in output.with_suffix(".md").read_text()
    save_loftup(Path(loftup), 32, seed=1)  # other weights under the same name
    assert ablate(data, tiny_model, output, *flags, "--resume") == 2


def test_anyup_is_measured_where_its_file_is_named(data: Path, tiny_model: str,
                                                   measured: Path, tmp_path: Path) -> None:
    assert "fetch them with sclip fetch --upsampler anyup" in rows(measured)["anyup"]["skipped"]
    anyup, output = save_anyup(tmp_path / "anyup.pth"), tmp_path / "results.json"
    assert ablate(data, tiny_model, output, "--num-samples", "1", "--set",
                  f"anyup.source={anyup}", "anyup.factor=2") == 0
    found = rows(output)
    assert {key for key, row in found.items() if row["skipped"]} == WITH_LOFTUP
    for key in WITH_ANYUP:
        assert "upsample" in found[key]["speed"]["stage_ms"]


def test_table_has_measured_and_expected_side_by_side(measured: Path) -> None:
    crf = rows(measured)["densecrf"]
    line = next(line for line in measured.with_suffix(".md").read_text().splitlines()
                if line.startswith("| DenseCRF |"))
    cells = line.strip("| ").split(" | ")
    assert cells[1:4] == [f"{100 * crf['scores']['miou']:.2f}",
                          f"{100 * crf['compared']['miou_gain']:+.2f}", "+1 to +2"]
    assert cells[5:7] == [f"{100 * crf['compared']['boundary_f1_gain']:+.2f}", "+3 to +5"]


def test_memory_is_that_of_the_row(measured: Path) -> None:
    # Linux and CUDA can tell; elsewhere there is no figure rather than a wrong one.
    values = [row["memory_mib"] for row in rows(measured).values() if not row["skipped"]]
    assert all(value is None or value > 50 for value in values)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone can tell")
def test_peak_forgets_what_was_before() -> None:
    cpu = torch.device("cpu")
    large = peak_during(lambda: torch.ones(64 * 2**20).sum(), cpu)   # 256 MiB
    small = peak_during(lambda: torch.ones(2**20).sum(), cpu)
    assert large - small > 200


def test_interrupted_ablation_goes_on(data: Path, tiny_model: str, measured: Path,
                                      tmp_path: Path) -> None:
    output, journal = tmp_path / "results.json", tmp_path / "results.journal.jsonl"
    lines = measured.with_suffix(".journal.jsonl").read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:2]))
    assert ablate(data, tiny_model, output, "--resume") == 0
    before, after = rows(measured), rows(output)
    for key in set(KEYS) - WITH_LOFTUP - WITH_ANYUP:
        assert after[key]["scores"] == before[key]["scores"]
        assert after[key]["memory_mib"] == before[key]["memory_mib"]


def test_other_weights_do_not_continue_an_ablation(data: Path, measured: Path, tmp_path: Path,
                                                   capsys) -> None:
    (tmp_path / "other").mkdir()
    write_tiny_clip(tmp_path / "other", seed=1)
    journal = tmp_path / "results.journal.jsonl"
    journal.write_text(measured.with_suffix(".journal.jsonl").read_text())
    assert ablate(data, f"local-dir:{tmp_path / 'other'}", tmp_path / "results.json",
                  "--resume") == 2
    assert "was measured with another" in capsys.readouterr().err


def test_plain_run_does_not_continue_an_ablation(data: Path, tiny_model: str, measured: Path,
                                                 tmp_path: Path, capsys) -> None:
    (tmp_path / "results.journal.jsonl").write_text(
        measured.with_suffix(".journal.jsonl").read_text())
    assert main(["--dataset", "folder", "--data-root", str(data), "--model", tiny_model, "--device",
                 "cpu", "--output", str(tmp_path / "results.json"), "--resume"]) == 2
    assert "another ablation" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--use-pamr", "--no-densecrf", "--use-all-phase1"])
def test_switches_of_stages_are_refused(flag: str, data: Path, tiny_model: str, tmp_path: Path,
                                        capsys) -> None:
    assert ablate(data, tiny_model, tmp_path / "results.json", flag) == 2
    assert f"{flag} cannot go with --ablation" in capsys.readouterr().err


def test_committed_table_still_holds(tmp_path: Path, monkeypatch) -> None:
    # Memory, for which every row runs twice more, is not compared.
    monkeypatch.setattr(AblationMeter, "_warm_up", lambda self, sample, words: {
        row.configuration.key: None for row in self._rows})
    committed = json.loads(COMMITTED.read_text())
    assert committed["model"]["weights_sha256"] == checksum(
        EMBEDDED_FOLDER / "open_clip_model.safetensors"), \
        f"the model changed; run again: {committed['provenance']['command']}"
    flags = shlex.split(committed["provenance"]["command"])[1:]
    lacking = set() if ANYUP.is_file() else WITH_ANYUP     # its weights are not the project's
    flags = [f"anyup.source={ANYUP}" if flag.startswith("anyup.source=") else flag
             for flag in flags]
    output = tmp_path / "slice.json"
    assert main([*flags, "--num-samples", str(SLICE), "--output", str(output)]) == 0
    now = rows(output)
    assert json.loads(output.read_text())["images"] == committed["images"][:SLICE]
    assert {row["key"] for row in committed["configurations"]} == set(KEYS), "run it again"
    for row in committed["configurations"]:
        if row["key"] in lacking:
            continue
        found = now[row["key"]]
        assert bool(found["skipped"]) == bool(row["skipped"]), "run the table's command again"
        if not row["skipped"]:
            assert found["miou_by_image"] == pytest.approx(row["miou_by_image"][:SLICE],
                                                           abs=TOLERANCE), row["key"]
