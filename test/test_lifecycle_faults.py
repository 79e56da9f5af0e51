"""Transitions that meet trouble: memory that runs out, frames and words that take too long."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_driver import Lifecycle
from node_in_process import PATIENCE, node_in_process
from ros_harness import LATCHED, Probe, domain_for, picture
from sclip_seg_ros.msg import Vocabulary
from sensor_msgs.msg import Image

from sclip_seg_ros.ros import engine as engine_module
from sclip_seg_ros.ros import segmentation_node
from sclip_seg_ros.segmentation import SCLIPSegmentor

CLASSES = ["floor", "wall", "ball"]


@pytest.fixture
def domain(request):
    """A domain of each test's own: a call might be sent to the node of the test before."""
    return domain_for(request.node.name)


@pytest.fixture
def probe(domain):
    with Probe(domain) as probe:
        yield probe


@pytest.fixture
def lifecycle(probe):
    return Lifecycle(probe)


@pytest.fixture
def node(domain, probe):
    with node_in_process(domain, classes=CLASSES, lazy=False) as node:
        yield node


def out_of_memory(*arguments, **keywords):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def label_something(probe: Probe) -> None:
    with probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: labels, "a label", picture)


def test_cleanup_lets_go_of_the_model_and_its_threads(node, probe, lifecycle):
    lifecycle.bring_to("active")
    label_something(probe)
    model = weakref.ref(node._engine.segmentor)
    lifecycle.bring_to("unconfigured")
    assert model() is None
    assert {"frames", "vocabulary"}.isdisjoint(thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("stage", ["loading", "words", "outputs"])
def test_a_configure_that_runs_out_of_memory_says_so_and_may_be_tried_again(
        node, probe, lifecycle, stage, monkeypatch, capfd):
    where = {"loading": (engine_module, "_load"), "words": (SCLIPSegmentor, "vocabulary"),
             "outputs": (engine_module, "Camera")}
    with monkeypatch.context() as patch:
        patch.setattr(*where[stage], out_of_memory)
        assert not lifecycle.change("configure")
    assert lifecycle.state == "unconfigured"
    lines = [line for line in capfd.readouterr().err.splitlines() if "[FATAL]" in line]
    assert len(lines) == 1 and "OutOfMemoryError: CUDA out of memory" in lines[0]
    assert "vocabulary" not in [thread.name for thread in threading.enumerate()]
    lifecycle.bring_to("active")
    label_something(probe)


@pytest.mark.parametrize("method", ["restore", "predict_batch"])
def test_an_activation_that_runs_out_of_memory_leaves_the_node_inactive(
        node, probe, lifecycle, method, monkeypatch, capfd):
    """With a budget, activation runs every quality level; here the device has no room for it."""
    assert probe.set_parameters(latency_budget_ms=1000.0).successful
    lifecycle.bring_to("inactive")
    released = []
    with monkeypatch.context() as patch:
        patch.setattr(SCLIPSegmentor, method, out_of_memory)
        patch.setattr(SCLIPSegmentor, "release", lambda self: released.append(self))
        assert not lifecycle.change("activate")
    assert lifecycle.state == "inactive"
    assert released
    assert "OutOfMemoryError: CUDA out of memory" in capfd.readouterr().err
    assert probe.node.count_subscribers("/image_raw") == 0
    lifecycle.bring_to("active")
    label_something(probe)


def test_a_stuck_frame_fails_the_deactivation_which_may_be_tried_again(
        node, probe, lifecycle, monkeypatch):
    monkeypatch.setattr(segmentation_node, "DEACTIVATE_SECONDS", 0.2)
    monkeypatch.setattr("sclip_seg_ros.ros.health.STUCK_SECONDS", 0.5)
    lifecycle.bring_to("active")
    label_something(probe)
    stuck, go_on = threading.Event(), threading.Event()
    predict = SCLIPSegmentor.predict_batch

    def hang(self, *arguments):
        stuck.set()
        go_on.wait(PATIENCE)
        return predict(self, *arguments)

    monkeypatch.setattr(SCLIPSegmentor, "predict_batch", hang)
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        probe.feed_until(stuck.is_set, "a stuck frame", picture)
        assert not lifecycle.change("deactivate")
        assert lifecycle.state == "active"
        probe.wait(lambda: diagnostics and "one frame has taken"
                   in diagnostics[-1].status[0].message, "diagnostics of a stuck device")
        assert diagnostics[-1].status[0].level == DiagnosticStatus.WARN
    go_on.set()
    probe.wait(lambda: lifecycle.change("deactivate"), "the deactivation")
    monkeypatch.setattr(SCLIPSegmentor, "predict_batch", predict)
    lifecycle.bring_to("active")
    label_something(probe)


def test_weights_do_not_move_while_a_word_is_encoded(node, probe, lifecycle, monkeypatch):
    """A word whose weights leave for another device half-way would be refused."""
    lifecycle.bring_to("active")
    encoding, go_on, events = threading.Event(), threading.Event(), []
    encode, release = node._engine.segmentor.text._encode, SCLIPSegmentor.release

    def slow(word, prompts):
        events.append("word begins")
        encoding.set()
        go_on.wait(PATIENCE)
        result = encode(word, prompts)
        events.append("word ends")
        return result

    def move(self):
        events.append("weights leave")
        release(self)

    monkeypatch.setattr(node._engine.segmentor.text, "_encode", slow)
    monkeypatch.setattr(SCLIPSegmentor, "release", move)
    words = ["bottle", "cup", "cone"]
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies:
        assert probe.set_parameters(classes=words).successful
        assert encoding.wait(PATIENCE)
        threading.Timer(1.0, go_on.set).start()
        assert lifecycle.change("deactivate")
        assert lifecycle.change("activate")
        probe.wait(lambda: vocabularies and [entry.name for entry in vocabularies[-1].classes]
                   == words, "the new words")
    assert "weights leave" in events
    for first, second in zip(events, events[1:], strict=False):
        assert (first, second) != ("word begins", "weights leave")
    label_something(probe)


def test_cleanup_does_not_wait_for_words_that_nobody_will_use(node, probe, lifecycle, monkeypatch):
    lifecycle.bring_to("active")
    text, encoded = node._engine.segmentor.text, []
    first, go_on, encode = threading.Event(), threading.Event(), text._encode

    def slow(word, prompts):
        encoded.append(word)
        first.set()
        go_on.wait(PATIENCE)
        return encode(word, prompts)

    monkeypatch.setattr(text, "_encode", slow)
    assert probe.set_parameters(classes=[f"thing {index}" for index in range(200)]).successful
    assert first.wait(PATIENCE)
    threading.Timer(0.5, go_on.set).start()
    lifecycle.bring_to("unconfigured")
    assert len(encoded) < 200


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_deactivation_gives_the_devices_memory_back(domain, probe, lifecycle):
    with node_in_process(domain, classes=CLASSES, lazy=False, device="cuda") as node:
        lifecycle.bring_to("active")
        label_something(probe)
        held = torch.cuda.memory_reserved()
        weights = sum(parameter.numel() * parameter.element_size()
                      for parameter in node._engine.segmentor._clip.model.parameters())
        assert held >= weights
        lifecycle.bring_to("inactive")
        gc.collect()
        assert torch.cuda.memory_allocated() == 0
        assert torch.cuda.memory_reserved() == 0
        lifecycle.bring_to("active")
        label_something(probe)
