"""`sclip-benchmark`: results that can be traced, resumed runs, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from folder_data import write_folder_data
from PIL import Image
from sclip_research.evaluate_embedded_model import evaluate
from sclip_research.scenes.held_out import held_out_scene

from sclip_seg_ros.models.clip import EMBEDDED_FOLDER
from sclip_seg_ros.models.weights import checksum
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.benchmark.command import main
from sclip_seg_ros.tools.figures.metrics import IouMeter

SCORES = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "boundary_f1",
          "boundary_iou")
IMAGES = 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Lay out four noisy pictures of three classes."""
    (tmp_path / "data").mkdir()
    return write_folder_data(tmp_path / "data", IMAGES, ["floor", "table, desk", "cup"], cell=20)


def bench(data: Path, model: str, output: Path, *flags: str) -> int:
    """Run the command on a folder."""
    return main(["--dataset", "folder", "--data-root", str(data), "--model", model, "--output",
                 str(output), *flags])


def counts(output: Path) -> dict:
    """Read the part of the results that must not depend on how they were obtained."""
    results = json.loads(output.read_text())
    return {key: results[key] for key in ("dataset", "scores", "by_class", "settings", "model")}


def break_image(data: Path, index: int) -> bytes:
    """Replace an image by rubbish and return what it was."""
    path = data / f"images/{index}.png"
    content = path.read_bytes()
    path.write_bytes(b"rubbish")
    return content


def test_results_can_be_traced(data: Path, tiny_model: str, tmp_path: Path, capsys) -> None:
    output = tmp_path / "out/results.json"
    assert bench(data, tiny_model, output, "--use-tlp", "--whole", "--precision", "bf16") == 0
    results = json.loads(output.read_text())
    weights = Path(tiny_model.partition(":")[2]) / "open_clip_model.safetensors"
    assert results["model"]["weights_sha256"] == checksum(weights)
    assert results["settings"]["use_tlp"] is True and results["settings"]["use_densecrf"] is False
    assert results["settings"]["inference"] == "whole"
    assert results["model"]["precision"] == "bf16"
    assert results["words"] == [["floor"], ["table", "desk"], ["cup"]]
    assert results["dataset"]["images"] == IMAGES
    assert results["dataset"]["root"] == str(data.resolve())
    assert set(results["scores"]) == set(SCORES) == set(results["definitions"])
    assert set(results["by_class"]) == {"floor", "table", "cup"}
    assert "0.75%" in results["definitions"]["boundary_f1"]
    assert results["speed"]["images_per_second"] > 0 and "tlp" in results["speed"]["stage_ms"]
    assert results["memory"]["process_mib"] > 10
    assert "--use-tlp --whole" in results["provenance"]["command"]
    assert results["provenance"]["versions"]["torch"]
    assert "mIoU" in capsys.readouterr().out
    page = output.with_suffix(".md").read_text()
    assert f"| mIoU | {100 * results['scores']['miou']:.2f} |" in page
    assert results["model"]["weights_sha256"] in page


def test_figure_is_that_of_the_segmentor(data: Path, tiny_model: str, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    assert bench(data, tiny_model, output) == 0
    segmentor, meter = SCLIPSegmentor(tiny_model, device="auto"), IouMeter()
    for index in range(IMAGES):
        image, truth = (np.asarray(Image.open(data / folder / f"{index}.png"))
                        for folder in ("images", "labels"))
        meter.add(segmentor.segment(image, ["floor", "table|desk", "cup"]), truth,
                  ["floor", "table", "cup"])
    assert json.loads(output.read_text())["scores"]["miou"] == pytest.approx(meter.mean())


@pytest.mark.parametrize("broken", [0, 2])
def test_resumed_run_equals_an_uninterrupted_one(data: Path, tiny_model: str, tmp_path: Path,
                                                 broken: int, capsys) -> None:
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    assert bench(data, tiny_model, whole) == 0
    content = break_image(data, broken)
    assert bench(data, tiny_model, parts) == 1
    assert f"({broken} images are measured; the same command" in capsys.readouterr().err
    assert not parts.exists()
    (data / f"images/{broken}.png").write_bytes(content)
    assert bench(data, tiny_model, parts, "--resume") == 0
    assert counts(parts) == counts(whole)


def test_films_are_steadied_and_resumed_in_the_middle(tmp_path: Path) -> None:
    output, journal = tmp_path / "films.json", tmp_path / "films.journal.jsonl"
    # Without PAMR, which steadies labels, too.
    flags = ["--dataset", "demo-videos", "--num-samples", "2", "--device", "cpu", "--no-pamr",
             "--set", "short_side=224"]
    assert main([*flags, "--output", str(output)]) == 0
    scores, records = json.loads(output.read_text())["scores"], film_records(journal)
    assert len(records) == 48 and sum("flips" in record for record in records) == 46
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:1 + 30]))  # six frames into the second film
    output.unlink()
    assert main([*flags, "--output", str(output), "--resume"]) == 0
    assert film_records(journal) == records
    assert json.loads(output.read_text())["scores"] == scores
    alone = tmp_path / "alone.json"
    assert main([*flags, "--output", str(alone), "--no-temporal"]) == 0
    without = json.loads(alone.read_text())["scores"]
    assert scores["flips"] < without["flips"] / 2
    assert scores["tc"] > without["tc"] + 0.02 and scores["miou"] > without["miou"]


def film_records(journal: Path) -> list[dict]:
    """Return what was counted of each frame, without times."""
    records = map(json.loads, journal.read_text().splitlines()[1:])
    return [{key: record[key] for key in record if key not in ("seconds", "stage_ms")}
            for record in records]


def test_line_cut_short_is_measured_again(data: Path, tiny_model: str, tmp_path: Path) -> None:
    output, journal = tmp_path / "results.json", tmp_path / "results.journal.jsonl"
    assert bench(data, tiny_model, output) == 0
    expected, text = counts(output), journal.read_text()
    lines = text.splitlines(keepends=True)
    journal.write_text("".join(lines[:3]) + lines[3][:25])
    output.unlink()
    assert bench(data, tiny_model, output, "--resume") == 0
    assert counts(output) == expected
    assert len(journal.read_text().splitlines()) == 1 + IMAGES


def test_resuming_a_finished_run_measures_nothing_again(data: Path, tiny_model: str,
                                                        tmp_path: Path) -> None:
    output, journal = tmp_path / "results.json", tmp_path / "results.journal.jsonl"
    assert bench(data, tiny_model, output) == 0
    before = journal.read_text()
    assert bench(data, tiny_model, output, "--resume") == 0
    assert journal.read_text() == before


def test_threads_do_not_change_the_result(data: Path, tiny_model: str, tmp_path: Path) -> None:
    assert bench(data, tiny_model, tmp_path / "a.json", "--workers", "1") == 0
    assert bench(data, tiny_model, tmp_path / "b.json", "--workers", "7") == 0
    assert counts(tmp_path / "a.json") == counts(tmp_path / "b.json")


def test_other_settings_do_not_continue_a_run(data: Path, tiny_model: str, tmp_path: Path,
                                              capsys) -> None:
    output = tmp_path / "results.json"
    assert bench(data, tiny_model, output) == 0
    assert bench(data, tiny_model, output, "--resume", "--no-pamr") == 2
    assert "another use_pamr (true, now false)" in capsys.readouterr().err


def test_interrupted_run_is_not_thrown_away(data: Path, tiny_model: str, tmp_path: Path,
                                            capsys) -> None:
    output = tmp_path / "results.json"
    content = break_image(data, 2)
    assert bench(data, tiny_model, output) == 1
    (data / "images/2.png").write_bytes(content)
    assert bench(data, tiny_model, output, "--no-pamr") == 2
    assert "another use_pamr (true, now false)" in capsys.readouterr().err
    before = output.with_suffix(".journal.jsonl").read_text().splitlines()
    assert bench(data, tiny_model, output) == 0
    after = output.with_suffix(".journal.jsonl").read_text().splitlines()
    assert after[:len(before)] == before and len(after) == 1 + IMAGES


def test_restart_measures_everything_anew(data: Path, tiny_model: str, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    content = break_image(data, 2)
    assert bench(data, tiny_model, output) == 1
    before = output.with_suffix(".journal.jsonl").read_text().splitlines()
    (data / "images/2.png").write_bytes(content)
    assert bench(data, tiny_model, output, "--restart", "--no-pamr") == 0
    after = output.with_suffix(".journal.jsonl").read_text().splitlines()
    assert len(after) == 1 + IMAGES and before[1] not in after


def test_interrupt_key_stops_and_resume_goes_on(data: Path, tiny_model: str, tmp_path: Path,
                                                capsys) -> None:
    for index in range(IMAGES, 60):
        for folder in ("images", "labels"):
            shutil.copy(data / folder / "0.png", data / folder / f"{index}.png")
    output, journal = tmp_path / "results.json", tmp_path / "results.journal.jsonl"

    def press_once_two_images_are_measured() -> None:
        while not journal.is_file() or journal.read_text().count("\n") < 3:
            time.sleep(0.001)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=press_once_two_images_are_measured, daemon=True).start()
        assert bench(data, tiny_model, output) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "of 60 images; the same command goes on" in capsys.readouterr().err
    assert bench(data, tiny_model, output, "--resume") == 0
    lines = journal.read_text().splitlines()[1:]
    images = [json.loads(line)["image"] for line in lines]
    assert len(images) == 60 and images == sorted(images)


def test_number_of_samples_is_kept(data: Path, tiny_model: str, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    assert bench(data, tiny_model, output, "--num-samples", "2") == 0
    lines = (tmp_path / "results.journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines[1:]] == ["0", "2"]


def test_methods_stages_can_be_switched_off(data: Path, tiny_model: str, tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    (tmp_path / "words.txt").write_text("ground\ndesk\nmug\n")
    profile.write_text("vocabulary: words.txt\nbackground: ground\nmethods:\n"
                       "  naclip: {use_pamr: true, attention: naclip, residual: false}\n")
    flags = ("--profile", str(profile), "--method", "naclip", "--num-samples", "1")
    for switch, expected in (((), True), (("--no-pamr",), False)):
        output = tmp_path / f"{expected}.json"
        assert bench(data, tiny_model, output, *flags, *switch) == 0
        results = json.loads(output.read_text())
        assert results["settings"]["use_pamr"] is expected
        assert results["settings"]["attention"] == results["method"] == "naclip"
        assert results["words"] == [["ground"], ["desk"], ["mug"]]
        assert set(results["by_class"]) <= {"background", "desk", "mug"}


WRONG = {
    "no data set": ([], "--dataset"),
    "unknown data set": (["--dataset", "imagenet"], "'imagenet'"),
    "no root": (["--dataset", "voc21"], "--data-root"),
    "missing root": (["--dataset", "voc21", "--data-root", "/no/such"], "'/no/such'"),
    "missing layout": (["--dataset", "voc21", "--data-root", "{data}"],
                       "{data}/ImageSets/Segmentation/val.txt"),
    "unknown flag": (["--dataset", "demo-scenes", "--fast"], "--fast"),
    "no number": (["--dataset", "demo-scenes", "--num-samples", "few"], "'few'"),
    "zero samples": (["--dataset", "demo-scenes", "--num-samples", "0"], "'0'"),
    "zero workers": (["--dataset", "demo-scenes", "--workers", "0"], "'0'"),
    "two ways at once": (["--dataset", "demo-scenes", "--whole", "--slide"], "--slide"),
    "method without profile": (["--dataset", "demo-scenes", "--method", "naclip"], "'naclip'"),
    "unknown method": (["--dataset", "folder", "--data-root", "{data}", "--profile", "voc21",
                        "--method", "best"], "'best'"),
    "unknown profile": (["--dataset", "folder", "--data-root", "{data}", "--profile", "voc99"],
                        "'voc99'"),
    "profile with other classes": (["--dataset", "folder", "--data-root", "{data}", "--profile",
                                    "voc21"], "21 classes"),
    "unknown model": (["--dataset", "demo-scenes", "--model", "ViT-Z/9"], "ViT-Z/9"),
    "missing weights": (["--dataset", "demo-scenes", "--model", "ViT-B/32", "--pretrained",
                         "/no/such.safetensors"], "/no/such.safetensors"),
    "unknown device": (["--dataset", "demo-scenes", "--device", "abacus"], "'abacus'"),
    "output without ending": (["--dataset", "demo-scenes", "--output", "here"], "'here'"),
    "ablation of films": (["--dataset", "demo-videos", "--ablation"], "--ablation"),
    "time of single images": (["--dataset", "demo-scenes", "--no-temporal"], "--no-temporal"),
    "settings of time of single images": (["--dataset", "demo-scenes", "--set",
                                           "temporal.weight=0.5"], "temporal.weight"),
    "settings of no time": (["--dataset", "demo-videos", "--no-temporal", "--set",
                             "temporal.weight=0.5"], "temporal.weight"),
    "resume with random weights": (["--dataset", "demo-scenes", "--model", "ViT-B/32",
                                    "--pretrained", "random", "--resume"], "--restart"),
    "both ways at once": (["--dataset", "demo-scenes", "--resume", "--restart"], "opposites"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gives_one_line_and_code_2(case: str, data: Path, tmp_path: Path, monkeypatch,
                                               capsys) -> None:
    monkeypatch.chdir(tmp_path)
    flags, named = WRONG[case]
    assert main([flag.format(data=data) for flag in flags]) == 2
    message = capsys.readouterr().err
    assert message.startswith("sclip-benchmark: ") and message.count("\n") == 1
    assert named.format(data=data) in message
    assert not (tmp_path / "out").exists()


def test_pictures_of_a_room_with_the_embedded_model(tmp_path: Path) -> None:
    scene, words = held_out_scene(0)
    for folder, pixels in (("images", scene.image), ("labels", scene.labels(words))):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "room.png")
    (tmp_path / "classes.txt").write_text("\n".join(words))
    output = tmp_path / "results.json"
    assert bench(tmp_path, "embedded", output) == 0
    results = json.loads(output.read_text())
    assert results["scores"]["miou"] > 0.3
    assert results["model"]["weights_sha256"] == checksum(
        EMBEDDED_FOLDER / "open_clip_model.safetensors")


def test_demo_scenes_give_the_figure_of_the_evaluation(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    assert main(["--dataset", "demo-scenes", "--num-samples", "2", "--output", str(output)]) == 0
    expected = evaluate(SCLIPSegmentor(device="auto"), 2).iou.mean()
    assert json.loads(output.read_text())["scores"]["miou"] == pytest.approx(expected)


def test_camvid_is_measured(camvid_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    assert main(["--dataset", "camvid", "--data-root", str(camvid_dir), "--num-samples", "1",
                 "--output", str(output)]) == 0
    results = json.loads(output.read_text())
    assert results["profile"] == "camvid" and "road" in results["by_class"]
    assert 0 < results["scores"]["pixel_accuracy"] < 1
