"""The network in which nodes are started is as silent as it is said to be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.start import NETWORKS

PROGRAM = """
import os, socket
from benchmarks.start import _sent
before = _sent(os.getpid())
try:
    socket.create_connection(("192.0.2.1", 80), timeout=0.5)
except OSError as error:
    print(type(error).__name__, _sent(os.getpid()) - before)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace")
@pytest.mark.parametrize(("network", "said"), [("silent", "TimeoutError 1"), ("none", "OSError 0")])
def test_packets_vanish_and_are_counted_or_have_nowhere_to_go(network, said):
    allowed = subprocess.run(["unshare", "--net", "sh", "-c", NETWORKS[network]])
    if allowed.returncode:
        pytest.skip("network namespaces are not allowed here")
    run = subprocess.run(["unshare", "--net", "sh", "-c", f'{NETWORKS[network]} && exec "$@"',
                          "sh", sys.executable, "-c", PROGRAM],
                         capture_output=True, text=True, timeout=120)
    assert run.stdout == said + "\n", run.stderr
