"""Serve the studio in this process, and open its page in a real browser."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sclip_research.scenes import render, sample_scene

from sclip_seg_ros.studio.choices.export import Origin
from sclip_seg_ros.studio.desk import Desk
from sclip_seg_ros.studio.web.running import LOCAL, listen, server_of

WAIT_SECONDS = 60.0
EMPTY = "about:blank"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def room(number: int = 2, height: int = 240, width: int = 320) -> np.ndarray:
    """Render a room: (height, width, 3) uint8 RGB."""
    return render(sample_scene(np.random.default_rng(number)), height, width).image


def write_rooms(folder: Path, numbers: tuple[int, ...] = (2, 5), **size: int) -> Path:
    """Write rooms as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"room_{number:02d}.png"), room(number, **size)[..., ::-1])
    return folder


@dataclass
class Served:
    """A running studio.

    Attributes:
        desk: behind it.
        url: of the page, without a token.
        port: of the same.
        token: that browsers must know; empty: none.
    """

    desk: Desk
    url: str
    port: int
    token: str


@contextmanager
def serving(desk: Desk, token: str = "", port: int = 0) -> Iterator[Served]:
    """Serve a desk until the end of the ``with`` block."""
    listening: socket.socket = listen(LOCAL, port)
    port = listening.getsockname()[1]
    server = server_of(desk, Origin(), LOCAL, token)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield Served(desk, f"http://{LOCAL}:{port}/", port, token)
    finally:
        server.should_exit = True
        thread.join(WAIT_SECONDS)
        listening.close()


def wait_until(holds, seconds: float = WAIT_SECONDS) -> Any:
    """Wait until a function returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)
    return found


def until(page: Any, expression: str) -> None:
    """Wait until an expression is true on a page, whose rules forbid it to evaluate any itself."""
    wait_until(lambda: page.evaluate(expression))


@contextmanager
def browsing() -> Iterator[Any]:
    """Yield a real browser; skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser ({', '.join(BROWSERS)}); `apt-get install chromium` brings one")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Any, url: str, width: int = 1280, height: int = 720) -> Iterator[Any]:
    """Open the page and wait for its first picture; no script may fail on it.

    In a tab that is empty again, if there is one: a new one takes the browser a second. What a page
    keeps is kept by its address, which has another port each time.
    """
    context = browser.contexts[0] if browser.contexts else browser.new_context()
    page = next((tab for tab in context.pages if tab.url == EMPTY), None) or context.new_page()
    problems: list[str] = []

    def note(error: Exception) -> None:
        problems.append(str(error))

    page.on("pageerror", note)
    page.set_viewport_size({"width": width, "height": height})
    page.set_default_timeout(1000 * WAIT_SECONDS)
    page.goto(url)
    until(page, "document.body.dataset.ready")
    yield page
    page.goto(EMPTY)
    page.remove_listener("pageerror", note)
    assert problems == []
