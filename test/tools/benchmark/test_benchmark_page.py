"""`sclip-benchmark --report`: a page that stands alone and shows what was measured."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from folder_data import write_folder_data
from PIL import Image

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.benchmark.command import main
from sclip_seg_ros.tools.benchmark.journal import Journal
from sclip_seg_ros.tools.benchmark.page.charts import confusion_chart, time_chart
from sclip_seg_ros.tools.benchmark.page.examples import extremes

pytestmark = pytest.mark.usefixtures("one_commit")
IMAGES = 5
CLASSES = ["floor", "table <i>&", "cup"]  # markup in a name must stay text


class Page(HTMLParser):
    """What a reader of the page meets: texts, pictures, and anything from outside."""

    VOID = {"img", "meta", "br", "link", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.pictures: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        values = dict(attributes)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures.append((values["alt"], values["src"]))
        self.links += [values[key] for key in ("src", "href") if key in values]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def picture(self, alt: str) -> np.ndarray:
        """Return the picture with a description, (H, W, 3) RGB."""
        uri = next(uri for name, uri in self.pictures if name == alt)
        data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
        return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Lay out pictures of three classes, small enough not to be shrunk on the page."""
    return write_folder_data(tmp_path_factory.mktemp("data"), IMAGES, CLASSES)


def report(data: Path, model: str, output: Path, *flags: str) -> Page:
    assert main(["--dataset", "folder", "--data-root", str(data), "--model", model, "--device",
                 "cpu", "--report", "--output", str(output), *flags]) == 0
    return Page(output.with_suffix(".html").read_text())


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("report") / "results.json"


@pytest.fixture(scope="module")
def page(data: Path, tiny_model: str, output: Path) -> Page:
    """Write a page once."""
    return report(data, tiny_model, output)


def test_page_needs_nothing_else(page: Page) -> None:
    assert page.open == []
    assert page.links and all(link.startswith("data:image/") for link in page.links)
    assert not {"script", "link", "iframe", "i"} & set(page.tags)


def test_page_has_scores_classes_and_origin(page: Page, output: Path) -> None:
    results = json.loads(output.read_text())
    assert f"{100 * results['scores']['boundary_iou']:.2f}" in page.text
    for name in CLASSES:
        assert name in page.text
        assert f"{100 * results['by_class'][name]['iou']:.2f}" in page.text
    assert results["model"]["weights_sha256"] in page.text
    assert results["provenance"]["command"] in page.text


def test_every_image_is_shown_once_with_its_four_pictures(page: Page) -> None:
    expected = {f"{kind} of {index}" for index in range(IMAGES)
                for kind in ("input", "truth", "prediction", "confidence")}
    assert {alt for alt, _ in page.pictures} == expected
    assert len(page.pictures) == len(expected)


def test_pictures_are_those_of_the_segmentor(page: Page, data: Path, tiny_model: str) -> None:
    segmentor = SCLIPSegmentor(tiny_model)
    vocabulary = segmentor.vocabulary(CLASSES)
    image, truth = (np.asarray(Image.open(data / folder / "3.png"))
                    for folder in ("images", "labels"))
    result = segmentor.predict_dense(image, vocabulary)
    np.testing.assert_array_equal(page.picture("prediction of 3"),
                                  vocabulary.colours[result.labels])
    shown = page.picture("truth of 3")
    np.testing.assert_array_equal(shown[truth != 255], vocabulary.colours[truth[truth != 255]])
    assert len(np.unique(shown[truth == 255])) == 1  # one grey
    input_shown = page.picture("input of 3")
    assert input_shown.shape == image.shape


def test_page_of_a_finished_run_needs_no_new_measurement(data: Path, tiny_model: str, output: Path,
                                                         page: Page) -> None:
    journal = output.with_suffix(".journal.jsonl")
    before = journal.read_text()
    again = report(data, tiny_model, output, "--resume")
    assert journal.read_text() == before
    assert again.pictures == page.pictures


def test_page_of_an_ablation_shows_every_row(data: Path, tiny_model: str, tmp_path: Path) -> None:
    found = report(data, tiny_model, tmp_path / "ablation.json", "--ablation", "--num-samples", "2")
    for title in ("DenseCRF", "ResCLIP + PAMR + DenseCRF",
                  "no LoftUp for this model", "+11 to +19"):
        assert title in found.text
    alts = {alt for alt, _ in found.pictures}
    assert {"plain of 0", "PAMR of 0", "DenseCRF of 2", "input of 2", "confidence of 2"} <= alts
    assert "LoftUp of 0" not in alts
    assert (found.picture("plain of 0") != found.picture("PAMR of 0")).any()


def test_worst_and_best_are_apart_and_in_order() -> None:
    mious = [0.5, None, 0.1, 0.9, 0.3, 0.7]
    assert extremes(mious) == ([2, 4], [3, 5, 0])
    worst, best = extremes([index / 100 for index in range(100)])
    assert worst == list(range(10)) and best == list(range(99, 89, -1))
    assert extremes([0.4]) == ([], [0]) and extremes([None]) == ([], [])


def test_confusion_accounts_for_every_pixel(page: Page, output: Path) -> None:
    results = json.loads(output.read_text())
    journal = Journal(output.with_suffix(".journal.jsonl"), json.loads(
        output.with_suffix(".journal.jsonl").read_text().splitlines()[0])["run"], resume=True)
    chart = confusion_chart(journal.records(), CLASSES, results["by_class"])
    assert chart.names == tuple(CLASSES) and chart.hidden == 0
    for index, (name, shares, other, none) in enumerate(chart.rows):
        assert shares[index] == pytest.approx(results["by_class"][name]["accuracy"])
        assert sum(shares) + other + none == pytest.approx(1)


def test_confusion_of_many_classes_shows_the_most_frequent() -> None:
    names = [f"class {index}" for index in range(40)]
    record = {"confusion": [[index, (index + 1) % 40, 100 + index] for index in range(40)]}
    total = sum(100 + index for index in range(40))
    chart = confusion_chart([record], names, {
        name: {"share_of_truth": (100 + index) / total} for index, name in enumerate(names)})
    assert chart.names == tuple(names[16:]) and chart.hidden == 16
    assert chart.rows[0][1][1] == 1.0           # class 16 was taken for class 17
    assert chart.rows[-1][2] == 1.0             # class 39 for class 0, which is not shown


def test_time_bars_share_one_scale() -> None:
    chart = time_chart([
        ("plain", {"milliseconds_per_image": 31.0, "stage_ms": {"encode": 20.0, "decode": 10.0}}),
        ("pamr", {"milliseconds_per_image": 61.0,
                  "stage_ms": {"encode": 20.0, "decode": 10.0, "pamr": 30.0}})])
    assert chart.stages == ("encode", "pamr", "decode")
    assert [part[2] for part in chart.bars[0].parts] == pytest.approx([1 / 3, 1 / 6])
    assert sum(part[2] for part in chart.bars[1].parts) == pytest.approx(1)
