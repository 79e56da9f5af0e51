"""Memory that runs out and exceptions at every stage of a frame: told, survived, harming no other.

The node is a real one, in this process; one function of one stage raises.
"""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_driver import Lifecycle
from node_in_process import node_in_process
from right_labels import SHORT_SIDE, expect_right_labels, names_in_force
from ros_harness import (
    LATCHED,
    Probe,
    by_stamp,
    counting,
    domain_for,
    picture,
    probe_fixture,
    ran,
    verdict,
)
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus, Vocabulary
from sensor_msgs.msg import Image

from sclip_seg_ros.ros.cameras import outputs as publishers
from sclip_seg_ros.ros.frames import pipeline, upsampler_check
from sclip_seg_ros.ros.frames.vocabulary_server import VocabularyServer
from sclip_seg_ros.segmentation import SegmentorSettings
from sclip_seg_ros.segmentation.pipeline import Pipeline, features
from sclip_seg_ros.segmentation.pipeline import pipeline as segmentation_pipeline
from sclip_seg_ros.segmentation.refinement import pamr
from sclip_seg_ros.segmentation.refinement.dense_crf import dense_crf
from sclip_seg_ros.segmentation.scores import labelling, window_batches
from sclip_seg_ros.segmentation.scores.scoring import WindowScorer
from sclip_seg_ros.segmentation.text.encoder import TextEncoder
from sclip_seg_ros.segmentation.upsamplers import UPSAMPLERS

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall", "ball"]
OUTPUTS = {"label": Image, "confidence": Image, "overlay": Image,
           "class_confidence": ClassConfidenceArray, "probabilities": Image}
# Where each stage can be made to fail, and a parameter that switches it on.
STAGES = {
    "convert": (pipeline, "to_rgb", ""),
    "preprocess": (segmentation_pipeline, "to_tensor", ""),
    "shrink": (features, "resize", ""),
    "windows": (window_batches, "cut", ""),
    "features": (WindowScorer, "dense", ""),
    "similarity": (WindowScorer, "compare", ""),
    "stitch": (window_batches, "stitch", ""),
    "pamr": (pamr, "pamr", "use_pamr"),
    "densecrf": (dense_crf, "dense_crf", "use_densecrf"),
    "decode": (labelling, "decode", ""),
    "statistics": (segmentation_pipeline, "summarise", ""),
    "label message": (publishers, "to_message", ""),
    "overlay": (publishers, "overlay_of", ""),
    "summary": (publishers, "class_confidence_message", ""),
    "probabilities": (publishers, "probabilities_message", ""),
    "vocabulary message": (publishers.Outputs, "announce", ""),
    "level": (pipeline.QualityControl, "begin", ""),
}
ERRORS = {"out of memory": torch.cuda.OutOfMemoryError("CUDA out of memory"),
          "exception": RuntimeError("out of order")}


@pytest.fixture(scope="module")
def node():
    # Every stage runs on every frame; a tower that no frame waits for is test_node_time's.
    with node_in_process(DOMAIN, classes=CLASSES, short_side=SHORT_SIDE,
                         **{"crf.iterations": 1, "temporal.enabled": False}) as node:
        assert node.start()
        yield node


probe = probe_fixture(DOMAIN)


def raising(error: Exception):
    def fail(*arguments, **keywords):
        fail.times += 1
        raise error

    fail.times = 0
    return fail


def accounted_for(status: SegmentationStatus) -> bool:
    return status.frames_received == sum(
        getattr(status, f"frames_{fate}")
        for fate in ("labelled", "dropped", "rejected", "failed", "skipped"))


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_fails_costs_its_frame_alone(node, probe, monkeypatch, stage, kind):
    owner, name, switch = STAGES[stage]
    if switch:
        assert probe.set_parameters(**{switch: True}).successful
    received: dict[str, list] = {}
    for topic, message in OUTPUTS.items():
        received[topic] = []
        probe.node.create_subscription(message, f"/sclip_seg/{topic}", received[topic].append, 50)
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        probe.feed_until(lambda: statuses and all(received.values()), "all outputs", picture)
        if switch:
            probe.feed_until(lambda: ran(statuses, switch.removeprefix("use_")), stage, picture)
        before = statuses[-1].frames_failed
        with monkeypatch.context() as patch:
            raised = raising(ERRORS[kind])
            patch.setattr(owner, name, raised)
            probe.feed_until(lambda: raised.times, "a failed frame", picture)
        labelled = statuses[-1].frames_labelled
        good = probe.feed_until(lambda: statuses[-1].frames_labelled > labelled + 2,
                                "good frames", picture)
        assert good
        assert statuses[-1].frames_failed > before
        assert type(ERRORS[kind]).__name__ in statuses[-1].last_error
        assert str(ERRORS[kind]) in statuses[-1].last_error
        probe.wait(lambda: accounted_for(statuses[-1]), "one fate, and only one, for each frame")
    if switch:
        assert probe.set_parameters(**{switch: getattr(SegmentorSettings(), switch)}).successful
    expect_right_labels(probe, CLASSES)


def test_frames_that_fail_are_an_error_until_one_does_not(node, probe, monkeypatch):
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics, \
            probe.listening(Image, "/sclip_seg/label"):
        with monkeypatch.context() as patch:
            patch.setattr(labelling, "decode", raising(ERRORS["out of memory"]))
            probe.feed_until(lambda: verdict(diagnostics) == "failing", "an error", picture)
            assert diagnostics[-1].status[0].level == DiagnosticStatus.ERROR
            assert "frames fail: OutOfMemoryError" in diagnostics[-1].status[0].message
        probe.feed_until(lambda: diagnostics[-1].status[0].level != DiagnosticStatus.ERROR,
                         "better news", picture)


def test_trouble_while_no_frame_comes_costs_none(node, probe, monkeypatch):
    with counting(probe) as counts:
        before = counts()
        with monkeypatch.context() as patch:
            patch.setattr(publishers.Outputs, "announce", raising(RuntimeError("nobody listens")))
            probe.wait(lambda: "nobody listens" in counts()["last error"], "a note")
        assert counts()["frames failed"] == before["frames failed"]
        assert counts()["verdict"] != "failing"
    expect_right_labels(probe, CLASSES)


def test_a_warm_up_that_fails_is_told_of_and_not_tried_again(node, probe, monkeypatch):
    tried, rounds = [], []
    adopt = VocabularyServer.adopt

    def fail(self, *arguments):
        tried.append(self.settings)
        raise ERRORS["out of memory"]

    def count(self):
        rounds.append(len(tried))
        return adopt(self)

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "warm_up", fail)
        patch.setattr(VocabularyServer, "adopt", count)
        with counting(probe) as counts:
            before = counts()["frames failed"]
        assert probe.set_parameters(latency_budget_ms=60000.0).successful
        probe.wait(lambda: tried, "the warm-up")
        known = len(rounds)
        probe.wait(lambda: len(rounds) > known + 4, "what comes after it")
    assert len(set(rounds[-4:])) == 1 and len(tried) == len(set(tried)), "each level once"
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        probe.feed_until(lambda: statuses and statuses[-1].latency_budget_ms == 60000.0,
                         "frames under the budget", picture)
        assert statuses[-1].frames_failed == int(before)
        assert "no quality level could be measured: OutOfMemoryError" in statuses[-1].last_error
    assert probe.set_parameters(latency_budget_ms=0.0).successful
    expect_right_labels(probe, CLASSES)


def test_words_that_run_out_of_memory_half_way_leave_the_former_working(node, probe, monkeypatch):
    encode, encoded = TextEncoder._encode, []

    def run_out(self, word, prompts):
        encoded.append(word)
        if len(encoded) == 3:
            raise ERRORS["out of memory"]
        return encode(self, word, prompts)

    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        probe.wait(lambda: names_in_force(vocabularies) == CLASSES, "the words")
        with monkeypatch.context() as patch:
            patch.setattr(TextEncoder, "_encode", run_out)
            assert probe.set_parameters(classes=[f"quite new {n}" for n in range(6)]).successful
            probe.feed_until(lambda: statuses and "vocabulary refused" in statuses[-1].last_error,
                             "the refusal", picture)
            assert "OutOfMemoryError" in statuses[-1].last_error
        probe.wait(lambda: probe.get_parameter("classes") == CLASSES, "the former words")
        assert names_in_force(vocabularies) == CLASSES
    expect_right_labels(probe, CLASSES)


def test_a_stage_that_cannot_be_prepared_is_refused_whatever_it_raises(node, probe, monkeypatch):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        with monkeypatch.context() as patch:
            patch.setitem(UPSAMPLERS, "loftup", replace(UPSAMPLERS["loftup"],
                                                        load=raising(ERRORS["out of memory"])))
            assert probe.set_parameters(use_loftup=True).successful
            probe.feed_until(lambda: statuses and "settings refused" in statuses[-1].last_error,
                             "the refusal", picture)
        probe.wait(lambda: probe.get_parameter("use_loftup") is False, "the former value")
    expect_right_labels(probe, CLASSES)


def test_a_look_at_a_doubtful_upsampler_that_fails_costs_no_frame(node, probe, monkeypatch):
    monkeypatch.setattr(Pipeline, "departures", ("trained on other features",))
    monkeypatch.setattr(upsampler_check, "check_one", raising(ERRORS["out of memory"]))
    expect_right_labels(probe, CLASSES)


def test_two_cameras_survive_a_batch_too_large_for_the_memory(monkeypatch):
    """Each frame is tried alone, once the memory of the failed attempt has been let go."""
    domain = domain_for("two cameras")
    read = Pipeline.read
    attempts: list[weakref.ref] = []

    def read_one(self, images, *arguments):
        assert all(attempt() is None for attempt in attempts), "memory is still held"
        if len(images) > 1:
            activations = np.zeros(1000)
            attempts.append(weakref.ref(activations))
            raise torch.cuda.OutOfMemoryError(f"CUDA out of memory for {len(images)} images")
        return read(self, images, *arguments)

    cameras = ["/front/image", "/rear/image"]
    with Probe(domain, cameras[0]) as probe, \
            node_in_process(domain, classes=CLASSES, image_topics=cameras):
        rear = probe.node.create_publisher(Image, cameras[1], 1)
        Lifecycle(probe).bring_to("active")
        monkeypatch.setattr(Pipeline, "read", read_one)
        with probe.listening(Image, "/sclip_seg/front/label") as fronts, \
                probe.listening(Image, "/sclip_seg/rear/label") as rears, \
                probe.listening(SegmentationStatus, "/sclip_seg/front/status") as statuses:
            def picture_for_both() -> Image:
                message = picture()
                message.header.stamp = probe.node.get_clock().now().to_msg()
                rear.publish(message)
                return message

            probe.feed_until(lambda: attempts and len(fronts) > 4 and len(rears) > 4,
                             "labels of both", picture_for_both, 60.0)
            assert set(by_stamp(fronts)) & set(by_stamp(statuses))
            assert statuses[-1].frames_failed == 0
