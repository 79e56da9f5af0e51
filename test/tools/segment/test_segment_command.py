"""`sclip-segment`: what lies in the output folder, and what is refused or survived."""

from __future__ import annotations

import json
import os
import resource
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sclip_research.scenes.held_out import held_out_scene

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.temporal import FilmSegmentor
from sclip_seg_ros.tools.segment.command import main
from sclip_seg_ros.tools.segment.video import VideoSource

pytestmark = pytest.mark.usefixtures("one_commit")

WORDS = ("floor", "table|desk", "cup")
EXPECTED = {".label.png", ".confidence.png", ".overlay.png", ".json"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Lay out three noisy photos, one of them deeper, beside a file of another kind."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos/deeper").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "deeper/c.png"):
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(
            tmp_path / "photos" / name)
    (tmp_path / "photos/notes.txt").write_text("no picture")
    return tmp_path / "photos"


def segment(model: str, output: Path, *flags: object, words: tuple[str, ...] = WORDS) -> int:
    """Run the command."""
    return main(["--model", model, "--output", str(output), "--vocabulary", *words,
                 *map(str, flags)])


def written(folder: Path) -> set[str]:
    """Name the files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def write_film(path: Path, sizes: tuple[int, int], frames: int) -> None:
    """Film a square that wanders over grey noise."""
    height, width = sizes
    film = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"FFV1"), 12.0,
                           (width, height), isColor=False)
    for index in range(frames):
        frame = np.random.default_rng(0).integers(90, 160, sizes, np.uint8)
        frame[10:30, 5 * index:5 * index + 20] = 255
        film.write(frame)
    film.release()


def test_a_folder_gives_four_files_an_image_and_what_they_were_made_with(
        photos: Path, tiny_model: str, tmp_path: Path, capsys) -> None:
    assert segment(tiny_model, tmp_path / "out", "--image", photos, "--whole", "--no-pamr",
                   "--background", "floor") == 0
    names = {f"{stem}{ending}" for stem in ("a", "b", "deeper/c") for ending in EXPECTED}
    assert written(tmp_path / "out") == names | {"run.json"}
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["images"] == 3 and run["failures"] == {}
    assert run["settings"]["inference"] == "whole" and run["settings"]["use_pamr"] is False
    assert run["words"] == [["floor"], ["table", "desk"], ["cup"]] and run["background"] == 0
    assert run["notices"] == []
    assert "frames per second" in capsys.readouterr().out


def test_results_are_those_of_the_segmentor(photos: Path, tiny_model: str, tmp_path: Path) -> None:
    assert segment(tiny_model, tmp_path, "--image", photos / "a.png") == 0
    image = np.asarray(Image.open(photos / "a.png"))
    segmentor = SCLIPSegmentor(tiny_model, device="auto")
    vocabulary = segmentor.vocabulary(WORDS)
    result = segmentor.predict_dense(image, vocabulary)
    labels = Image.open(tmp_path / "a.label.png")
    assert labels.mode == "P"
    np.testing.assert_array_equal(np.asarray(labels), result.labels)
    np.testing.assert_array_equal(np.asarray(labels.convert("RGB")),
                                  vocabulary.colours[result.labels])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.confidence.png")),
                                  result.confidence)
    said = json.loads((tmp_path / "a.json").read_text())
    assert [entry["name"] for entry in said["classes"]] == ["floor", "table", "cup"]
    assert [entry["coverage"] for entry in said["classes"]] == pytest.approx(
        result.coverage.tolist(), abs=1e-5)
    assert [entry["mean_confidence"] for entry in said["classes"]] == pytest.approx(
        result.mean_confidence.tolist(), abs=1e-5)


def test_overlay_shows_colours_and_a_legend_unless_told_otherwise(photos: Path, tiny_model: str,
                                                                  tmp_path: Path) -> None:
    for name, flags in (("with", ()), ("without", ("--no-legend",)),
                        ("plain", ("--no-legend", "--overlay-alpha", "0"))):
        assert segment(tiny_model, tmp_path / name, "--image", photos / "a.png", *flags) == 0
    legend, colours, plain = (np.asarray(Image.open(tmp_path / name / "a.overlay.png"))
                              for name in ("with", "without", "plain"))
    np.testing.assert_array_equal(plain, np.asarray(Image.open(photos / "a.png")))
    assert (colours != plain).any(axis=2).mean() > 0.9
    assert (legend[:12, :12] != colours[:12, :12]).any()
    np.testing.assert_array_equal(legend[36:], colours[36:])


def test_rooms_are_understood_and_that_photos_are_not_is_told(tmp_path: Path, capsys) -> None:
    scene, words = held_out_scene(0)
    Image.fromarray(scene.image).save(tmp_path / "room.png")
    assert segment("embedded", tmp_path / "out", "--image", tmp_path / "room.png",
                   words=tuple(words)) == 0
    labels = np.asarray(Image.open(tmp_path / "out/room.label.png"))
    truth = scene.labels(words)
    assert (labels == truth)[truth != 255].mean() > 0.6
    assert capsys.readouterr().err.count("knows nothing but rendered rooms") == 1
    [notice] = json.loads((tmp_path / "out/run.json").read_text())["notices"]
    assert "photos mean nothing; name another model for them, e.g. 'ViT-B/16'" in notice


def test_one_bad_file_is_reported_and_does_not_stop_the_others(
        photos: Path, tiny_model: str, tmp_path: Path, capsys) -> None:
    (photos / "b.jpg").write_bytes(b"rubbish")
    (photos / "broken.mp4").write_bytes(b"rubbish")
    Image.fromarray(np.zeros((5, 200, 3), np.uint8)).save(photos / "ribbon.png")
    assert segment(tiny_model, tmp_path / "out", "--image", photos) == 1
    stems = {name.split(".")[0] for name in written(tmp_path / "out")}
    assert stems == {"a", "deeper/c", "run"}
    lines = capsys.readouterr().err.splitlines()
    for name in ("b.jpg", "broken.mp4", "ribbon.png"):
        assert len([line for line in lines if f"/{name}'" in line]) == 1
    failures = json.loads((tmp_path / "out/run.json").read_text())["failures"]
    assert {Path(name).name for name in failures} == {"b.jpg", "broken.mp4", "ribbon.png"}


def test_equal_stems_do_not_overwrite_each_other(photos: Path, tiny_model: str,
                                                 tmp_path: Path) -> None:
    Image.open(photos / "b.jpg").save(photos / "a.jpg")
    assert segment(tiny_model, tmp_path / "out", "--image", photos / "*.jpg", photos / "a.png") == 0
    assert {"a.jpg.json", "a.png.json", "b.json"} < written(tmp_path / "out")


def test_results_inside_the_input_folder_are_no_input(photos: Path, tiny_model: str) -> None:
    for _ in range(2):
        assert segment(tiny_model, photos / "out", "--image", photos) == 0
    assert len(written(photos / "out")) == 3 * len(EXPECTED) + 1


def test_a_photo_is_turned_as_its_orientation_tag_says(tiny_model: str, tmp_path: Path) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    tag = photo.getexif()
    tag[0x0112] = 6  # to be turned by a quarter
    photo.save(tmp_path / "phone.jpg", exif=tag)
    assert segment(tiny_model, tmp_path, "--image", tmp_path / "phone.jpg") == 0
    assert Image.open(tmp_path / "phone.label.png").size == (60, 80)


@pytest.mark.parametrize("sizes", [(60, 80), (49, 65)])
@pytest.mark.parametrize("flags", [(), ("--no-temporal",)])
def test_a_video_becomes_films_of_the_same_rate_and_exact_labels(
        sizes: tuple[int, int], flags: tuple[str, ...], tiny_model: str, tmp_path: Path) -> None:
    write_film(tmp_path / "walk.mkv", sizes, 5)
    source = read_film(tmp_path / "walk.mkv")
    assert segment(tiny_model, tmp_path / "out", "--video", tmp_path / "walk.mkv", *flags) == 0
    segmentor = SCLIPSegmentor(tiny_model, device="auto")
    alone = [segmentor.predict_dense(frame, WORDS) for frame in source]
    opened = VideoSource(tmp_path / "walk.mkv")
    steady = FilmSegmentor(segmentor, segmentor.vocabulary(WORDS))
    results = alone if flags else [steady(frame, opened.seconds) for frame in opened.frames()]
    height, width = source[0].shape[:2]
    for kind in ("label", "confidence"):
        film = read_film(tmp_path / f"out/walk.{kind}.mkv")
        for frame, result in zip(film, results, strict=True):
            plane = result.labels if kind == "label" else result.confidence
            np.testing.assert_array_equal(frame[:height, :width, 0], plane)
    overlay = cv2.VideoCapture(str(tmp_path / "out/walk.overlay.mp4"))
    assert overlay.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)
    assert overlay.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    said = json.loads((tmp_path / "out/walk.json").read_text())
    mean = np.mean([result.coverage for result in results], axis=0)
    assert [entry["coverage"] for entry in said["classes"]] == pytest.approx(mean.tolist(),
                                                                            abs=1e-5)
    lines = (tmp_path / "out/walk.frames.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(5))


def test_a_film_that_could_not_be_written_is_reported(tiny_model: str, tmp_path: Path,
                                                      capfd) -> None:
    write_film(tmp_path / "walk.mkv", (240, 320), 40)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, unlimited[1]))  # acts as a full disk
    try:
        code = segment(tiny_model, tmp_path / "out", "--image", tmp_path / "walk.mkv", "--whole")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert code == 1
    assert "of 40 frames; check that the disk has room" in capfd.readouterr().err


def read_film(path: Path) -> list[np.ndarray]:
    """Return the frames of a film as RGB."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (frame := capture.read())[0]:
        frames.append(frame[1][..., ::-1])
    return frames


WRONG = {
    "no input": ([], "--image"),
    "missing file": (["--image", "{photos}/none.png"], "'{photos}/none.png' does not exist"),
    "other kind of file": (["--image", "{photos}/notes.txt"],
                           "'{photos}/notes.txt' is not an image"),
    "pattern without match": (["--image", "{photos}/*.webp"], "'{photos}/*.webp' matches no"),
    "empty folder": (["--image", "{photos}/empty"], "'{photos}/empty' holds no image"),
    "unreadable file": (["--image", "{photos}/bad.png"], "'{photos}/bad.png'"),
    "unknown flag": (["--image", "{photos}", "--fast"], "--fast"),
    "blank class": (["--image", "{photos}", "--vocabulary", "floor", ""], "class '' has a blank"),
    "no classes": (["--image", "{photos}", "--vocabulary"], "--vocabulary"),
    "two vocabularies": (["--image", "{photos}", "--vocabulary", "floor", "--vocabulary-file",
                          "words.txt"], "--vocabulary-file"),
    "background that is not a class": (["--image", "{photos}", "--background", "sky"], "'sky'"),
    "unknown profile": (["--image", "{photos}", "--profile", "voc99"], "'voc99'"),
    "method without profile": (["--image", "{photos}", "--method", "naclip"], "'naclip'"),
    "factor out of range": (["--image", "{photos}", "--use-loftup", "--loftup-factor", "99"],
                            "loftup.factor must be 1.0 to 16.0, got 99"),
    "factor that is not a number": (["--image", "{photos}", "--loftup-factor", "much"], "'much'"),
    "factor without LoftUp": (["--image", "{photos}", "--loftup-factor", "3.0"], "--use-loftup"),
    "two factors": (["--image", "{photos}", "--loftup-factor", "3", "--loftup-adaptive"],
                    "--loftup-adaptive"),
    "two precisions": (["--image", "{photos}", "--use-fp16", "--precision", "fp32"],
                       "--precision"),
    "unknown device": (["--image", "{photos}", "--device", "abacus"], "'abacus'"),
    "unknown model": (["--image", "{photos}", "--model", "ViT-Z/9"], "ViT-Z/9"),
    "alpha out of range": (["--image", "{photos}", "--overlay-alpha", "2"],
                           "--overlay-alpha must be 0 to 1, got 2.0"),
    "output that is a file": (["--image", "{photos}", "--output", "{photos}/a.png"],
                              "'{photos}/a.png' is a file; choose another folder"),
    "commas between classes": (["--image", "{photos}", "--vocabulary", "floor,wall"],
                               "write floor wall"),
    "output over the input": (["--image", "{photos}", "--output", "{photos}"], "--output"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gives_one_line_and_code_2(case: str, photos: Path, tmp_path: Path,
                                               monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    (photos / "empty").mkdir()
    if case == "unreadable file":
        whole = (photos / "a.png").read_bytes()
        (photos / "bad.png").write_bytes(whole[:200] + b"rubbish" + whole[207:])
    flags, named = WRONG[case]
    words = [] if "--vocabulary" in flags else ["--vocabulary", "floor", "wall"]
    assert main([*words, *(flag.format(photos=photos) for flag in flags)]) == 2
    message = capfd.readouterr().err
    assert message.startswith("sclip-segment: ") and message.count("\n") == 1, message
    assert named.format(photos=photos) in message


def test_a_profile_brings_words_that_a_vocabulary_replaces(photos: Path, tiny_model: str,
                                                           tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("ground\ndesk, table\n")
    (tmp_path / "mine.yaml").write_text("vocabulary: words.txt\nbackground: ground\n"
                                        "methods:\n  sclip: {short_side: 64}\n")
    (tmp_path / "others.txt").write_text("sky\nsea, lake\n")
    for flags, words, background in (
            ((), [["ground"], ["desk", "table"]], 0),
            (("--vocabulary-file", str(tmp_path / "others.txt")), [["sky"], ["sea", "lake"]],
             None)):
        assert main(["--model", tiny_model, "--image", str(photos / "a.png"), "--output",
                     str(tmp_path / "out"), "--profile", str(tmp_path / "mine.yaml"), *flags]) == 0
        run = json.loads((tmp_path / "out/run.json").read_text())
        assert run["words"] == words and run["background"] == background
        assert run["settings"]["short_side"] == 64


def test_a_file_that_runs_out_of_memory_does_not_stop_the_others(
        photos: Path, tiny_model: str, tmp_path: Path, monkeypatch, capsys) -> None:
    errors = {50: RuntimeError("DefaultCPUAllocator: can't allocate memory"),
              52: cv2.error("(-215:Assertion failed) !empty()"), 54: MemoryError()}
    for side in errors:
        Image.new("RGB", (side, side)).save(photos / f"side{side}.png")
    predict = SCLIPSegmentor.predict_dense

    def failing(self, image, *more):
        if image.shape[0] in errors:
            raise errors[image.shape[0]]
        return predict(self, image, *more)

    monkeypatch.setattr(SCLIPSegmentor, "predict_dense", failing)
    assert segment(tiny_model, tmp_path / "out", "--image", photos) == 1
    failures = json.loads((tmp_path / "out/run.json").read_text())["failures"]
    said = {Path(path).name: problem for path, problem in failures.items()}
    assert set(said) == {f"side{side}.png" for side in errors}
    assert "can't allocate memory; take smaller images" in said["side50.png"]
    assert {"a.json", "b.json", "deeper/c.json"} < written(tmp_path / "out")
    assert capsys.readouterr().err.count("\n") == 3


def test_names_that_are_not_utf8_are_written_readably(photos: Path, tiny_model: str,
                                                      tmp_path: Path, capsys) -> None:
    image, film = map(os.fsdecode, (b"caf\xe9.png", b"\xe9t\xe9.mkv"))
    (photos / "a.png").rename(photos / image)
    write_film(tmp_path / "walk.mkv", (60, 80), 2)
    (tmp_path / "walk.mkv").rename(photos / film)
    assert segment(tiny_model, tmp_path / "out", "--image", photos) == 1
    said = json.loads((tmp_path / "out" / os.fsdecode(b"caf\xe9.json")).read_text())
    assert said["source"].endswith("caf\\xe9.png")
    failures = json.loads((tmp_path / "out/run.json").read_text())["failures"]
    assert [Path(name).name for name in failures] == ["\\xe9t\\xe9.mkv"]
    assert "is not UTF-8, which OpenCV cannot open; rename" in capsys.readouterr().err


def test_no_result_leaves_the_output_folder(photos: Path, tiny_model: str, tmp_path: Path,
                                            monkeypatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert segment(tiny_model, Path("out"), "--image", "../photos/deeper", "../photos/a.png") == 0
    assert {"deeper/c.json", "a.json"} < written(tmp_path / "here/out")
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"out"}


def test_earlier_results_beside_the_photos_are_no_input(photos: Path, tiny_model: str,
                                                        capsys) -> None:
    for _ in range(2):
        assert segment(tiny_model, photos, "--image", photos / "*.png", photos / "b.jpg") == 0
    assert {path.name for path in photos.glob("*.json")} == {"a.json", "b.json", "run.json"}
    assert segment(tiny_model, photos, "--image", photos / "a.label.png") == 2
    assert "a.label.png' is a result of an earlier run" in capsys.readouterr().err


def test_paths_stand_before_the_flags_too(photos: Path, tiny_model: str, tmp_path: Path) -> None:
    arguments = ["--model", tiny_model, "--output", str(tmp_path / "out"), "--whole",
                 str(photos / "a.png"), "--image", str(photos / "b.jpg"), "--vocabulary", *WORDS]
    assert main(arguments) == 0
    assert {"a.json", "b.json"} < written(tmp_path / "out")


def test_what_is_finished_is_not_done_again_unless_something_changed(
        photos: Path, tiny_model: str, tmp_path: Path, capsys) -> None:
    write_film(photos / "walk.mkv", (60, 80), 2)
    (photos / "b.jpg").write_bytes(b"rubbish")

    def run(*more: str) -> dict:
        assert segment(tiny_model, tmp_path / "out", "--image", photos, *more) == 1
        return json.loads((tmp_path / "out/run.json").read_text())

    def done(said: dict) -> tuple[int, int, int]:
        return said["images"], said["videos"], said["finished_before"]

    assert done(run()) == (2, 1, 0)
    before = (tmp_path / "out/a.json").read_bytes()
    assert done(run()) == (0, 0, 3)
    assert (tmp_path / "out/a.json").read_bytes() == before
    assert "3 files done by an earlier run" in capsys.readouterr().out
    (tmp_path / "out/walk.label.mkv").unlink()
    Image.new("RGB", (70, 70)).save(photos / "a.png")
    assert done(run()) == (1, 1, 1)
    assert Image.open(tmp_path / "out/a.label.png").size == (70, 70)
    assert done(run("--no-pamr")) == (2, 1, 0)
    assert done(run("--no-pamr", "--restart")) == (2, 1, 0)
    other = run("--no-pamr", "--prompt-templates", "a rendering of a {}.", "simple-7")
    assert done(other) == (2, 1, 0)
    assert other["prompt templates"] == ["a rendering of a {}.", "simple-7"]


def test_times_of_a_video_are_those_of_the_file(tiny_model: str, tmp_path: Path) -> None:
    write_film(tmp_path / "walk.mkv", (60, 80), 4)
    data = (tmp_path / "walk.mkv").read_bytes()
    for told, wanted in ((83, 40), (167, 190), (250, 1200)):  # ms, as a phone that slows down
        block = b"\x81" + struct.pack(">h", told) + b"\0"  # of track 1, no key frame
        assert data.count(block) == 1
        data = data.replace(block, b"\x81" + struct.pack(">h", wanted) + b"\0")
    (tmp_path / "walk.mkv").write_bytes(data)
    assert segment(tiny_model, tmp_path / "out", "--image", tmp_path / "walk.mkv") == 0
    lines = (tmp_path / "out/walk.frames.jsonl").read_text().splitlines()
    assert [json.loads(line)["seconds"] for line in lines] == pytest.approx([0, 0.04, 0.19, 1.2])


@pytest.mark.parametrize("sizes, remedy", [
    ((8, 8), "8x8 pixels cannot be written, because films hold sides of 16 to 8190; scale it"),
    ((40, 9000), "9000x40 pixels cannot be written, because films hold sides of 16 to 8190"),
])
def test_films_that_cannot_be_written_are_refused_with_what_helps(
        sizes: tuple[int, int], remedy: str, tiny_model: str, tmp_path: Path, capsys) -> None:
    write_film(tmp_path / "walk.mkv", sizes, 1)
    assert segment(tiny_model, tmp_path / "out", "--image", tmp_path / "walk.mkv") == 2
    assert remedy in capsys.readouterr().err
    assert written(tmp_path / "out") == {"run.json"}


def test_a_clock_told_as_a_rate_is_not_taken_for_one(tiny_model: str, tmp_path: Path,
                                                     capsys) -> None:
    film = cv2.VideoWriter(str(tmp_path / "walk.mkv"), cv2.CAP_FFMPEG,
                           cv2.VideoWriter_fourcc(*"FFV1"), 90_000.0, (80, 60), isColor=False)
    for _ in range(3):
        film.write(np.zeros((60, 80), np.uint8))
    film.release()
    assert segment(tiny_model, tmp_path / "out", "--image", tmp_path / "walk.mkv") == 0
    assert "its results play at 25" in capsys.readouterr().err
    assert json.loads((tmp_path / "out/walk.json").read_text())["frames_per_second"] == 25
