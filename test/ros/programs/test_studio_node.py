"""The studio beside a real node: its results on the page, its parameters changed from there."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros_harness import NodeProcess, Probe, domain_for, running_node
from sensor_msgs.msg import Image
from studio_harness import browsing, page_of, room, serving, until, wait_until

from sclip_seg_ros.ros.parameters.declarations import DECLARATIONS
from sclip_seg_ros.ros.programs.studio.bench import NodeBench, kept_ids
from sclip_seg_ros.studio.choices.choices import Refusal, declared_settings
from sclip_seg_ros.studio.desk import Desk

DOMAIN = domain_for(__file__)
WORDS = ["floor", "wall", "table"]
PARAMETERS = {"classes": WORDS, "inference": "whole", "short_side": 224, "autostart": True}


class Camera(threading.Thread):
    """A camera in a thread of its own, at ten frames a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()

    def run(self) -> None:
        pixels = room(2)
        with Probe(DOMAIN) as probe:
            while not self._ended.wait(0.1):
                message = Image(width=320, height=240, encoding="rgb8", step=960)
                message.data.frombytes(np.ascontiguousarray(pixels).tobytes())
                if probe._camera.get_subscription_count():
                    probe.publish(message)

    def stop(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture(scope="module")
def browser():
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def camera():
    camera = Camera()
    camera.start()
    yield camera
    camera.stop()


@pytest.fixture
def bench():
    """A bench, not started, whose node an executor serves."""
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = Node("studio", context=context, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    found = NodeBench(node, "/sclip_seg")
    spinning.start()
    yield found
    found.close()
    executor.shutdown()
    rclpy.shutdown(context=context)
    spinning.join()
    node.destroy_node()


@pytest.fixture
def node(tmp_path):
    with running_node(DOMAIN, tmp_path / "log.txt", PARAMETERS) as node:
        yield node


@pytest.fixture
def desk(node, camera, bench):
    desk = Desk(bench, bench.read())
    bench.on_adopted = desk.adopt
    bench.start()
    return desk


def test_the_nodes_labels_are_on_the_page_and_its_words_change_from_there(browser, desk):
    with serving(desk) as served, page_of(browser, served.url) as page:
        until(page, "document.body.dataset.serial")
        assert [chip.get_attribute("data-name") for chip in page.locator(".chip").all()] == WORDS
        assert np.array_equal(desk.shown.labelled.frame.image, room(2))
        assert desk.shown.labelled.names == tuple(WORDS)
        page.keyboard.press("/")
        page.keyboard.type("bowl|cup")
        page.keyboard.press("Enter")
        page.wait_for_selector("table.legend tr[data-name=bowl]")
        # A first frame may have no evidence for the new words yet.
        wait_until(lambda: (desk.shown.labelled.labels == 3).mean() > 0.01)
        assert desk.bench.read().classes == (*WORDS, "bowl|cup")
        page.keyboard.press("Escape")
        box = page.locator("#stage canvas").bounding_box()
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.9 * box["height"])
        until(page, "document.querySelector('#under li span')?.innerText === 'floor'")
        told = page.locator(".status").inner_text()
        for name in ("rate", "vocabulary version", "quality level", "evidence age", "dropped",
                     "behind the camera"):
            assert name in told
        page.locator("#stage").focus()
        page.keyboard.press("Control+z")
        wait_until(lambda: desk.shown.labelled.names == tuple(WORDS))


def test_a_refusal_of_the_node_stands_at_its_field(browser, desk):
    before = desk.choices
    with serving(desk) as served, page_of(browser, served.url) as page:
        page.get_by_role("tab", name="Settings").click()
        page.locator("details[data-section=Features] summary").click()
        field = page.locator("[id='set-short_side']")
        field.fill("16")  # within its range, but no picture of that size holds a patch and more
        field.press("Enter")
        until(page, "document.getElementById('set-short_side-error').textContent || "
                    "document.getElementById('set-short_side').value === '16'")
        long_word = "very " * 60 + "red ball"
        page.locator("#add").fill(long_word)
        page.locator("#add").press("Enter")
        until(page, "document.getElementById('words-error').textContent.length > 20")
        assert desk.choices.classes == before.classes
        assert desk.bench.read().classes == before.classes


def test_what_others_set_is_taken_over_and_can_be_undone(desk):
    with Probe(DOMAIN, camera="/unused") as probe:
        answer = probe.set_parameters(classes=["floor", "lamp"], probability_threshold=0.25)
        assert answer.successful
    wait_until(lambda: desk.choices.classes == ("floor", "lamp"))
    assert wait_until(lambda: desk.choices.settings.probability_threshold == 0.25)
    while desk.choices.classes != tuple(WORDS):
        desk.do({"do": "undo"})
    wait_until(lambda: desk.bench.read().classes == tuple(WORDS))


def test_a_synonym_changes_no_published_id(desk):
    ids = [7, 3, 5][:len(WORDS)]
    with Probe(DOMAIN, camera="/unused") as probe:
        assert probe.set_parameters(class_ids=ids).successful

    def published():
        return list(desk.bench._parameters.read(["class_ids"])["class_ids"])

    wait_until(lambda: desk.bench._values.get("class_ids"))
    desk.do({"do": "rename", "name": "floor", "text": "floor|carpet"})
    assert wait_until(lambda: desk.bench.read().classes[0] == "floor|carpet")
    assert published() == ids
    desk.do({"do": "undo"})
    assert wait_until(lambda: desk.bench.read().classes == tuple(WORDS))
    assert published() == ids


def test_a_node_that_begins_anew_goes_on_under_the_open_page(browser, camera, bench, tmp_path):
    first = NodeProcess(DOMAIN, tmp_path / "first.txt", PARAMETERS)
    try:
        first.wait_for("ready")
        desk = Desk(bench, bench.read())
        bench.on_adopted = desk.adopt
        bench.start()
        with serving(desk) as served, page_of(browser, served.url) as page:
            until(page, "document.body.dataset.serial")
            first.stop()
            until(page, "document.getElementById('picture-error').textContent"
                        ".includes('does not answer')")
            changed = {**PARAMETERS, "classes": ["floor", "chair"]}
            with running_node(DOMAIN, tmp_path / "second.txt", changed):
                page.wait_for_selector("#chips [data-name=chair]")
                page.wait_for_selector("table.legend tr[data-name=chair]")
                until(page, "document.getElementById('picture-error').textContent === ''")
    finally:
        first.kill()


def test_nobody_looks_nothing_is_subscribed(browser, desk):
    def listeners() -> int:
        return desk.bench._node.count_subscribers("/sclip_seg/probabilities")

    wait_until(lambda: desk.bench.sources)
    assert listeners() == 0
    with serving(desk) as served:
        with page_of(browser, served.url):
            wait_until(lambda: listeners() == 1)
        wait_until(lambda: listeners() == 0)


def test_what_a_node_cannot_show_is_refused(desk):
    with pytest.raises(Refusal, match="no picture yet"):
        desk.do({"do": "point", "x": 1, "y": 1, "word": "floor"})
    with pytest.raises(Refusal, match="labels its cameras alone"):
        desk.send("x", room(2))


def test_every_setting_of_the_page_is_a_parameter_of_the_node():
    assert declared_settings().keys() <= DECLARATIONS.keys()


def test_classes_keep_the_ids_that_consumers_know():
    assert kept_ids(["floor", "wall"], [7, 3], ["wall", "lamp", "floor"], 0) == [3, 1, 7]
    assert kept_ids(["a"], [0], ["b", "a", "c"], 255) == [1, 0, 2]


def test_a_node_that_is_not_there_is_told_in_one_line(capsys):
    from sclip_seg_ros.ros.programs.studio.command import main
    assert main(["/nobody", "--port", "0", "--timeout", "3",
                 "--ros-args", "--log-level", "warn"]) == 1
    said = capsys.readouterr()
    told = said.err
    assert said.out.endswith("; waiting up to 3 s for it ...\n") and said.out.count("\n") == 1
    assert told.startswith("studio: '/nobody' does not answer") and told.count("\n") == 1
