"""A download by the node: seen while it goes on, gone on with after a signal, never repeated."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from model_hub import REPOSITORY, Faults
from ros_harness import NodeProcess, Probe, domain_for, stated

DOMAIN = domain_for(__file__)
SIZE = 7_100_000
NUMBER = r"[\d.]+"


@pytest.fixture
def start(hub, tmp_path):
    """Start nodes with the weights of the hub."""
    hub.publish_clip()
    nodes = []

    def start(**parameters):
        nodes.append(NodeProcess(DOMAIN, tmp_path / f"log{len(nodes)}.txt", {
            "model": f"hf-hub:{REPOSITORY}", "classes": ["a", "b"], **parameters}))
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill()


def halves(hub) -> list[Path]:
    return list((hub.folder.parent / "cache").rglob("*.incomplete"))


def test_a_download_is_seen_in_the_log_the_diagnostics_and_show_state(hub, start, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    hub.faults = Faults(only="storage", rate=SIZE / 15)
    node = start()
    with Probe(DOMAIN) as probe, probe.listening(DiagnosticArray, "/diagnostics") as heard:
        probe.wait(lambda: any(" of 7.1 MB" in status.message for message in heard
                               for status in message.status), "a download in the diagnostics")
        command = [sys.executable, "-m", "sclip_seg_ros.ros.programs.show_state.command"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60)
    node.wait_for("a second")
    hub.faults.rate = 1e9  # all of the beginning has been seen
    [status] = next(message.status for message in reversed(heard) if message.status)
    assert (stated(status)["verdict"], status.level) == ("loading", DiagnosticStatus.WARN)
    assert re.fullmatch(rf"loading hf-hub:{REPOSITORY}: {NUMBER} of {NUMBER} MB", status.message)
    assert shown.returncode == 0, shown.stderr
    assert re.search(rf"WARN: loading hf-hub:{REPOSITORY}: {NUMBER} of", shown.stdout)
    node.wait_for("ready")
    lines = [line for line in node.log.splitlines() if "downloading" in line]
    assert "7.1 MB, into" in lines[0] and str(hub.folder.parent / "cache") in lines[0]
    assert any(re.search(r"\(\d+%\), .* a second", line) for line in lines)
    assert hub.commit(REPOSITORY) in node.log and "SHA-256" in node.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_download_and_the_next_start_goes_on_with_it(hub, start, number):
    hub.faults = Faults(only="storage", rate=SIZE / 20)
    node = start()
    with Probe(DOMAIN) as probe:
        probe.wait(lambda: any(path.stat().st_size > 500_000 for path in halves(hub)), "half")
    assert node.stop(number, seconds=5.0) == 0
    assert "Traceback" not in node.log
    [half] = halves(hub)
    there, ranges = half.stat().st_size, []
    hub.faults = Faults()
    hub.on_send = lambda headers: ranges.append(headers.get("Range"))
    start().wait_for("ready")
    assert ranges == [f"bytes={there}-"] and not halves(hub)


def test_a_warm_start_asks_a_silent_hub_nothing(hub, start, monkeypatch):
    start().wait_for("ready")
    hub.requests.clear()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        server.settimeout(0.1)
        start().wait_for("ready")
        with pytest.raises(TimeoutError):
            server.accept()
    assert hub.requests == []


def test_weights_that_cannot_be_had_end_the_start_with_one_sentence(hub, start):
    hub.faults = Faults(status=403, code="GatedRepo")
    node = start()
    assert node.process.wait(60) == 1
    [line] = [line for line in node.log.splitlines() if "[FATAL]" in line]
    assert "accept its licence" in line and "HF_TOKEN" in line
    assert len([line for line in node.log.splitlines() if "WARN" in line or "ERROR" in line]) == 0
