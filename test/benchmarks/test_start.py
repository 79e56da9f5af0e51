"""The network in which nodes are started is as silent as it is said to be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.start import NETWORKS, _sent

PROGRAM = """
import socket
print("begun", flush=True)
input()
try:
    socket.create_connection(("192.0.2.1", 80), timeout=0.5)
except OSError as error:
    print(type(error).__name__, flush=True)
input()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace")
@pytest.mark.parametrize(("network", "error", "packets"), [
    ("silent", "TimeoutError", 1), ("none", "OSError", 0)])
def test_packets_vanish_and_are_counted_or_have_nowhere_to_go(network, error, packets):
    allowed = subprocess.run(["unshare", "--net", "sh", "-c", NETWORKS[network]])
    if allowed.returncode:
        pytest.skip("network namespaces are not allowed here")
    with subprocess.Popen(
            ["unshare", "--net", "sh", "-c", f'{NETWORKS[network]} && exec "$@"', "sh",
             sys.executable, "-Sc", PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            before = _sent(process.pid)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{error}\n"
            assert _sent(process.pid) - before == packets
        finally:
            process.kill()
