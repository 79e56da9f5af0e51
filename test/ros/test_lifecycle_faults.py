"""Transitions that meet trouble: memory that runs out, frames and words that take too long."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_driver import Lifecycle
from node_in_process import PATIENCE, hold, node_in_process
from ros_harness import LATCHED, Probe, counting, domain_for, picture, verdict
from sclip_seg_ros.msg import Vocabulary
from sensor_msgs.msg import Image

from sclip_seg_ros.models.clip import EMBEDDED_FOLDER
from sclip_seg_ros.ros import engine as engine_module
from sclip_seg_ros.ros import segmentation_node
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.pipeline import Pipeline
from sclip_seg_ros.segmentation.text.encoder import TextEncoder

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


def test_a_configured_node_holds_none_of_its_devices_memory(node, lifecycle, monkeypatch):
    """On a GPU; here the weights must have been released, and come back with the activation."""
    moves = []
    for name in ("release", "restore"):
        original = getattr(SCLIPSegmentor, name)
        monkeypatch.setattr(SCLIPSegmentor, name, lambda self, name=name, original=original:
                            (moves.append(name), original(self)))
    lifecycle.bring_to("inactive")
    assert moves == ["release"]
    lifecycle.bring_to("active")
    assert moves == ["release", "restore"]


def out_of_memory(*arguments, **keywords):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def segmentors() -> set[int]:
    """Return the identities of all segmentors in this process, whether in use or forgotten."""
    return {id(thing) for thing in gc.get_objects() if type(thing) is SCLIPSegmentor}


def label_something(probe: Probe) -> None:
    with probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: labels, "a label", picture)


def test_cleanup_lets_go_of_the_model_and_its_threads(node, probe, lifecycle):
    lifecycle.bring_to("unconfigured")
    others = segmentors()
    lifecycle.bring_to("active")
    label_something(probe)
    assert segmentors() - others
    lifecycle.bring_to("unconfigured")
    assert segmentors() <= others
    assert {"frames", "vocabulary"}.isdisjoint(thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("stage", ["loading", "words", "outputs", "freeing the device"])
def test_a_configure_that_runs_out_of_memory_says_so_and_may_be_tried_again(
        node, probe, lifecycle, stage, monkeypatch, capfd):
    where = {"loading": (engine_module, "_load"), "words": (SCLIPSegmentor, "vocabulary"),
             "outputs": (engine_module, "Camera"),
             "freeing the device": (SCLIPSegmentor, "release")}
    others = segmentors()
    with monkeypatch.context() as patch:
        patch.setattr(*where[stage], out_of_memory)
        assert not lifecycle.change("configure")
    assert lifecycle.state == "unconfigured"
    said = capfd.readouterr().err.splitlines()
    assert not [line for line in said if "[FATAL]" in line], "it may be tried again"
    lines = [line for line in said if "[ERROR]" in line]
    assert len(lines) == 1 and "OutOfMemoryError: CUDA out of memory" in lines[0]
    assert "vocabulary" not in [thread.name for thread in threading.enumerate()]
    assert probe.node.count_publishers("/sclip_seg/label") == 0
    assert segmentors() <= others, "its weights would be in the way of the next attempt"
    lifecycle.bring_to("active")
    label_something(probe)


@pytest.mark.parametrize(("owner", "method"), [(SCLIPSegmentor, "restore"), (Pipeline, "predict")])
def test_an_activation_that_runs_out_of_memory_leaves_the_node_inactive(
        node, probe, lifecycle, owner, method, monkeypatch, capfd):
    """With a budget, activation runs every quality level; here the device has no room for it."""
    assert probe.set_parameters(latency_budget_ms=1000.0).successful
    lifecycle.bring_to("inactive")
    released = []
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, out_of_memory)
        patch.setattr(SCLIPSegmentor, "release", lambda self: released.append(self))
        assert not lifecycle.change("activate")
    assert lifecycle.state == "inactive"
    assert released
    assert "OutOfMemoryError: CUDA out of memory" in capfd.readouterr().err
    assert probe.node.count_subscribers("/image_raw") == 0
    lifecycle.bring_to("active")
    label_something(probe)


@pytest.mark.parametrize("transition", ["activate", "deactivate"])
def test_a_broken_device_is_told_and_the_node_may_be_configured_anew(
        node, probe, lifecycle, transition, monkeypatch, capfd):
    """After some errors of CUDA every further call fails, that which frees the memory too."""
    def broken(*arguments, **keywords):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    lifecycle.bring_to("inactive" if transition == "activate" else "active")
    with monkeypatch.context() as patch:
        patch.setattr(SCLIPSegmentor, "release", broken)
        patch.setattr(SCLIPSegmentor, "restore", broken)
        assert not lifecycle.change(transition)
    assert "RuntimeError: CUDA error: an illegal memory access" in capfd.readouterr().err
    assert lifecycle.state == "unconfigured"
    assert probe.node.count_publishers("/sclip_seg/label") == 0
    assert {"frames", "vocabulary"}.isdisjoint(thread.name for thread in threading.enumerate())
    lifecycle.bring_to("active")
    label_something(probe)
    assert probe.node.count_publishers("/sclip_seg/label") == 1


def test_a_frame_that_waits_when_the_node_is_deactivated_counts_as_dropped(
        node, probe, lifecycle, monkeypatch):
    lifecycle.bring_to("active")
    label_something(probe)
    stuck, go_on = hold(monkeypatch, Pipeline, "label")
    probe.feed_until(stuck.is_set, "a frame in work", picture)
    with counting(probe) as counts:
        received = int(counts()["frames received"])
        probe.feed_until(lambda: int(counts()["frames received"]) > received,
                         "a frame behind it", picture)
        threading.Timer(1.0, go_on.set).start()
        assert lifecycle.change("deactivate")
        probe.wait(lambda: counts()["verdict"] == "inactive", "diagnostics at rest")
        now = {fate: int(counts()[f"frames {fate}"]) for fate in (
            "received", "labelled", "dropped", "rejected", "failed", "skipped")}
    assert now["dropped"]
    assert now.pop("received") == sum(now.values())


def test_a_node_being_deactivated_is_not_reported_as_broken(node, probe, lifecycle, monkeypatch):
    """Its frame thread ends first; what follows may take seconds, on a word being encoded, say."""
    lifecycle.bring_to("active")
    label_something(probe)
    releasing, go_on = hold(monkeypatch, SCLIPSegmentor, "release")
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        change = threading.Thread(target=node.trigger_deactivate)
        change.start()
        assert releasing.wait(PATIENCE)
        heard = len(diagnostics)
        probe.wait(lambda: len(diagnostics) > heard + 1, "diagnostics meanwhile")
        go_on.set()
        change.join(PATIENCE)
        assert {message.status[0].level for message in diagnostics[heard:]} \
            == {DiagnosticStatus.OK}
        assert verdict(diagnostics) == "being deactivated"


def test_a_stuck_frame_fails_the_deactivation_and_the_node_works_on_after_it(
        node, probe, lifecycle, monkeypatch):
    monkeypatch.setattr(segmentation_node, "DEACTIVATE_SECONDS", 0.2)
    monkeypatch.setattr("sclip_seg_ros.ros.diagnostics.verdict.STUCK_SECONDS", 0.5)
    lifecycle.bring_to("active")
    label_something(probe)
    stuck, go_on = hold(monkeypatch, Pipeline, "label")
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        probe.feed_until(stuck.is_set, "a stuck frame", picture)
        assert not lifecycle.change("deactivate")
        assert lifecycle.state == "active"
        probe.wait(lambda: verdict(diagnostics) == "stuck", "diagnostics of a stuck device")
        assert diagnostics[-1].status[0].level == DiagnosticStatus.WARN
    go_on.set()
    label_something(probe)
    monkeypatch.setattr(segmentation_node, "DEACTIVATE_SECONDS", PATIENCE)
    assert lifecycle.change("deactivate")
    assert probe.node.count_subscribers("/image_raw") == 0
    lifecycle.bring_to("active")
    label_something(probe)


def test_a_cleanup_that_a_stuck_word_fails_loses_neither_that_word_nor_later_ones(
        node, probe, lifecycle, monkeypatch):
    lifecycle.bring_to("inactive")
    stuck, go_on = hold(monkeypatch, TextEncoder, "_encode")
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies:
        def wait_for(*words: str) -> None:
            probe.wait(lambda: vocabularies and tuple(
                entry.name for entry in vocabularies[-1].classes) == words, f"the words {words}")

        assert probe.set_parameters(classes=["zebra", "giraffe"]).successful
        assert stuck.wait(PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(segmentation_node, "DEACTIVATE_SECONDS", 0.2)
            assert not lifecycle.change("cleanup")
        assert lifecycle.state == "inactive"
        go_on.set()
        lifecycle.bring_to("active")
        wait_for("zebra", "giraffe")
        assert probe.set_parameters(classes=["cup", "box"]).successful
        wait_for("cup", "box")
    lifecycle.bring_to("unconfigured")


def test_a_frame_that_failed_is_forgotten_with_the_next_activation(node, probe, lifecycle,
                                                                   monkeypatch):
    monkeypatch.setattr("sclip_seg_ros.ros.diagnostics.verdict.RECENT_SECONDS", PATIENCE)
    lifecycle.bring_to("active")
    with counting(probe) as counts:
        with monkeypatch.context() as patch:
            patch.setattr(Pipeline, "label", out_of_memory)
            probe.feed_until(lambda: int(counts().get("frames failed", 0)), "a failed frame",
                             picture)
        probe.wait(lambda: counts()["verdict"] == "failing", "the error")
        lifecycle.bring_to("inactive")
        lifecycle.bring_to("active")
        probe.wait(lambda: counts()["verdict"] == "recent error", "the warning")
        assert "OutOfMemoryError" in counts()["last error"]


def test_a_check_of_an_upsampler_that_fails_costs_no_frame(node, probe, lifecycle,
                                                           monkeypatch, capfd):
    def fail(*arguments):
        raise RuntimeError("no room for two forwards")

    monkeypatch.setattr("sclip_seg_ros.ros.frames.upsampler_check.UpsamplerCheck.look", fail)
    lifecycle.bring_to("active")
    label_something(probe)
    lifecycle.bring_to("inactive")
    with counting(probe) as counts:
        found = counts()
    assert int(found["frames labelled"]) and not int(found["frames failed"])
    said = capfd.readouterr().err
    assert "the upsampler could not be checked" in said and "RuntimeError: no room for two" in said


def test_a_shutdown_gives_the_memory_back_and_is_told(node, probe, lifecycle, monkeypatch):
    lifecycle.bring_to("active")
    label_something(probe)
    released, release = [], SCLIPSegmentor.release
    monkeypatch.setattr(SCLIPSegmentor, "release",
                        lambda self: (released.append(True), release(self)))
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        assert lifecycle.change("shutdown")
        assert lifecycle.state == "finalized"
        probe.wait(lambda: verdict(diagnostics) == "shut down",
                   "diagnostics of a node that is shut down")
    assert released
    assert {"frames", "vocabulary"}.isdisjoint(thread.name for thread in threading.enumerate())


def test_a_shutdown_that_a_stuck_frame_prevents_is_told_as_such(node, probe, lifecycle,
                                                               monkeypatch, capfd):
    monkeypatch.setattr(segmentation_node, "DEACTIVATE_SECONDS", 0.2)
    lifecycle.bring_to("active")
    stuck, go_on = hold(monkeypatch, Pipeline, "label")
    probe.feed_until(stuck.is_set, "a stuck frame", picture)
    lifecycle.change("shutdown")
    assert "is still being worked on after 0.2 s; end the process" in capfd.readouterr().err
    assert probe.node.count_subscribers("/image_raw") == 0
    go_on.set()


def test_weights_do_not_move_while_a_word_is_encoded(node, probe, lifecycle, monkeypatch):
    """A word whose weights leave for another device half-way would be refused."""
    lifecycle.bring_to("active")
    encoding, go_on, events = threading.Event(), threading.Event(), []
    encode, release = TextEncoder._encode, SCLIPSegmentor.release

    def slow(self, word, prompts):
        events.append("word begins")
        encoding.set()
        go_on.wait(PATIENCE)
        result = encode(self, word, prompts)
        events.append("word ends")
        return result

    def move(self):
        events.append("weights leave")
        release(self)

    monkeypatch.setattr(TextEncoder, "_encode", slow)
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
    encoded = []
    first, go_on, encode = threading.Event(), threading.Event(), TextEncoder._encode

    def slow(self, word, prompts):
        encoded.append(word)
        first.set()
        go_on.wait(PATIENCE)
        return encode(self, word, prompts)

    monkeypatch.setattr(TextEncoder, "_encode", slow)
    assert probe.set_parameters(classes=[f"thing {index}" for index in range(200)]).successful
    assert first.wait(PATIENCE)
    threading.Timer(0.5, go_on.set).start()
    lifecycle.bring_to("unconfigured")
    assert len(encoded) < 200


def on_gpu() -> tuple[int, int]:
    """Return the bytes of a GPU's memory that tensors take, and that torch holds for them."""
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()  # CUDA's own, which stay until the process ends
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_deactivation_gives_the_devices_memory_back(domain, probe, lifecycle):
    others, all_of_them = on_gpu()  # other tests'
    with node_in_process(domain, classes=CLASSES, lazy=False, device="cuda"):
        lifecycle.bring_to("active")
        label_something(probe)
        weights = EMBEDDED_FOLDER / "open_clip_model.safetensors"   # float16, and held in more
        assert torch.cuda.memory_allocated() - others >= weights.stat().st_size
        lifecycle.bring_to("inactive")
        taken, held = on_gpu()
        assert taken <= others
        assert held <= all_of_them
        lifecycle.bring_to("active")
        label_something(probe)
