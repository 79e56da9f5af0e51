"""The soak: what it calls growth and loss, and a short one of the real node.

The node is soaked for 14 seconds, or for a minute with SCLIP_LONG_TESTS=1; `make soak` is the
long form.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak.process_sampler import ProcessSampler, Sample
from benchmarks.soak.trend import fit
from benchmarks.soak.verdict import summarise, table

SECONDS = 60 if os.environ.get("SCLIP_LONG_TESTS") == "1" else 14
LEAK = """
import threading, time
kept = []
while True:
    kept.append((bytearray(b"x" * 2_000_000), open("/dev/null"),
                 threading.Thread(target=time.sleep, args=(99,), daemon=True)))
    kept[-1][2].start()
    time.sleep(0.05)
"""


def counts(**changes) -> dict:
    frames = {"received": 100, "labelled": 60, "dropped": 40, "rejected": 0, "failed": 0,
              "skipped": 0, **{key: changes.pop(key) for key in
                               ("received", "labelled", "dropped", "failed") if key in changes}}
    return {"sent": 100, "labels_heard": 60, "strange_labels": 0, "size_changes": 9,
            "refused_changes": 0, "vocabulary_versions": 5, "level_changes": 4,
            "budget_misses": 3, "last_error": "", "frames": frames, **changes}


def samples(memory=lambda t: 500.0, files=lambda t: 20, threads=lambda t: 9) -> list[Sample]:
    noise = np.random.default_rng(0).normal(0, 3, 600)
    return [Sample(float(t), memory(t) + noise[t], 300 + noise[t] / 2, files(t), threads(t))
            for t in range(600)]


def test_a_line_is_found_again():
    seconds = np.arange(0, 300, 1.0)
    noise = np.random.default_rng(1).normal(0, 2, 300)
    trend = fit(seconds, 100 + 6 * seconds / 60 + noise)
    assert trend.slope == pytest.approx(6, abs=4 * trend.error)
    assert trend.error == pytest.approx(2 / np.sqrt(300) / (300 / 60 / np.sqrt(12)), rel=0.3)
    assert trend.grows(more_than=10) and not trend.grows(more_than=40)


def test_noise_that_lingers_is_no_growth():
    """A walk that forgets has slopes; an error that takes samples for independent calls them so."""
    found = 0
    for seed in range(100):
        generator, walk = np.random.default_rng(seed), [0.0]
        for _ in range(399):
            walk.append(0.9 * walk[-1] + generator.normal())
        trend = fit(range(400), walk)
        found += trend.grows(0.0)
    assert found <= 2


def test_few_measurements_are_refused():
    with pytest.raises(ValueError, match="3 measurements show no trend"):
        fit([0, 1, 2], [1, 2, 3])


def test_a_steady_node_passes_and_its_books_are_printed():
    summary = summarise(samples(), counts())
    assert summary["faults"] == []
    text = table(summary)
    assert "100 sent, 100 received = 60 labelled, 40 dropped" in text
    assert "3 standard errors" in text


def test_a_short_soak_is_judged_by_its_second_half():
    """A round of all words, sizes and budgets takes 20 seconds."""
    short = samples(memory=lambda t: 500 + 3 * min(t, 18))[:41]
    assert summarise(short, counts())["faults"] == []
    assert summarise(short, counts())["warm_up_seconds"] == 20


def test_what_a_cache_takes_during_the_warm_up_is_no_growth():
    assert summarise(samples(memory=lambda t: 500 + min(t, 120)), counts())["faults"] == []


@pytest.mark.parametrize("grown, complaint", [
    ({"memory": lambda t: 500 + t * 2 / 60}, "resident memory grows by"),
    ({"files": lambda t: 20 + t // 60}, "open files grow by"),
    ({"threads": lambda t: 9 + (t > 500)}, "threads were left behind: 9 after the warm-up, 10"),
], ids=["memory", "files", "threads"])
def test_growth_is_a_fault(grown, complaint):
    [fault] = summarise(samples(**grown), counts())["faults"]
    assert complaint in fault


@pytest.mark.parametrize("books, complaint", [
    ({"sent": 101}, "101 frames were sent and 100 received"),
    ({"dropped": 39}, "100 frames were received and 99 accounted for"),
    ({"labels_heard": 59}, "60 frames were labelled and 59 labels heard"),
    ({"failed": 1, "dropped": 39, "last_error": "RuntimeError: x"}, "1 frames were failed: Runt"),
    ({"strange_labels": 2}, "2 labels had another size"),
    ({"level_changes": 0}, "the quality level hardly changed"),
    ({"refused_changes": 1}, "1 parameter changes were refused"),
], ids=["sent", "accounted", "heard", "failed", "strange", "level", "refused"])
def test_books_that_do_not_agree_are_a_fault(books, complaint):
    [fault] = summarise(samples(), counts(**books))["faults"]
    assert complaint in fault


def test_a_process_that_leaks_is_caught():
    process = subprocess.Popen([sys.executable, "-c", LEAK])
    try:
        sampler = ProcessSampler(process.pid, interval=0.1)
        for _ in range(40):
            sampler.wait_and_sample()
    finally:
        process.kill()
        process.wait()
    faults = " ".join(summarise(sampler.samples, counts())["faults"])
    assert "resident memory grows" in faults and "allocated memory grows" in faults
    assert "open files grow" in faults
    assert "threads were left behind" in faults


@pytest.fixture
def driver(ros):
    import rclpy
    from ros_harness import domain_for

    from benchmarks.soak.driver import SoakDriver

    rclpy.init(domain_id=domain_for(__file__))
    yield SoakDriver("/camera", rate=50.0, depth=8)
    rclpy.try_shutdown()


def test_a_flood_fills_every_place_of_a_queue_with_the_largest_image(driver):
    """So that the middleware takes all that memory before the measurement, not in its course."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from ros_harness import WAIT_SECONDS
    from sensor_msgs.msg import Image

    from benchmarks.soak.driver import SIZES, _spin_until

    consumer, heard = rclpy.create_node("slow_consumer"), []
    consumer.create_subscription(
        Image, "/camera", lambda message: heard.append((message.height, message.width)),
        QoSProfile(depth=8, reliability=ReliabilityPolicy.RELIABLE))
    assert _spin_until(driver, driver._camera.get_subscription_count, WAIT_SECONDS)
    driver.flood()
    _spin_until(consumer, lambda: len(heard) == 8, WAIT_SECONDS)
    assert heard == [max(SIZES)] * 8


def test_a_driver_that_has_ended_publishes_and_changes_nothing(driver):
    from ros_harness import WAIT_SECONDS

    from benchmarks.soak.driver import _spin_until

    driver.begin(change_seconds=0.02)
    assert _spin_until(driver, lambda: min(driver.sent, driver.size_changes) > 2, WAIT_SECONDS)
    driver.end()
    before = driver.sent, driver.size_changes
    _spin_until(driver, lambda: False, 0.5)
    assert (driver.sent, driver.size_changes) == before


@pytest.fixture(scope="module")
def soaks(ros, tmp_path_factory) -> Iterator[dict[bool, tuple[subprocess.Popen, Path]]]:
    """Soak a node without and one with time, side by side: each takes what it gets of the cores.

    The C library gives freed memory back at once here, so that what is measured is in use, not the
    highest mark.
    """
    from ros_harness import domain_for

    found = {}
    for alone in (True, False):
        output = tmp_path_factory.mktemp("soak")
        found[alone] = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.soak", "--seconds", str(SECONDS),
             "--change-seconds", str(min(1.0, SECONDS / 40)),  # a whole round in the warm-up
             "--output", str(output), *(["--alone"] if alone else [])],
            stdout=open(output / "log", "w"), stderr=subprocess.STDOUT,  # noqa: SIM115
            env={**os.environ, "ROS_DOMAIN_ID": str(domain_for(f"the soak, {alone}")),
                 "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}), output
    yield found
    for process, _ in found.values():
        process.terminate()  # it ends what it has started
        process.wait(60)


@pytest.mark.parametrize("alone", [True, False])
def test_the_node_neither_grows_nor_loses_anything(soaks, alone):
    """A minute's memory is still saturating: each new pair of size and level leaves its buffers.

    So what grows by less than 50 MB in half a minute is left to the long soak.
    """
    process, output = soaks[alone]
    process.wait(280)
    assert (output / "summary.json").is_file(), (output / "log").read_text()
    summary = json.loads((output / "summary.json").read_text())
    assert not [fault for fault in summary["faults"] if "memory grows" not in fault]
    assert summary["resident_mb"]["last"] - summary["resident_mb"]["first"] < 50
    assert summary["sent"] == summary["frames"]["received"] > SECONDS
    assert summary["labels_heard"] > SECONDS / 10
    assert len(summary["samples"]) >= SECONDS - 2
