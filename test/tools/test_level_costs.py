"""sclip-level-costs runs every level of the ladder and tells what each stage of it took."""

from __future__ import annotations

import pytest
from hidden_scenes import hide_scenes
from PIL import Image

from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.tools import scenes
from sclip_seg_ros.tools.level_costs import main

LADDER = """
levels:
  - name: full
  - name: short-pamr
    pamr.steps: 1
  - name: plain
    use_pamr: false
  - name: whole
    use_pamr: false
    inference: whole
"""


@pytest.fixture
def ladder(tmp_path):
    path = tmp_path / "ladder.yaml"
    path.write_text(LADDER)
    return path


def rows_of(text: str) -> list[dict[str, str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_every_level_is_measured_with_its_own_stages(ladder, capsys):
    assert main(["--ladder", str(ladder), "--use-pamr", "--size", "160x120", "--rounds", "3",
                 "--slide-inference", "--threads", "1", "--precision", "fp32"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert [row["level"] for row in rows] == ["0 full", "1 short-pamr", "2 plain", "3 whole"]
    assert [row["pamr"] != "" for row in rows] == [True, True, False, False]
    assert rows[0]["of the best"] == "100%" and rows[0]["same labels"] == "100.0%"
    agreement = [float(row["same labels"].rstrip("%")) for row in rows]
    assert 50 < agreement[3] < agreement[1] < 100, "a step less of PAMR changes little"
    for row in rows:
        assert float(row["encode"]) > 0
        stages = [float(row[name]) for name in list(row)[4:] if row[name]]
        assert sum(stages) <= float(row["ms"]) * 1.5 + 2


def test_every_level_is_warmed_up_for_the_picture_before_one_is_measured(ladder, monkeypatch):
    warmed, measured, predict = [], [], Pipeline.predict

    def watched(self, images, vocabulary):
        measured.append((self.settings, images[0].shape[:2]))
        return predict(self, images, vocabulary)

    monkeypatch.setattr(Pipeline, "predict", watched)
    monkeypatch.setattr(Pipeline, "warm_up", lambda self, sizes, vocabulary: (
        warmed.append((self.settings, *sizes)), measured and pytest.fail("measured before")))
    assert main(["--ladder", str(ladder), "--use-pamr", "--size", "64x48", "--rounds", "2",
                 "--slide-inference"]) == 0
    assert len(warmed) == 4 and measured == 2 * warmed


def test_levels_that_change_nothing_are_left_out(ladder, capsys):
    assert main(["--ladder", str(ladder), "--no-pamr", "--size", "64x48", "--rounds", "1",
                 "--slide-inference"]) == 0
    assert [row["level"] for row in rows_of(capsys.readouterr().out)] == ["0 full", "1 whole"]


@pytest.mark.parametrize("flags, complaint", [
    (["--ladder", "nope"], "--ladder 'nope' does not exist; give the path of a file, or one of "
                           "auto, cpu.yaml, desktop_gpu.yaml, jetson.yaml"),
    (["--size", "640"], "--size: '640' is not a size; write WIDTHxHEIGHT in pixels, e.g. 640x480"),
    (["--size", "640x0"], "'640x0' is not a size"),
    (["--siz", "640x480"], "--siz"),
    (["--profile", "nope"], "or give the path of a YAML file of your own"),
    (["--pretrained", "no-such.safetensors", "--model", "ViT-B/16"], "no-such.safetensors"),
    (["--image", "no-such.png"], "'no-such.png' cannot be read"),
    (["--rounds", "0"], "'0' is not a positive whole number"),
], ids=["ladder", "size", "empty size", "abbreviation", "profile", "weights",
                                "image", "rounds"])
def test_what_cannot_be_used_is_named_in_one_line(flags, complaint, capsys):
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1


@pytest.mark.parametrize("flags, shape", [
    ([], (60, 180)), (["--size", "90x90"], (30, 90)), (["--size", "360x300"], (120, 360))])
def test_a_picture_keeps_its_shape(flags, shape, ladder, tmp_path, monkeypatch, capsys):
    Image.new("RGB", (180, 60), "gray").save(tmp_path / "wide.tif")
    seen = []

    def watched(self, images, vocabulary, predict=Pipeline.predict):
        seen.append(images[0].shape[:2])
        return predict(self, images, vocabulary)

    monkeypatch.setattr(Pipeline, "predict", watched)
    assert main(["--image", str(tmp_path / "wide.tif"), "--ladder", str(ladder), "--rounds", "1",
                 "--vocabulary", "floor", "wall", *flags]) == 0
    assert set(seen) == {shape}


def test_ctrl_c_ends_it_with_one_line(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(scenes, "render", interrupted)
    assert main([]) == 130
    assert capsys.readouterr().err.startswith("sclip-level-costs: interrupted")


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "example: sclip-level-costs --use-densecrf" in capsys.readouterr().out


def test_without_rendered_rooms_it_is_told_what_to_do(monkeypatch, capsys):
    hide_scenes(monkeypatch)
    assert main(["--ladder", "auto", "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "rendered rooms are not installed" in told
    assert "level-costs --image PICTURE" in told
