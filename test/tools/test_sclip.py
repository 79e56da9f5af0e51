"""`sclip VERB`: every program by one entry, and each by its own name."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sclip_seg_ros import __version__
from sclip_seg_ros.tools import sclip
from sclip_seg_ros.tools.sclip import VERBS, main

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(
    [os.environ.get("PYTHONPATH", ""), str(ROOT), str(ROOT / "research")])}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_help_under_its_old_name(verb: str, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert f"sclip-{verb}" in capsys.readouterr().out


def test_help_names_every_verb_at_once(capsys) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(VERBS)


def test_help_imports_nothing_heavy() -> None:
    program = ("import sys; from sclip_seg_ros.tools.sclip import main; main(['--help']); "
               "sys.exit('torch' in sys.modules or 'cv2' in sys.modules)")
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=ENVIRONMENT)
    assert run.returncode == 0


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["segmnet"], 2, "sclip: there is no verb 'segmnet'; did you mean segment?"),
    (["zzz"], 2, "sclip: there is no verb 'zzz'; choose one of segment, bag, "),
    (["segment"], 2, "sclip-segment: there is nothing to segment; give files"),
    (["gallery", "--nonsense"], 2, "sclip-gallery: "),
    # What an unset variable leaves of a path is not the folder one is in.
    (["segment", "room.png", "--output", ""], 2, "sclip-segment: argument --output: it is empty;"),
    (["segment", "", "--vocabulary", "floor"], 2, "sclip-segment: argument PATH: it is empty;"),
    (["segment", "--image", "room.png", ""], 2, "sclip-segment: argument --image: it is empty;"),
    (["bag", "--bag", " "], 2, "sclip-bag: argument --bag: it is empty; give a path"),
    (["gallery", "--image", ""], 2, "sclip-gallery: argument --image: it is empty;"),
    (["fetch", "--list", "--cache-dir", ""], 2, "sclip-fetch: argument --cache-dir: it is empty;"),
    (["studio", ""], 2, "sclip-studio: argument PATH: it is empty; give a path"),
])
def test_what_cannot_be_done_is_told_in_one_line(arguments, code, said, capsys) -> None:
    assert main(arguments) == code
    told = capsys.readouterr().err
    assert told.startswith(said) and told.count("\n") == 1


def test_no_verb_is_answered_with_the_list(capsys) -> None:
    assert main([]) == 2
    assert "segment" in capsys.readouterr().out


def test_the_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sclip {__version__}\n"


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch, capsys) -> None:
    for name in [name for name in sys.modules if name.startswith("sclip_seg_ros.tools.bag")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rosbags", None)  # as Python itself marks what is missing
    monkeypatch.setitem(sys.modules, "rosbags.interfaces", None)
    assert main(["bag", "--bag", "drive"]) == 2
    told = capsys.readouterr().err
    assert "'bag' needs the Python module 'rosbags'" in told
    assert "`pip install rosbags`" in told and "extra 'tools'" in told
    assert "`-c scripts/constraints-apt/$ROS_DISTRO.txt`" in told


@pytest.mark.parametrize("module", ["open_clip", "cv2"])
def test_a_missing_library_is_not_installed_by_the_name_it_is_imported_by(module, tmp_path) -> None:
    """`pip install cv2` finds nothing, and without the constraints it may break ROS from apt."""
    (tmp_path / f"{module}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')")
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    run = subprocess.run([sys.executable, "-m", "sclip_seg_ros.tools.sclip", "segment", "a.png"],
                         cwd=ROOT, env={**ENVIRONMENT, "PYTHONPATH": path}, capture_output=True,
                         text=True, timeout=300)
    assert run.returncode == 2
    assert run.stderr == (
        f"sclip: 'segment' needs the Python module '{module}', which is not installed; `pip "
        "install -r requirements.txt` in the environment that the node runs in; on a ROS from apt "
        "with `-c scripts/constraints-apt/$ROS_DISTRO.txt`\n")


def test_a_fault_of_our_own_is_no_missing_library(monkeypatch) -> None:
    monkeypatch.setitem(sclip.VERBS, "broken", sclip.Verb("sclip_seg_ros.tools.nowhere", ""))
    with pytest.raises(ModuleNotFoundError):
        main(["broken"])


def test_every_verb_has_a_starter_of_its_own_name() -> None:
    starters = {path.name for path in (ROOT / "scripts").glob("sclip-*")
                if path.resolve() == ROOT / "scripts" / "sclip"}
    assert starters == {f"sclip-{verb}" for verb in VERBS}


def test_a_program_runs_by_its_own_name() -> None:
    name = "sclip-level-costs"
    run = subprocess.run([sys.executable, str(ROOT / "scripts" / name), "--version"], cwd=ROOT,
                         env=ENVIRONMENT, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, f"{name} {__version__}\n"), run.stderr


@pytest.mark.parametrize(("command", "module", "name"), [
    (["scripts/sclip-segment", "--help"], "numpy", "sclip-segment"),
    (["-m", "sclip_seg_ros.tools.bag", "--help"], "numpy", "sclip-bag"),
    (["-m", "benchmarks", "--help"], "numpy", "benchmarks"),
    (["-m", "benchmarks.soak", "--help"], "benchmarks.soak.verdict", "soak"),
    (["-m", "examples.demo", "--help"], "numpy", "demo"),
])
def test_interrupted_while_libraries_are_imported_it_says_one_line(command, module, name) -> None:
    child = subprocess.Popen(
        [sys.executable, "-X", "importtime", *command],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = []
    for line in child.stderr:  # in the midst of torch, or of what it imports
        if re.search(rf"\|\s+{module}$", line):
            child.send_signal(signal.SIGINT)
            break
    _, rest = child.communicate(timeout=120)
    said = [line for line in rest.splitlines() if not line.startswith("import time:")]
    assert child.returncode == 130
    assert said == [f"{name}: interrupted"]


def programs() -> list[str]:
    """Return the modules that people start by ``python -m`` and that import large libraries."""
    without = {ROOT / "sclip_seg_ros/tools/sclip.py", ROOT / "sclip_seg_ros/tools/doctor",
               ROOT / "benchmarks/governor"}  # imports none of them
    return [str(path.relative_to(ROOT / root).with_suffix("")).replace("/", ".")
            for root, folders in (("research", ["sclip_research"]),
                                  (".", ["benchmarks", "examples", "sclip_seg_ros/tools"]))
            for folder in folders for path in sorted((ROOT / root / folder).rglob("*.py"))
            if "run_program(" in path.read_text() and "three_hosts" not in path.parts
            and not without & {path, path.parent}]


@pytest.mark.parametrize("module", programs())
def test_every_program_is_interrupted_in_one_line(tmp_path, module) -> None:
    """Whichever large library comes first: Ctrl-C comes amid its import."""
    for library in ("numpy", "torch", "cv2", "rclpy", "yaml", "tqdm"):
        (tmp_path / f"{library}.py").write_text("import signal; signal.raise_signal(2)\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(
        [str(tmp_path), str(ROOT / "research"), ENVIRONMENT["PYTHONPATH"]])}
    run = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, env=environment,
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 130, run.stderr
    assert re.fullmatch(r"[\w-]+: interrupted\n", run.stderr)


LOST = """
import gc, signal, weakref
class Thing: pass
thing = Thing()
kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))  # Python prints, goes on
del thing
"""
CHANGED = """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except BaseException as error:  # as NumPy does
    raise ImportError("please read this for advice") from error
"""
MADE = "exec('import signal; signal.raise_signal(signal.SIGINT)')\n"


@pytest.mark.parametrize("library", [LOST, CHANGED, MADE], ids=["lost", "changed", "in exec"])
@pytest.mark.parametrize("when", ["first", "later"])
def test_no_library_keeps_an_interrupt_from_the_program(tmp_path, library, when) -> None:
    """As the import system's callbacks, NumPy, and dataclasses do."""
    waiting = "import time\ndef main():\n    time.sleep(30)\n    print('went on')\n"
    (tmp_path / "library.py").write_text(library + (waiting if when == "first" else ""))
    (tmp_path / "program.py").write_text(
        "import time\ndef main():\n    import library\n    time.sleep(30)\n"
        "    print('went on')\n")
    module = "library" if when == "first" else "program"
    code = ("import sys; from sclip_seg_ros.common.entry import run_program; "
            f"sys.exit(run_program('{module}', 'program'))")
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT,
                         capture_output=True, text=True, timeout=25)  # before the sleep is over
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "program: interrupted\n")


def test_an_interrupt_that_waited_for_an_import_says_nothing_after_the_program(tmp_path) -> None:
    (tmp_path / "library.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    (tmp_path / "program.py").write_text("def main():\n    import library\n")
    code = ("import atexit, sys, time; atexit.register(time.sleep, 0.4); "
            "from sclip_seg_ros.common.entry import run_program; "
            "sys.exit(run_program('program', 'program'))")
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT,
                         capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
