"""A real FTP server, for what is read and written at addresses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def ftp_server(folder: Path) -> Iterator[str]:
    """Serve a folder over FTP, and yield its address with the password, ``secret``."""
    pytest.importorskip("pyftpdlib")
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    class Handler(FTPHandler):
        authorizer = DummyAuthorizer()

    Handler.authorizer.add_user("robot", "secret", str(folder), perm="elradfmwMT")
    ftp = ThreadedFTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=ftp.serve_forever, kwargs={"handle_exit": False})
    thread.start()
    try:
        yield f"ftp://robot:secret@127.0.0.1:{ftp.socket.getsockname()[1]}"
    finally:
        ftp.close_all()
        thread.join(timeout=60.0)


def server_fixture() -> Any:
    """Return the fixture ``server``: the address at which the test's folder is served."""
    @pytest.fixture(name="server")
    def server(tmp_path: Path) -> Iterator[str]:
        with ftp_server(tmp_path) as address:
            yield address
    return server
