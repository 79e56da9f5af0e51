"""The frame of every program: one line for what is wrong, and the exit codes of shells."""

from __future__ import annotations

import argparse
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from sclip_seg_ros.common.errors import Failed
from sclip_seg_ros.models import WeightsError
from sclip_seg_ros.tools.program import Program, UsageError

ROOT = Path(__file__).resolve().parents[2]


def program(run, **more) -> Program:
    return Program("sclip-count", "Count.", "sclip-count 3", add_arguments, run, **more)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", type=int)
    parser.add_argument("--name", default="")


def raising(error: BaseException):
    def run(arguments: argparse.Namespace) -> int:
        raise error
    return run


def test_the_exit_code_is_what_the_work_returns() -> None:
    assert program(lambda arguments: arguments.number)(["7"]) == 7
    assert program(lambda arguments: None)(["7"]) == 0


@pytest.mark.parametrize(("error", "code", "said"), [
    (KeyboardInterrupt(), 130, "sclip-count: interrupted; nothing was counted"),
    (ValueError("three is not\na number"), 2, "sclip-count: three is not a number"),
    (FileNotFoundError(2, "No such file", "words.txt"), 2,
     "sclip-count: 'words.txt': No such file; check its path\n"),
    (OSError(28, "No space left on device"), 2,
     "sclip-count: No space left on device; make room, or choose a folder on another disk\n"),
    (OSError(36, "File name too long", b"n\xff.png"), 2, "'n\\xff.png': File name too long; give"),
    (OSError("the picture is gone; copy it again"), 2, "the picture is gone; copy it again"),
    (WeightsError("no weights; fetch them"), 2, "sclip-count: no weights; fetch them"),
    (Failed("the node is gone; start it"), 1, "sclip-count: the node is gone; start it"),
])
def test_what_stops_the_work_is_told_in_one_line(error, code, said, capsys) -> None:
    counter = program(raising(error), interrupted="interrupted; nothing was counted")
    assert counter(["1"]) == code
    told = capsys.readouterr()
    assert said in told.err and told.err.count("\n") == 1 and told.out == ""


def test_a_file_that_begins_like_a_flag_is_told_how_to_write(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-photo.png").touch()
    counter = program(lambda arguments: 0)
    for given in (["1", "-photo.png"], ["1", "--name", "-photo.png"]):
        assert counter(given) == 2
        assert capsys.readouterr().err == (
            "sclip-count: '-photo.png' is read as a flag, as all that begins with '-' is; write "
            "'./-photo.png' for the file\n")
    assert counter(["1", "--name", "./-photo.png"]) == 0


def test_a_fault_of_the_program_itself_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        program(lambda arguments: 1 // 0)(["1"])


@pytest.mark.parametrize(("flags", "said"), [
    ([], "sclip-count: the following arguments are required: number; see sclip-count --help"),
    (["many"], "sclip-count: argument number: invalid int value: 'many'"),
    (["1", "--nam", "x"], "sclip-count: unrecognized arguments: --nam"),
    (["0"], "sclip-count: 0 is nothing to count"),
])
def test_unusable_flags_are_told_before_any_work(flags, said, capsys) -> None:
    def check(parsed: argparse.Namespace) -> None:
        if not parsed.number:
            raise UsageError("0 is nothing to count")

    assert program(raising(AssertionError("work has begun")), check=check)(flags) == 2
    assert capsys.readouterr().err.startswith(said)


def test_the_command_line_is_kept_as_it_was_given() -> None:
    parsed = program(lambda arguments: 0).parse(["1", "--name", "red ball"])
    assert parsed.command == "sclip-count 1 --name 'red ball'"


def test_help_shows_the_purpose_and_an_example(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        program(lambda arguments: 0)(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "Count." in said and "example: sclip-count 3" in said


def programs() -> list[str]:
    """Return the modules of all programs in the frame, installed or in the source tree alone."""
    return [str(path.relative_to(ROOT / root).with_suffix("")).replace("/", ".")
            for root, folders in (("research", ["sclip_research"]),
                                  (".", ["benchmarks", "examples", "sclip_seg_ros"]))
            for folder in folders for path in sorted((ROOT / root / folder).rglob("*.py"))
            if re.search(r"^main = (Ros)?Program\(", path.read_text(), re.MULTILINE)]


@pytest.mark.parametrize("module", programs())
def test_every_program_takes_its_example_and_refuses_a_flag_that_it_has_not(module, capsys) -> None:
    try:
        main = import_module(module).main
    except ModuleNotFoundError as error:
        if error.name.startswith("sclip_seg_ros") and error.name != "sclip_seg_ros.msg":
            raise
        pytest.skip(f"{error.name} is not installed")
    flags = shlex.split(main.example.partition(main.name)[2])
    assert main([*flags, "--nonsense"]) == 2
    assert re.fullmatch(rf"[\w-]+: unrecognized arguments: --nonsense; see {main.name} --help\n",
                        capsys.readouterr().err)
