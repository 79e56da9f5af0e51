"""Ray's workers forked from a process that has imported torch and its kin, as programs are."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from forked_programs import ForkedProgram, can_fork

# What Ray runs in the place of a worker. It knows a worker by the number that it gives, and is told
# its process by the worker itself.
_ASK = """import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    server.sendall(json.dumps([sys.argv, dict(os.environ)]).encode())
"""
# Ray would have a worker with one core compute with one thread, were torch yet to be imported.
_WORKER = """import runpy, torch
torch.set_num_threads(1)
runpy.run_module("ray._private.workers.default_worker", run_name="__main__")
"""


class _Forks(socketserver.StreamRequestHandler):
    """Forks the worker that is asked for."""

    def handle(self) -> None:
        arguments, environment = json.loads(self.rfile.read())
        ForkedProgram(_WORKER, arguments, Path(f"{self.server.server_address}.log"), environment)


@contextmanager
def worker_program(folder: Path) -> Iterator[Path]:
    """Yield a script that Ray's nodes take as ``worker_path``.

    Args:
        folder: for it; a short one, as the path of a socket is.
    """
    assert can_fork()
    address = str(folder / "socket")
    with socketserver.UnixStreamServer(address, _Forks) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        script = folder / "worker.py"
        script.write_text(_ASK.format(address=address))
        try:
            # Else a driver would wait for a worker, and let no other thread of its process run.
            with mock.patch.dict(os.environ, RAY_prestart_worker_first_driver="0"):
                yield script
        finally:
            server.shutdown()
