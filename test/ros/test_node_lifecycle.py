"""The node's lifecycle, driven from outside: what each transition brings, takes and forbids."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from checkpoints import save_clip
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_driver import Lifecycle
from node_in_process import hold, node_in_process
from ros_harness import (
    BEST_EFFORT,
    FRAME_ID,
    LATCHED,
    NodeProcess,
    Probe,
    domain_for,
    picture,
    probe_fixture,
    stamp_of,
    stated,
    verdict,
)
from sclip_seg_ros.msg import SegmentationStatus, Vocabulary
from sensor_msgs.msg import Image

from sclip_seg_ros.segmentation.pipeline import Pipeline

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall", "ball"]
LABEL = "/sclip_seg/label"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    log = tmp_path_factory.mktemp("node") / "log.txt"
    node = NodeProcess(DOMAIN, log, {"classes": CLASSES, "short_side": 64, "threads": 1,
                                     "autostart": False})
    yield node
    node.kill()


probe = probe_fixture(DOMAIN)


@pytest.fixture
def lifecycle(probe):
    return Lifecycle(probe)


@pytest.fixture
def change(probe, lifecycle):
    """Set parameters of the unconfigured node; they go back at the end of the test."""
    former: dict[str, object] = {}

    def change(**values) -> None:
        lifecycle.bring_to("unconfigured")
        former.update({name: probe.get_parameter(name) for name in values})
        answer = probe.set_parameters(atomically=True, **values)
        assert answer.successful, answer.reason

    yield change
    lifecycle.bring_to("unconfigured")
    assert probe.set_parameters(atomically=True, **former).successful


def health(probe: Probe, word: str) -> dict[str, str]:
    """Wait for diagnostics with a verdict; return their values."""
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        probe.wait(lambda: verdict(diagnostics) == word, f"the verdict '{word}'")
        return stated(diagnostics[-1].status[0])


def label_something(probe: Probe, topic: str = LABEL) -> Image:
    """Send images until one is labelled; return its labels."""
    with probe.listening(Image, topic) as labels:
        sent = probe.feed_until(lambda: labels, "a label", picture)
        assert stamp_of(labels[-1]) in sent
        return labels[-1]


def error_lines(node: NodeProcess) -> list[str]:
    return [line for line in node.log.splitlines() if "[ERROR]" in line]


def test_without_autostart_the_node_waits_and_says_so(probe, lifecycle):
    """Must stay the first test of this file: nothing has been configured yet."""
    assert lifecycle.state == "unconfigured"
    health(probe, "not configured")
    assert probe.node.count_publishers(LABEL) == 0
    assert probe.node.count_subscribers("/image_raw") == 0


def test_configure_creates_the_outputs_and_activate_labels(probe, lifecycle):
    lifecycle.bring_to("unconfigured")
    assert lifecycle.change("configure")
    assert lifecycle.state == "inactive"
    probe.wait(lambda: probe.node.count_publishers(LABEL) == 1, "the label topic")
    assert probe.node.count_subscribers("/image_raw") == 0
    values = health(probe, "inactive")
    assert (values["classes"], values["frames received"]) == ("3", "0")
    assert lifecycle.change("activate")
    assert lifecycle.state == "active"
    assert label_something(probe).header.frame_id == FRAME_ID


def test_an_inactive_node_neither_counts_nor_labels_images(probe, lifecycle):
    lifecycle.bring_to("active")
    label_something(probe)
    assert lifecycle.change("deactivate")
    before = health(probe, "inactive")
    camera = probe.node.create_publisher(Image, "/image_raw", BEST_EFFORT)
    with probe.listening(Image, LABEL) as labels:
        for _ in range(10):
            camera.publish(picture())
            probe.spin(0.1)
        after = health(probe, "inactive")
        assert labels == []
    assert {key: after[key] for key in after if key.startswith("frames ")} \
        == {key: before[key] for key in before if key.startswith("frames ")}
    assert lifecycle.change("activate")
    label_something(probe)


def test_words_changed_while_inactive_hold_from_the_first_label_on(probe, lifecycle):
    lifecycle.bring_to("inactive")
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies:
        assert probe.set_parameters(classes=["cup", "box"]).successful
        lifecycle.bring_to("active")
        probe.wait(lambda: vocabularies and [entry.name for entry in vocabularies[-1].classes]
                   == ["cup", "box"], "the new words")
    assert max(label_something(probe).data) in (0, 1)
    assert probe.set_parameters(classes=CLASSES).successful


def test_words_in_work_survive_deactivation_and_activation(node, probe, lifecycle):
    """The weights move between devices while words are being encoded with them."""
    lifecycle.bring_to("active")
    words = [f"thing number {index}" for index in range(120)]
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies:
        assert probe.set_parameters(classes=words).successful
        for _ in range(3):
            assert lifecycle.change("deactivate")
            assert lifecycle.change("activate")
        probe.wait(lambda: vocabularies and len(vocabularies[-1].classes) == len(words),
                   "the new words")
    label_something(probe)
    assert "refused" not in node.log
    assert probe.set_parameters(classes=CLASSES).successful


def test_cleanup_takes_the_outputs_down_and_forgets_the_weights(probe, lifecycle, change,
                                                                tmp_path):
    """Resident memory falls by most of what the weights, 170 MB here, had taken."""
    change(model=save_clip(tmp_path, layers=6))
    lifecycle.bring_to("inactive")
    loaded = int(health(probe, "inactive")["memory MB"])
    assert lifecycle.change("cleanup")
    probe.wait(lambda: probe.node.count_publishers(LABEL) == 0, "the end of the label topic")
    cleaned = int(health(probe, "not configured")["memory MB"])
    assert loaded - cleaned > 100


def test_a_configured_node_keeps_what_it_was_configured_with(probe, lifecycle):
    lifecycle.bring_to("inactive")
    answer = probe.set_parameters(image_topics=["/other/image"])
    assert not answer.successful
    assert "deactivate and clean up the node" in answer.reason


def test_what_was_changed_while_unconfigured_holds_from_configure_on(probe, lifecycle, change,
                                                                     tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("cone\nbottle, flask\n")
    change(vocabulary_file=str(file), image_topics=["/other/image"], classes=CLASSES)
    lifecycle.bring_to("active")
    assert probe.node.count_subscribers("/image_raw") == 0
    with Probe(DOMAIN, "/other/image") as other:
        assert max(label_something(other).data) in (0, 1)
    assert probe.get_parameter("classes") == ["cone", "bottle|flask"]


@pytest.mark.parametrize("values, complaint", [
    ({"model": "ViT-B/32", "pretrained": "/no/such/weights.pt"}, "weights.pt' does not exist"),
    ({"vocabulary_file": "/no/such/words.txt"}, "/no/such/words.txt"),
    ({"quality_ladder": "/no/such/ladder.yaml"}, "/no/such/ladder.yaml"),
    ({"model": "ViT-Z/99"}, "is unknown; choose 'embedded'"),
    ({"classes": ["floor", " ".join(["chair"] * 42)]}, "use fewer words"),
    ({"vocabulary_file": "cityscapes.txt", "background": "door"}, "background 'door' is none of"),
    ({"latency_budget_ms": 3000.0, "crop": 160}, "quality level 'no-overlap' does not fit"),
], ids=["weights", "vocabulary file", "ladder", "model", "words", "background", "crop"])
def test_a_configure_that_fails_says_why_once_and_may_be_tried_again(
        node, probe, lifecycle, change, values, complaint):
    former = {name: probe.get_parameter(name) for name in values}
    change(**values)
    lines = len(error_lines(node))
    assert not lifecycle.change("configure")
    assert lifecycle.state == "unconfigured"
    assert len(error_lines(node)) == lines + 1
    assert complaint in error_lines(node)[-1]
    assert "[FATAL]" not in node.log, "nothing has ended"
    assert probe.node.count_publishers(LABEL) == 0
    assert probe.set_parameters(atomically=True, **former).successful
    assert lifecycle.change("configure")


def test_words_in_a_file_that_cannot_be_used_fail_the_configure(node, lifecycle, change, tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("".join(f"thing {index}\n" for index in range(300)))
    change(vocabulary_file=str(file))
    assert not lifecycle.change("configure")
    assert "300 classes do not fit" in error_lines(node)[-1]


def test_five_rounds_of_the_lifecycle_leave_nothing_behind(node, probe, lifecycle):
    """Neither threads nor open files nor outputs add up."""
    def census() -> tuple[int, int]:
        process = Path(f"/proc/{node.process.pid}")
        return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))

    lifecycle.bring_to("active")
    lifecycle.bring_to("unconfigured")
    before = census()
    for _ in range(5):
        lifecycle.bring_to("active")
        lifecycle.bring_to("unconfigured")
    probe.wait(lambda: census() <= before, f"as few threads and files as {before}")
    assert probe.node.count_publishers("/sclip_seg/vocabulary") == 0
    lifecycle.bring_to("active")
    label_something(probe)
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        probe.feed_until(lambda: statuses, "a status", picture)
        assert statuses[-1].vocabulary_version > 6, "no version comes twice"


def test_shutdown_stops_the_work_and_leaves_the_process_to_its_signal(node, probe, lifecycle):
    """Must stay the last test of this file: no transition leads back."""
    lifecycle.bring_to("active")
    label_something(probe)
    assert lifecycle.change("shutdown")
    assert lifecycle.state == "finalized"
    health(probe, "shut down")
    probe.wait(lambda: probe.node.count_publishers(LABEL) == 0, "the end of the label topic")
    assert probe.node.count_subscribers("/image_raw") == 0
    assert node.process.poll() is None
    assert node.stop(signal.SIGTERM, 10.0) == 0
    assert "Traceback" not in node.log


@pytest.mark.pain(7)
def test_services_are_answered_while_a_frame_is_in_work(monkeypatch):
    """Labelling has its own thread; the executor stays free, and is single-threaded."""
    domain = domain_for("a frame in work")
    with Probe(domain) as probe, node_in_process(domain, classes=CLASSES, lazy=False):
        lifecycle = Lifecycle(probe)
        lifecycle.bring_to("active")
        stuck, go_on = hold(monkeypatch, Pipeline, "label")
        try:
            probe.feed_until(stuck.is_set, "a frame in work", picture)
            assert probe.set_parameters(overlay_alpha=0.25).successful
            assert not probe.set_parameters(classes=[]).successful
            assert probe.get_parameter("overlay_alpha") == 0.25
            assert lifecycle.state == "active"
            assert not go_on.is_set()
        finally:
            go_on.set()
