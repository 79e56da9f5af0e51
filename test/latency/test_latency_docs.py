"""docs/latency.md: its example runs, its ladder file reads, its lists are complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from sclip_seg_ros.latency import governor
from sclip_seg_ros.latency.ladder import parse_ladder
from sclip_seg_ros.segmentation import SCLIPSegmentor

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "latency.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the only fenced block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


def test_the_example_ladder_file_reads() -> None:
    ladder = parse_ladder(yaml.safe_load(block("yaml")))
    assert ladder.names == ("full", "fewer-steps", "no-overlap", "whole-224")


def test_the_python_example_runs_on_a_real_network(capsys) -> None:
    segmentor = SCLIPSegmentor("ViT-S-32-alt", pretrained="random", short_side=224)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 160, 208, 3), dtype=np.uint8)
    names = {"segmentor": segmentor, "images": images}
    exec(compile(block("python"), "docs/latency.md", "exec"), names)
    lines = [line for line in capsys.readouterr().out.splitlines() if " ms" in line]
    assert len(lines) == 6, "one line a frame"
    assert {line.split(":")[0] for line in lines} <= set(names["quality"].state.names)


def test_every_module_is_listed_and_those_without_a_star_need_no_torch() -> None:
    listed = dict(re.findall(r"`(\w+)\.py`(\*?)", TEXT[:TEXT.index("## In the node")]))
    folder = Path(governor.__file__).parent
    assert set(listed) == {path.stem for path in folder.glob("*.py")} - {"__init__"}
    plain = ", ".join(f"sclip_seg_ros.latency.{name}" for name, star in listed.items() if not star)
    check = f"import sys, {plain}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_the_ladders_it_lists_are_those_that_ship() -> None:
    shipped = {path.name for path in (ROOT / "config" / "ladders").glob("*.yaml")}
    assert set(re.findall(r"`(\w+\.yaml)`", TEXT)) == shipped
