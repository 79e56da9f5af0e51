"""The ten things that people ask of segmentation nodes again and again, each shown here.

They come from the issue trackers of such nodes: names that are wrong after a change of words,
words nobody knows how to give, old frames, quality of service that does not match, interpreters
that lack torch, cv_bridge, slow executors, stamps of now, masks that do not lie on the image, and
topics remapped past each other.
"""

from __future__ import annotations

import array
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_driver import Lifecycle
from node_in_process import hold, node_in_process
from rcl_interfaces.srv import DescribeParameters
from right_labels import SHORT_SIDE, expect_right_labels
from ros_harness import (
    BEST_EFFORT,
    FRAME_ID,
    LATCHED,
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
)
from sclip_seg_ros.msg import ClassConfidenceArray, Vocabulary
from sensor_msgs.msg import Image

from sclip_seg_ros.segmentation import SCLIPSegmentor

DOMAIN = domain_for(__file__)
CLASSES = ["floor", "wall", "ball"]
CAMERA = "/robot/front/image"


node = node_fixture(DOMAIN, {"classes": CLASSES, "short_side": SHORT_SIDE, "threads": 1},
                    {"image_raw": CAMERA})
probe = probe_fixture(DOMAIN, CAMERA)


def test_pain_1_names_are_right_after_the_words_changed(probe):
    """Pain 1: a label image is told apart by version, and its names precede it."""
    with probe.listening(Vocabulary, "/sclip_seg/vocabulary", LATCHED) as vocabularies, \
            probe.listening(ClassConfidenceArray, "/sclip_seg/class_confidence") as summaries:
        for classes in (["ball", "floor"], CLASSES):
            assert probe.set_parameters(classes=classes).successful
            probe.feed_until(lambda wanted=classes: summaries and wanted == [
                entry.class_name for entry in summaries[-1].classes], "the new names", picture)
            names = {message.version: [entry.name for entry in message.classes]
                     for message in vocabularies}
            for summary in summaries:
                assert [entry.class_name for entry in summary.classes] \
                    == names[summary.vocabulary_version]


def test_pain_2_the_parameter_itself_says_how_to_give_classes(probe):
    """Pain 2: `ros2 param describe` and every refusal tell; a list and one text will both do."""
    answer = probe.call(DescribeParameters, "/sclip_seg/describe_parameters",
                        DescribeParameters.Request(names=["classes"]))
    assert "'person|pedestrian'" in answer.descriptors[0].description
    for classes in (["floor", "person|pedestrian"], "floor,person|pedestrian"):
        assert probe.set_parameters(classes=classes).successful
    refusal = probe.set_parameters(classes=7)
    assert not refusal.successful and "give e.g. ['floor', 'wall']" in refusal.reason
    assert probe.set_parameters(classes=CLASSES).successful


def test_pain_3_the_frame_labelled_is_the_newest(probe):
    """Pain 3: of a burst, the last frame is labelled, however slow the model is."""
    with probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: labels, "a label", picture)
        for _ in range(40):
            last = probe.publish(picture())
        probe.wait(lambda: last in by_stamp(labels), "the newest frame's label")
        assert len(labels) < 40


def test_pain_4_either_quality_of_service_works_at_either_end(node):
    """Pain 4: reliable and best-effort cameras and consumers are all served."""
    for offered in (RELIABLE, BEST_EFFORT):
        with Probe(DOMAIN, CAMERA, qos=offered) as camera, \
                camera.listening(Image, "/sclip_seg/label", RELIABLE) as reliable, \
                camera.listening(Image, "/sclip_seg/label", BEST_EFFORT) as best_effort:
            camera.feed_until(lambda a=reliable, b=best_effort: a and b, "labels at both",
                              picture)


def test_pain_5_the_installed_program_runs_in_the_active_environment():
    """Pain 5: no interpreter is fixed in it, so that a virtual environment's torch is found."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    programs = [path for prefix in prefixes
                if (path := Path(prefix, "lib/sclip_seg_ros/segment_node")).is_file()]
    if not programs:
        pytest.skip("the package is not installed by colcon; run the tests with `make test`")
    assert programs[0].read_text().splitlines()[0] == "#!/usr/bin/env python3"


def test_pain_6_neither_cv_bridge_nor_an_old_numpy_is_needed():
    """Pain 6: the node imports where cv_bridge cannot, on whatever NumPy is installed."""
    script = ("import sys; sys.modules['cv_bridge'] = None\n"
              "import sclip_seg_ros.ros.segmentation_node, sclip_seg_ros.ros.images\n"
              "print('imported')")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                            check=False, timeout=300)
    assert result.stdout.strip() == "imported", result.stderr


def test_pain_7_services_are_answered_while_a_frame_is_in_work(monkeypatch):
    """Pain 7: labelling has its own thread; the executor stays free, and is single-threaded."""
    domain = domain_for("pain 7")
    with Probe(domain) as probe, node_in_process(domain, classes=CLASSES, lazy=False):
        lifecycle = Lifecycle(probe)
        lifecycle.bring_to("active")
        stuck, go_on = hold(monkeypatch, SCLIPSegmentor, "predict_batch")
        try:
            probe.feed_until(stuck.is_set, "a frame in work", picture)
            assert probe.set_parameters(overlay_alpha=0.25).successful
            assert not probe.set_parameters(classes=[]).successful
            assert probe.get_parameter("overlay_alpha") == 0.25
            assert lifecycle.state == "active"
            assert not go_on.is_set()
        finally:
            go_on.set()


def test_pain_8_stamp_and_frame_are_the_images_own(probe):
    """Pain 8: not the time of publishing, so that a transform can be looked up."""
    long_ago = 1_000_000_007
    with probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: labels, "a label", picture)
        probe.spin(0.3)
        stamp = probe.publish(picture(), stamp=long_ago)
        probe.wait(lambda: stamp in by_stamp(labels), "its label")
        assert by_stamp(labels)[long_ago].header.frame_id == FRAME_ID


def test_pain_9_the_mask_lies_on_the_image(probe):
    """Pain 9: of the camera's size, every class where the image has it, upside down included."""
    image = picture(161, 119, seed=3)
    turned = picture(161, 119, seed=3)
    pixels = np.ascontiguousarray(pixels_of(image)[::-1])
    turned.data = array.array("B", pixels.tobytes())
    alone = SCLIPSegmentor(device="auto", short_side=SHORT_SIDE)
    with probe.listening(Image, "/sclip_seg/label") as labels:
        for message in (image, turned):
            begin = probe.node.get_clock().now().nanoseconds
            probe.feed_until(lambda since=begin: labels and stamp_of(labels[-1]) > since,
                             "a label", lambda sent=message: sent)
            assert (labels[-1].width, labels[-1].height, labels[-1].step) == (161, 119, 161)
            np.testing.assert_array_equal(pixels_of(labels[-1]),
                                          alone.segment(pixels_of(message), CLASSES))


def test_pain_10_the_start_tells_the_names_after_remapping(node, probe):
    """Pain 10: one line a camera, from the topic subscribed to, to those published."""
    assert f"{CAMERA} -> /sclip_seg/label" in node.log
    probe.wait(lambda: probe.node.count_subscribers(CAMERA) == 1, "the subscription")
    expect_right_labels(probe, CLASSES)


def test_pain_10_a_name_without_images_is_told(tmp_path):
    """Pain 10: where a remapping misses the camera, log and diagnostics name the topic in use."""
    domain = domain_for("pain 10")
    with running_node(domain, tmp_path / "log.txt", {"classes": CLASSES, "short_side": 64},
                      {"sclip_seg/image_raw": "/camera/image"}) as node, \
            Probe(domain, "/camera/image") as probe, \
            probe.listening(DiagnosticArray, "/diagnostics") as diagnostics, \
            probe.listening(Image, "/sclip_seg/label"):
        probe.wait(lambda: diagnostics and "no image has arrived on /image_raw yet"
                   in diagnostics[-1].status[0].message, "the warning")
        assert "/image_raw -> /sclip_seg/label" in node.log
