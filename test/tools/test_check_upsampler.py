"""`sclip-check-upsampler`: exit codes, the table, JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoints import save_anyup, save_loftup
from known_upsamplers import Guided, segmentor_with
from PIL import Image, ImageOps
from sclip_research.scenes.held_out import held_out_scene

from sclip_seg_ros.tools.check_upsampler import main

MEASURES = ("agreement_inside", "cosine_drift", "boundary_sharpness")


@pytest.fixture(scope="module")
def words() -> list[str]:
    return held_out_scene(1)[1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out a folder with two pictures of the same room."""
    folder = tmp_path_factory.mktemp("photos")
    image = Image.fromarray(held_out_scene(1)[0].image)
    (folder / "below").mkdir()
    image.save(folder / "room.png")
    ImageOps.mirror(image).save(folder / "below/mirrored.png")
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save a LoftUp that was never trained, and that may be fed anything."""
    return save_loftup(tmp_path_factory.mktemp("loftup") / "u.safetensors", 128)


def test_a_good_upsampler_is_recommended(photos, words, monkeypatch, capsys):
    segmentor_with(Guided(), monkeypatch)
    assert main(["--image", str(photos), "--vocabulary", *words]) == 0
    head, *rows, verdict = capsys.readouterr().out.splitlines()
    assert head.startswith("images: 2;") and len(rows) == 4
    assert verdict.startswith("use LoftUp")


def test_every_format_that_other_programs_take_is_taken(photos, words, tmp_path, monkeypatch,
                                                        capsys):
    segmentor_with(Guided(), monkeypatch)
    Image.open(photos / "room.png").save(tmp_path / "room.tif")
    assert main(["--image", str(tmp_path / "room.tif"), "--vocabulary", *words]) == 0
    assert capsys.readouterr().out.startswith("images: 1;")


def test_an_untrained_one_is_not(photos, words, untrained, tmp_path, capsys):
    (tmp_path / "words.txt").write_text("\n".join(words))
    code = main(["--image", str(photos / "*.png"), "--vocabulary-file",
                 str(tmp_path / "words.txt"), "--loftup-source", untrained])
    output = capsys.readouterr().out.splitlines()
    assert code == 1
    assert output[0].startswith("images: 1;") and output[-1].startswith("do not use LoftUp")


def test_json_holds_every_measure_of_every_image(photos, words, untrained, capsys):
    assert main(["--image", str(photos), "--vocabulary", *words, "--loftup-source", untrained,
                 "--contract", "value", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["use"] is False and result["verdict"].startswith("do not use")
    assert result["loftup"]["contract"] == "value" and result["loftup"]["source"] == untrained
    assert sorted(result["images"]) == [str(photos / "below/mirrored.png"),
                                        str(photos / "room.png")]
    for measure in MEASURES:
        alone = [image[measure] for image in result["images"].values()]
        assert result[measure] == pytest.approx(np.mean(alone), abs=0.2)
        assert measure in result["limits"]


def test_another_upsampler_is_checked_by_its_own_name(photos, words, tmp_path, capsys):
    source = save_anyup(tmp_path / "anyup.pth")
    flags = ["--image", str(photos / "room.png"), "--vocabulary", *words, "--set",
             f"anyup.source={source}", "--json"]
    assert main([*flags, "--use-anyup"]) in (0, 1)
    result = json.loads(capsys.readouterr().out)
    assert result["upsampler"] == "AnyUp" and result["anyup"]["source"] == source
    assert "use AnyUp" in result["verdict"] and result["cosine_drift"] > 0
    assert main([*flags, "--use-anyup", "--no-loftup"]) in (0, 1)


def test_images_that_tell_nothing_are_bad_input(tmp_path, monkeypatch, capsys):
    segmentor_with(Guided(), monkeypatch)
    Image.new("RGB", (320, 240), "gray").save(tmp_path / "gray.png")
    assert main(["--image", str(tmp_path / "gray.png"), "--vocabulary", "floor"]) == 2
    assert capsys.readouterr().out.splitlines()[-1].startswith("cannot say")


@pytest.mark.parametrize("flags, complaint", [
    (["--image", "{here}/absent.png"], "absent.png' does not exist"),
    (["--image", "{here}/notes.txt"], "notes.txt' is not an image"),
    (["--image", "{here}/broken.png", "--loftup-source", "{untrained}"], "broken.png"),
    (["--image", "{here}/*.jpg"], "matches no image"),
    (["--image", "{here}/empty"], "folder without images"),
    (["--image", "{photos}", "--no-loftup"], "--no-loftup"),
    (["--image", "{photos}", "--contract", "both"], "both"),
    (["--image", "{photos}", "--use-anyup", "--contract", "value"], "no effect on AnyUp"),
    (["--image", "{photos}", "--set", "use_anyup=true", "anyup.source=/absent"], "'/absent'"),
    (["--image", "{photos}", "--set", "use_loftup=false"], "no upsampler is on"),
    (["--image", "{photos}", "--loftup-source", "{here}/absent.bin"], "absent.bin"),
    (["--image", "{photos}", "--loftup-source", "{here}/absent.bin", "--vocabulary-file",
      "{here}/absent.txt"], "not allowed with"),
    ([], "--image")])
def test_what_cannot_be_checked_is_refused_in_one_line(
        flags, complaint, photos, untrained, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.png").write_bytes(b"rubbish")
    flags = [flag.format(here=tmp_path, photos=photos, untrained=untrained) for flag in flags]
    assert main([*flags, "--vocabulary", "floor", "wall"]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("sclip-check")]
    assert len(lines) == 1 and complaint in lines[0] and captured.out == ""
