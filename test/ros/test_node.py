"""A real node in its own process: what it publishes, to whom, with whose header."""

from __future__ import annotations

import array
import math

import cv2
import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import (
    BEST_EFFORT,
    FRAME_ID,
    LATCHED,
    MODEL,
    RELIABLE,
    Probe,
    by_stamp,
    domain_for,
    node_fixture,
    picture,
    pixels_of,
    probe_fixture,
    running_node,
    stamp_of,
    stated,
    verdict,
)
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus, Vocabulary
from sensor_msgs.msg import CompressedImage, Image

from sclip_seg_ros.common.cores import default_threads
from sclip_seg_ros.models import fast_precision
from sclip_seg_ros.segmentation import SCLIPSegmentor

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall", "red ball|sphere", "box"]


node = node_fixture(DOMAIN, {"classes": CLASSES, "short_side": 112, "threads": 1})
probe = probe_fixture(DOMAIN)


@pytest.fixture
def without_time(probe):
    """Every frame is labelled alone."""
    assert probe.set_parameters(**{"temporal.enabled": False}).successful
    yield
    assert probe.set_parameters(**{"temporal.enabled": True}).successful


def stages_of(status: SegmentationStatus) -> list[str]:
    return [entry.stage for entry in status.stages]


@pytest.mark.pain(8)
def test_all_outputs_carry_the_images_own_header_and_size(probe):
    with probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(Image, "/sclip_seg/confidence") as confidences, \
            probe.listening(Image, "/sclip_seg/overlay") as overlays, \
            probe.listening(ClassConfidenceArray, "/sclip_seg/class_confidence") as summaries, \
            probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        everything = (labels, confidences, overlays, summaries, statuses)

        def complete() -> set[int]:
            return set.intersection(*(set(by_stamp(messages)) for messages in everything))

        sent = probe.feed_until(lambda: len(complete()) >= 3, "all outputs of three frames",
                                lambda: picture(150, 110))
        for messages in everything:
            assert {stamp_of(message) for message in messages} <= set(sent)
            assert {message.header.frame_id for message in messages} == {FRAME_ID}
        for stamp in complete():
            label, confidence = by_stamp(labels)[stamp], by_stamp(confidences)[stamp]
            overlay, summary = by_stamp(overlays)[stamp], by_stamp(summaries)[stamp]
            for image, encoding, step in ((label, "mono8", 150), (confidence, "mono8", 150),
                                          (overlay, "rgb8", 450)):
                assert (image.width, image.height) == (150, 110)
                assert (image.encoding, image.step, len(image.data)) == (encoding, step, step * 110)
            check_summary(summary, pixels_of(label), pixels_of(confidence))


def check_summary(summary: ClassConfidenceArray, labels: np.ndarray,
                  confidence: np.ndarray) -> None:
    """Compare a summary with what the two images say."""
    assert [entry.class_name for entry in summary.classes] == ["floor", "wall", "red ball", "box"]
    assert set(np.unique(labels)) <= {0, 1, 2, 3, 255}
    for index, entry in enumerate(summary.classes):
        mine = labels == index
        assert entry.class_id == index
        assert entry.coverage == pytest.approx(mine.mean(), abs=1e-5)
        expected = confidence[mine].mean() / 255 if mine.any() else 0.0
        assert entry.mean_confidence == pytest.approx(expected, abs=1e-3)
    assert summary.unlabelled_coverage == pytest.approx((labels == 255).mean(), abs=1e-5)


@pytest.mark.pain(4)
def test_reliable_and_best_effort_subscribers_get_the_same_labels(probe):
    with probe.listening(Image, "/sclip_seg/label") as reliable, \
            probe.listening(Image, "/sclip_seg/label", BEST_EFFORT) as best_effort:
        def common() -> set[int]:
            return set(by_stamp(reliable)) & set(by_stamp(best_effort))

        probe.feed_until(lambda: len(common()) >= 3, "labels at both", picture)
        for stamp in common():
            assert by_stamp(reliable)[stamp].data == by_stamp(best_effort)[stamp].data


@pytest.mark.pain(4)
def test_either_quality_of_service_works_at_either_end(node):
    """Reliable and best-effort cameras and consumers are all served."""
    for offered in (RELIABLE, BEST_EFFORT):
        with Probe(DOMAIN, qos=offered) as camera, \
                camera.listening(Image, "/sclip_seg/label", RELIABLE) as reliable, \
                camera.listening(Image, "/sclip_seg/label", BEST_EFFORT) as best_effort:
            camera.feed_until(lambda a=reliable, b=best_effort: a and b, "labels at both",
                              picture)


@pytest.mark.pain(9)
def test_the_mask_lies_on_the_image(probe, without_time):
    """Of the camera's size, every class where the image has it, upside down included."""
    image = picture(161, 119, seed=3)
    turned = picture(161, 119, seed=3)
    pixels = np.ascontiguousarray(pixels_of(image)[::-1])
    turned.data = array.array("B", pixels.tobytes())
    alone = SCLIPSegmentor(device="auto", short_side=112)
    with probe.listening(Image, "/sclip_seg/label") as labels:
        for message in (image, turned):
            begin = probe.node.get_clock().now().nanoseconds
            probe.feed_until(lambda since=begin: labels and stamp_of(labels[-1]) > since,
                             "a label", lambda sent=message: sent)
            assert (labels[-1].width, labels[-1].height, labels[-1].step) == (161, 119, 161)
            np.testing.assert_array_equal(pixels_of(labels[-1]),
                                          alone.segment(pixels_of(message), CLASSES))


@pytest.mark.pain(10)
def test_a_name_without_images_is_told(tmp_path):
    """Where a remapping misses the camera, log and diagnostics name the topic in use."""
    domain = domain_for("a name without images")
    with running_node(domain, tmp_path / "log.txt", {"classes": CLASSES, "short_side": 64},
                      {"sclip_seg/image_raw": "/camera/image"}) as node, \
            Probe(domain, "/camera/image") as probe, \
            probe.listening(DiagnosticArray, "/diagnostics") as diagnostics, \
            probe.listening(Image, "/sclip_seg/label"):
        probe.wait(lambda: verdict(diagnostics) == "waiting", "the warning")
        assert "no image has arrived on /image_raw yet" in diagnostics[-1].status[0].message
        assert "/image_raw -> /sclip_seg/label" in node.log
        inference = stated(diagnostics[-1].status[0])["inference"]
        assert inference.endswith("at short side 64") and inference in node.log


def test_status_tells_model_times_and_counts(probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        probe.feed_until(lambda: len(statuses) >= 3, "three statuses", picture)
    last, device = statuses[-1], "cuda:0" if torch.cuda.is_available() else "cpu"
    assert last.model and last.device == device
    assert last.precision == fast_precision(torch.device(device))
    assert last.attention == "sclip", "what auto is for the embedded model"
    assert stages_of(last)[:2] == ["wait", "convert"] and "publish" in stages_of(last)
    own = [entry.ms for entry in last.stages if not entry.stage.startswith("tower ")]
    assert 0 < sum(own) <= last.total_ms <= last.age_ms
    assert last.frames_labelled + last.frames_dropped + last.frames_rejected \
        + last.frames_failed + last.frames_skipped <= last.frames_received
    assert last.frames_labelled > statuses[0].frames_labelled
    assert (last.frames_rejected, last.frames_failed, last.last_error) == (0, 0, "")
    assert list(last.fallbacks) == []


def test_age_is_missing_when_the_clocks_do_not_fit(probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        probe.feed_until(lambda: statuses, "a status", picture)
        assert statuses[-1].age_ms > 0
        old = probe.publish(picture(), stamp=10**18)  # the year 2001, as from an old bag
        probe.wait(lambda: old in by_stamp(statuses), "the status of the old frame")
    assert math.isnan(by_stamp(statuses)[old].age_ms)


def test_overlay_and_probabilities_are_made_only_while_somebody_listens(probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        def newest_has(*stages: str) -> bool:
            return bool(statuses) and all(stage in stages_of(statuses[-1]) for stage in stages)

        def newest_lacks(*stages: str) -> bool:
            return bool(statuses) and not any(s in stages_of(statuses[-1]) for s in stages)

        probe.feed_until(lambda: newest_lacks("overlay", "probabilities"), "a plain frame", picture)
        with probe.listening(Image, "/sclip_seg/overlay"), \
                probe.listening(Image, "/sclip_seg/probabilities"):
            probe.feed_until(lambda: newest_has("overlay", "probabilities"), "both", picture)
        probe.feed_until(lambda: newest_lacks("overlay", "probabilities"), "a plain frame", picture)


def test_probabilities_of_all_classes_come_on_a_small_grid(probe):
    with probe.listening(Image, "/sclip_seg/probabilities") as images:
        probe.feed_until(lambda: images, "probabilities", lambda: picture(160, 120))
    image = images[-1]
    assert image.encoding == "8UC4"
    assert (image.width, image.height, image.step) == (18, 14, 72)
    assert pixels_of(image).sum(axis=2).max() <= 257


def test_nothing_is_computed_while_nobody_listens(probe):
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics:
        def value(key: str) -> int:
            return int(stated(diagnostics[-1].status[0])[key]) if diagnostics else 0

        skipped = value("frames skipped")
        probe.feed_until(lambda: value("frames skipped") >= skipped + 3, "skipped frames", picture)
        labelled = value("frames labelled")
        probe.feed_until(lambda: value("frames skipped") >= skipped + 10, "skipped frames", picture)
        assert value("frames labelled") == labelled
        assert verdict(diagnostics) == "idle"
        with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
            probe.feed_until(lambda: statuses, "a status", picture)
        assert statuses[-1].frames_skipped >= skipped + 10

        assert probe.set_parameters(lazy=False).successful
        probe.feed_until(lambda: value("frames labelled") > labelled, "frames labelled unasked",
                         picture)
        assert probe.set_parameters(lazy=True).successful


def test_diagnostics_tell_state_rates_and_latencies(probe):
    with probe.listening(DiagnosticArray, "/diagnostics") as diagnostics, \
            probe.listening(Image, "/sclip_seg/label"):
        def newest() -> DiagnosticStatus:
            return diagnostics[-1].status[0]

        probe.feed_until(lambda: verdict(diagnostics) == "labelling"
                         and "total ms p50/p95/max" in stated(newest()), "a verdict", picture)
        values = stated(newest())
        assert newest().level == DiagnosticStatus.OK
        assert float(values["images per second"]) > 0
        median, high, most = map(float, values["total ms p50/p95/max"].split(" / "))
        assert 0 < median <= high <= most
        assert values["classes"] == "4"

        probe.wait(lambda: verdict(diagnostics) == "silent", "a warning of silence")
        assert newest().level == DiagnosticStatus.WARN
        assert "no image on /image_raw" in newest().message


@pytest.mark.pain(3)
def test_the_newest_frame_wins_and_every_other_is_counted(probe, without_time):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        sent = probe.feed_until(lambda: statuses, "a first status", picture)
        probe.wait(lambda: stamp_of(statuses[-1]) == sent[-1], "the end of the first frames")
        before = statuses[-1]
        for _ in range(30):
            last = probe.publish(picture())
            probe.spin(0.005)
        probe.wait(lambda: stamp_of(statuses[-1]) == last, "the status of the newest frame")
        after = statuses[-1]
    taken = after.frames_labelled - before.frames_labelled
    dropped = after.frames_dropped - before.frames_dropped
    assert dropped > 0
    assert taken + dropped == after.frames_received - before.frames_received

def test_thresholds_change_between_two_frames(probe):
    with probe.listening(Image, "/sclip_seg/label") as labels, \
            probe.listening(Image, "/sclip_seg/overlay") as overlays:
        assert probe.set_parameters(probability_threshold=1.0).successful
        sample = picture()
        probe.feed_until(lambda: labels and overlays and (pixels_of(labels[-1]) == 255).all()
                         and stamp_of(overlays[-1]) == stamp_of(labels[-1]),
                         "unlabelled frames", lambda: sample)
        np.testing.assert_array_equal(pixels_of(overlays[-1]), pixels_of(sample))
        assert probe.set_parameters(probability_threshold=0.0).successful
        probe.feed_until(lambda: (pixels_of(labels[-1]) != 255).all(), "labelled frames", picture)


def test_a_missed_budget_is_told(probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        for budget, missed in ((0.01, True), (60000.0, False), (0.0, False)):
            assert probe.set_parameters(latency_budget_ms=budget).successful
            probe.feed_until(lambda value=budget: statuses
                             and statuses[-1].latency_budget_ms == pytest.approx(value),
                             "the new budget", picture)
            assert statuses[-1].budget_missed is missed


@pytest.mark.parametrize("name, value, reason", [
    ("attention", "telepathy", "choose one of sclip"),
    ("stride", 4000, "stride must be 8 to 224, got 4000"),
    ("short_side", 1, "short_side must be 16 to 4096, or 0"), ("short_side", -1, "out of range"),
    ("model", "ViT-B/16", "clean up the node"),
    ("logit_scale", "much", "is not a number; give 0.0 to 1000.0"),
    ("pamr.dilations", [], "name at least one"),
    ("overlay_alpha", 2.0, "out of range"),
])
def test_settings_that_cannot_work_are_refused_with_a_reason(probe, name, value, reason):
    before = probe.get_parameter(name)
    answer = probe.set_parameters(**{name: value})
    assert not answer.successful
    assert reason in answer.reason
    assert probe.get_parameter(name) == before


def test_stages_can_be_switched_while_running(probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        assert probe.set_parameters(use_pamr=False).successful
        probe.feed_until(lambda: statuses
                         and {"encode", "tower encode"} & {*stages_of(statuses[-1])}
                         and not {"pamr", "tower pamr"} & {*stages_of(statuses[-1])},
                         "no PAMR", picture)
        assert probe.set_parameters(use_pamr=True).successful
        before = len(statuses)
        probe.feed_until(lambda: any({"pamr", "tower pamr"} & {*stages_of(status)}
                                     for status in statuses[before:]), "PAMR", picture)


@pytest.mark.pain(4)
def test_a_reliable_camera_is_subscribed_to_reliably(node):
    """Without that, a frame of this size would hardly ever come through between processes."""
    with Probe(DOMAIN, qos=QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)) as probe:
        def policies() -> list[ReliabilityPolicy]:
            return [info.qos_profile.reliability
                    for info in probe.node.get_subscriptions_info_by_topic("/image_raw")]

        probe.wait(lambda: policies() == [ReliabilityPolicy.RELIABLE], "a reliable subscription")
        with probe.listening(Image, "/sclip_seg/label") as labels:
            probe.feed_until(lambda: len(labels) >= 2, "labels", lambda: picture(1280, 720), 4.0)
            assert (labels[-1].width, labels[-1].height) == (1280, 720)
            with Probe(DOMAIN) as other:
                probe.wait(lambda: policies() == [ReliabilityPolicy.BEST_EFFORT],
                           "a subscription that fits both cameras")
                other.feed_until(lambda: probe.spin(0.05) or labels[-1].width == 64, "its labels",
                                 lambda: picture(64, 48))
            probe.wait(lambda: policies() == [ReliabilityPolicy.RELIABLE],
                       "a reliable subscription again")
            before = len(labels)
            probe.feed_until(lambda: len(labels) > before, "labels again",
                             lambda: picture(1280, 720), 4.0)


@pytest.mark.pain(10)
def test_start_is_told_with_resolved_names(node):
    assert "/image_raw -> /sclip_seg/label" in node.log
    assert "4 classes" in node.log


def test_a_number_may_be_given_without_decimals(probe):
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        assert probe.set_parameters(latency_budget_ms=50000).successful
        probe.feed_until(lambda: statuses and statuses[-1].latency_budget_ms == 50000.0,
                         "the new budget", picture)
        assert probe.set_parameters(latency_budget_ms=0).successful


def test_torch_computes_with_as_many_threads_as_asked_for(node):
    assert "CPU threads: 1 " in node.log


def test_warnings_of_the_core_reach_the_nodes_log(node, probe):
    if MODEL != "embedded":
        pytest.skip("only the embedded model knows which words it has never seen")
    assert probe.set_parameters(classes=[*CLASSES, "quokka"]).successful
    node.wait_for("quokka")
    [line] = [line for line in node.log.splitlines() if "quokka" in line]
    assert "[WARN]" in line and "[sclip_seg]" in line
    assert probe.set_parameters(classes=CLASSES).successful


def test_compressed_images_and_remapped_names(tmp_path):
    parameters = {"classes": CLASSES, "short_side": 112, "image_transport": "compressed",
                  "misspelt_name": 1}
    names = {"image_raw": "/front/image", "__node": "eyes", "__ns": "/robot"}
    with running_node(DOMAIN, tmp_path / "log.txt", parameters, names) as node:
        assert "'misspelt_name' does not exist" in node.log
        with Probe(DOMAIN, "/front/image/compressed", CompressedImage) as probe:
            with probe.listening(Image, "/robot/eyes/label") as labels, \
                    probe.listening(Vocabulary, "/robot/eyes/vocabulary", LATCHED) as vocabularies:
                probe.feed_until(lambda: labels and vocabularies, "labels of JPEG images",
                                 lambda: jpeg(picture(128, 96)))
            assert (labels[0].width, labels[0].height) == (128, 96)
            assert labels[0].header.frame_id == FRAME_ID


def jpeg(message: Image) -> CompressedImage:
    data = cv2.imencode(".jpg", pixels_of(message)[..., ::-1])[1]
    return CompressedImage(format="jpeg", data=array.array("B", data.tobytes()))


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (3, 2), (8, 7)])
def test_a_core_is_left_free_where_that_does_not_halve_the_speed(cores, threads):
    assert default_threads(cores) == threads
