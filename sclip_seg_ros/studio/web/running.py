"""Serve a desk until Ctrl-C, and say where."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

import uvicorn

from sclip_seg_ros.studio.choices.export import Origin
from sclip_seg_ros.studio.desk import Desk
from sclip_seg_ros.studio.web.guard import Guard, is_any, is_loopback
from sclip_seg_ros.studio.web.server import MOST_COMMAND, Server

LOCAL = "127.0.0.1"
PORT = 8460


class AddressError(OSError):
    """The page cannot be served at an address; the message says why and what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free.

    Raises:
        AddressError: it is taken, or not of this computer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(64)
    except (OSError, OverflowError) as error:
        listening.close()
        raise AddressError(f"the page cannot be served at {host}, port {port} "
                           f"({getattr(error, 'strerror', None) or error}); give another --port, "
                           "or 0 for any that is free") from error
    return listening


def server_of(desk: Desk, origin: Origin, host: str, token: str) -> uvicorn.Server:
    """Return what serves a desk; its ``run(sockets=[...])`` serves until it is told to end.

    Args:
        desk: what all browsers see.
        origin: what exported lines name.
        host: that was asked for.
        token: that browsers must know; empty: none.
    """
    app = Guard(Server(desk, origin).app, host, token)
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", ws_max_size=MOST_COMMAND,
                                         timeout_graceful_shutdown=2, lifespan="off"))


def serve(desk: Desk, origin: Origin, host: str, listening: socket.socket,
          begin: Callable[[], None]) -> None:
    """Say where the page is, and serve it until a signal ends it.

    Args:
        desk, origin, host: as for :func:`server_of`.
        listening: from :func:`listen`.
        begin: called once the page can be opened.
    """
    token = "" if is_loopback(host) else secrets.token_urlsafe(24)
    server = server_of(desk, origin, host, token)
    print(f"ready: {address(host, listening.getsockname()[1], token)}\nCtrl-C ends it", flush=True)
    begin()
    server.run(sockets=[listening])


def address(host: str, port: int, token: str) -> str:
    """Return the address to open, with the token where there is one."""
    shown = socket.gethostname() if is_any(host) else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
