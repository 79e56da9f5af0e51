"""The command for a day with a GPU: steps, shares of time, results that survive what goes wrong.

That programs run on another device than the CPU is shown with the stand-in of accelerator.py, in
processes that know it from their start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import accelerator
import pytest

from benchmarks.gpu import command as gpu
from benchmarks.gpu import steps as table_of
from benchmarks.gpu.page import page
from benchmarks.gpu.steps import SECONDS, Step, run, steps

ROOT = Path(__file__).resolve().parents[2]


def program(text: str, seconds: float = 60.0, name: str = "one", read=json.loads) -> Step:
    return Step(name, ["-c", text], seconds, lambda said: (read(said), ""))


def test_what_is_run_fits_into_its_time() -> None:
    table = steps("cuda", Path("out"))
    assert [step.name for step in table] == ["doctor", "tests", "node", "node, ViT-B/16", "crf",
                                             "bench"]
    assert sum(step.seconds for step in table[:-1]) < SECONDS == 720
    assert all("cuda" in step.command for step in table if step.name != "tests")


def test_figures_are_read_from_what_a_program_says() -> None:
    [outcome] = run([program("print('{\"a\": 1}')")])
    assert (outcome.problem, outcome.figures, outcome.said) == ("", {"a": 1}, "")
    assert outcome.command.startswith("python -c print")


@pytest.mark.parametrize(("text", "problem"), [
    ("print('{}'); raise SystemExit('no memory')", "exit code 1"),
    ("print('nonsense')", "no figures: JSONDecodeError"),
    ("import sys; print('late', file=sys.stderr); sys.exit(3)", "exit code 3; no figures: "),
])
def test_a_program_that_fails_is_told_and_the_next_is_run(text, problem) -> None:
    first, second = run([program(text), program("print('{\"a\": 1}')", name="two")])
    assert first.problem.startswith(problem) and first.said
    assert second.figures == {"a": 1} and not second.problem


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path) -> None:
    child = tmp_path / "child"
    text = ("import subprocess, sys, time; from pathlib import Path; "
            "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
            f"Path({str(child)!r}).write_text(str(inner.pid)); print('begun', flush=True); "
            "time.sleep(600)")
    [outcome] = run([program(text, seconds=4.0)])
    assert outcome.problem == "ended after 4 s" and "begun" in outcome.said
    for _ in range(100):
        state = Path(f"/proc/{child.read_text()}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        raise AssertionError("what it had started still runs")


def test_when_the_time_is_over_the_rest_is_not_begun() -> None:
    outcomes = list(run([program("import time; time.sleep(600)", name="long"),
                         program("print('{}')", name="left over")], seconds=2.0))
    assert outcomes[0].problem == "ended after 2 s"
    assert outcomes[1].problem == "not begun: the 2 s are over"


JUNIT = "<testsuites><testsuite>{}</testsuite></testsuites>"
PASSED = '<testcase classname="a" name="b"/>'
FAILED = '<testcase classname="a" name="c"><failure message="x"/></testcase>'
SKIPPED = '<testcase classname="a" name="d"><skipped message="x"/></testcase>'


@pytest.mark.parametrize(("cases", "figures", "problem"), [
    (PASSED + SKIPPED, {"passed": 1, "failed": [], "skipped": 1}, ""),
    (PASSED + FAILED, {"passed": 1, "failed": ["a::c"], "skipped": 0}, "1 failed"),
    (SKIPPED, {"passed": 0, "failed": [], "skipped": 1}, "no test was run"),
])
def test_tests_that_were_all_skipped_have_shown_nothing(tmp_path, cases, figures, problem) -> None:
    file = tmp_path / "tests.xml"
    file.write_text(JUNIT.format(cases))
    assert table_of._tests(file) == (figures, problem)


@pytest.mark.parametrize(("device", "labelled", "problem"), [
    ("cuda:0", 9, ""), ("cpu", 9, "the node ran on cpu"), ("cuda:0", 0, "no frame was labelled")])
def test_a_node_that_ran_elsewhere_is_no_result(tmp_path, device, labelled, problem) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"device": device,
                                                       "frames_labelled": labelled}))
    assert table_of._node(tmp_path, "cuda")[1] == problem


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path, capsys) -> None:
    assert gpu.main(["--device", "cuda:9", "--results", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "device='cuda:9' is not there" in told and "sclip doctor" in told
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_there_is_not_is_refused(tmp_path, capsys) -> None:
    assert gpu.main(["--device", "cpu", "--only", "dance", "--results", str(tmp_path)]) == 2
    assert "there is no step 'dance'; choose of doctor, tests, node" in capsys.readouterr().err


def test_what_went_wrong_stands_in_the_page_and_the_exit_code(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "steps", lambda *_: [
        program("print('half'); raise SystemExit(7)", name="bench"), program("print('{}')")])
    assert gpu.main(["--device", "cpu", "--results", str(tmp_path), "--output",
                     str(tmp_path)]) == 1
    [text] = [path.read_text() for path in tmp_path.glob("gpu-cpu-*.md")]
    assert "| bench |" in text and "exit code 7" in text and "```\nhalf\n```" in text
    [found] = [json.loads(path.read_text()) for path in tmp_path.glob("gpu-cpu-*.json")]
    assert [step["name"] for step in found["steps"]] == ["bench", "one"]


STAND_IN = """
import sys
if not {"examples.demo.camera", "examples.demo.recorder"} & set(sys.orig_argv):  # no torch there
    import accelerator
    accelerator.set_up()
"""


@pytest.mark.skipif(not accelerator.available(),
                    reason="this torch knows no devices written in Python")
def test_node_and_crf_run_on_a_device_that_is_not_the_cpu(ros, tmp_path) -> None:
    start = tmp_path / "start"
    start.mkdir()
    (start / "sitecustomize.py").write_text(STAND_IN)
    path = os.pathsep.join([str(start), str(ROOT / "test"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--device", accelerator.NAME, "--quick", "--only",
         "node", "crf", "--output", str(tmp_path / "out"), "--results", str(tmp_path / "results")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    [file] = (tmp_path / "results").glob("gpu-standin-*.json")
    found = {step["name"]: step["figures"] for step in json.loads(file.read_text())["steps"]}
    assert found["node"]["device"].startswith(accelerator.NAME)
    assert found["node"]["frames_labelled"] > 0
    [crf] = found["crf"]["results"]
    assert crf["argmax_agreement"] > 0.98
    text = page(json.loads(file.read_text()))
    assert "## The node, end to end" in text and "## DenseCRF" in text
    assert text == file.with_suffix(".md").read_text()
