"""How fast the studio's page answers, and what it costs a node: in a real browser.

    scripts/run_in_overlay python -m benchmarks.studio
    scripts/run_in_overlay python -m benchmarks.studio --pictures docs/images

The first picture counts from the moment the program says it is ready; a changed word from Enter to
the painted overlay with its row in the legend, median of twenty new words. The node's rate is
counted with and without a page, in turns; once with the browser on the same computer, and once with
a client that takes what a browser elsewhere would take, and paints nothing. It is counted a second
of the node's own processor time, with one thread, so that what else the computer does is left out.
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.studio", "studio"))

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import sync_playwright
from sclip_research.scenes import render, sample_scene
from websockets.sync.client import connect

from benchmarks.clocks import worked
from sclip_seg_ros.common.errors import Failed
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.tools.program import Program, documented

WORDS = 20
COLOURS = ("red", "green", "blue", "yellow", "pink", "white", "grey")
NOUNS = ("ball", "cup", "lamp")
ROUND_SECONDS, ROUNDS = 10.0, 3
CAMERA_HZ = 15.0
NODE_WORDS = ["floor", "wall", "table", "chair", "bowl", "pyramid", "cone"]
BROWSER = "chromium"
_DARK_AND_LIGHT = {"studio_dark.png": "dark", "studio_light.png": "light"}

_ADD = """async word => {
  const field = document.querySelector("#add");
  field.value = word;
  const began = performance.now();
  field.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}));
  while (!document.querySelector(`table.legend tr[data-name="${word}"]`)) {
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - began;
}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--pictures", type=Path, metavar="FOLDER",
                        help="take pictures of the page instead of measuring")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print the table, or take the pictures that are asked for."""
    with tempfile.TemporaryDirectory() as folder, browsing() as browser:
        rooms = Path(folder, "rooms")
        rooms.mkdir()
        for number in (2, 5, 9, 12):
            image = render(sample_scene(np.random.default_rng(number)), 480, 640).image
            cv2.imwrite(str(rooms / f"room_{number:02d}.png"), image[..., ::-1])
        if arguments.pictures:
            take_pictures(browser, rooms, arguments.pictures)
            return
        rows = [*page_rows(browser, rooms), *node_rows(browser)]
    print("\n".join(markdown_table(["", "measured", "target"], rows)))


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    """Yield the browser."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_which(BROWSER), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def serving(*command: str, **environment: str) -> Iterator[tuple[str, float]]:
    """Start a studio; yield its address, and when it said it was ready."""
    process = subprocess.Popen([sys.executable, "-m", *command, "--port", "0"], text=True,
                               stdout=subprocess.PIPE, env={**os.environ, **environment})
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.removeprefix("ready: ").strip(), time.monotonic()
    finally:
        process.terminate()
        process.wait()


def open_page(browser: Any, url: str) -> Any:
    """Open the page and wait for its first picture."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(url)
    while not page.evaluate("document.body.dataset.serial"):
        time.sleep(0.01)
    return page


def page_rows(browser: Any, rooms: Path) -> list[tuple[str, str, str]]:
    """Measure the first picture, and changed words."""
    with serving("sclip_seg_ros.tools.sclip", "studio", str(rooms), "--vocabulary",
                 *NODE_WORDS, "--device", "cpu") as (url, ready):
        page = open_page(browser, url)
        first = time.monotonic() - ready
        took = []
        for index in range(WORDS):
            word = f"{COLOURS[index % len(COLOURS)]} {NOUNS[index // len(COLOURS)]}"
            took.append(page.evaluate(_ADD, word))
            page.evaluate("word => document.querySelector(`#chips [data-name='${word}'] "
                          ".tiny:last-child`).click()", word)
            while page.evaluate("word => !!document.querySelector("
                                "`table.legend tr[data-name='${word}']`)", word):
                time.sleep(0.01)
    return [("first picture after `ready:`", f"{first:.1f} s", "3 s"),
            (f"a new word visible, median of {WORDS} (slowest)",
             f"{statistics.median(took):.0f} ms ({max(took):.0f} ms)", "300 ms")]


def node_rows(browser: Any) -> list[tuple[str, str, str]]:
    """Measure a node's rate with and without an open page."""
    domain = {"ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", "88"),
              "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    os.environ.update(domain)
    node = subprocess.Popen([
        sys.executable, "-m", "sclip_seg_ros.ros.node", "--ros-args", "-p",
        f"classes:={json.dumps(NODE_WORDS)}", "-p", "device:=cpu", "-p", "threads:=1",
        "-p", "temporal.enabled:=false"],  # every frame has its own run
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    camera = CameraAndCount(node.pid)
    camera.start()
    try:
        camera.wait()
        with serving("sclip_seg_ros.ros.programs.studio.command") as (url, _):
            alone, elsewhere, here = [], [], []
            for _ in range(ROUNDS):
                alone.append(camera.rate())
                with taking(url):
                    elsewhere.append(camera.rate())
                page = open_page(browser, url)
                here.append(camera.rate())
                page.close()
    finally:
        camera.stop()
        node.terminate()
        node.wait()
    plain = statistics.median(alone)
    return [
        ("node's frames a processor second without a page", f"{plain:.2f}", ""),
        ("with a page whose browser is elsewhere",
         f"{statistics.median(elsewhere):.2f} ({statistics.median(elsewhere) / plain:.2f})", "0.9"),
        ("with a page whose browser is on the same computer",
         f"{statistics.median(here):.2f} ({statistics.median(here) / plain:.2f})", "")]


@contextlib.contextmanager
def taking(url: str) -> Iterator[None]:
    """Take frames as a page does, and paint nothing."""
    ended = threading.Event()

    def take(stream: Any) -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                if isinstance(stream.recv(0.2), bytes):
                    stream.send(json.dumps({"do": "ready"}))

    with connect(url.replace("http", "ws") + "live", origin=url.rstrip("/"),
                 max_size=None) as stream:
        thread = threading.Thread(target=take, args=(stream,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class CameraAndCount(threading.Thread):
    """A camera for the node, and a consumer of its labels, which counts the frames labelled.

    They are counted by their status: of large messages some are lost where there are several
    subscribers and small socket buffers, also on one computer.
    """

    def __init__(self, node: int) -> None:
        """Join ROS; ``node`` is the process whose frames are counted."""
        super().__init__(daemon=True)
        import rclpy
        from rclpy.qos import qos_profile_sensor_data
        from sclip_seg_ros.msg import SegmentationStatus
        from sensor_msgs.msg import Image
        from std_msgs.msg import Header

        from sclip_seg_ros.ros.images import to_message

        rclpy.init()
        self._rclpy = rclpy
        self._node = rclpy.create_node("camera")
        self._frames, self._process = 0, node
        image = render(sample_scene(np.random.default_rng(2)), 480, 640).image
        self._message = to_message(image, "rgb8", Header())
        self._camera = self._node.create_publisher(Image, "/image_raw", 1)
        self._node.create_timer(1 / CAMERA_HZ, self._publish)
        self._node.create_subscription(Image, "/sclip_seg/label", lambda message: None,
                                       qos_profile_sensor_data)
        self._node.create_subscription(SegmentationStatus, "/sclip_seg/status", self._count, 50)
        self._ended = threading.Event()

    def run(self) -> None:
        """Publish and count."""
        while not self._ended.is_set():
            self._rclpy.spin_once(self._node, timeout_sec=0.1)

    def wait(self) -> None:
        """Wait for the first frame."""
        while not self._frames:
            time.sleep(0.1)

    def rate(self) -> float:
        """Return frames a second of the node's processor time, after a moment to settle."""
        time.sleep(2.0)
        before, began = self._frames, worked(self._process)
        time.sleep(ROUND_SECONDS)
        return (self._frames - before) / (worked(self._process) - began)

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self.join()
        self._node.destroy_node()
        self._rclpy.try_shutdown()

    def _publish(self) -> None:
        self._message.header.stamp = self._node.get_clock().now().to_msg()
        self._camera.publish(self._message)

    def _count(self, _: Any) -> None:
        self._frames += 1


def take_pictures(browser: Any, rooms: Path, folder: Path) -> None:
    """Take the pictures of docs/studio.md."""
    with serving("sclip_seg_ros.tools.sclip", "studio", str(rooms), "--vocabulary", *NODE_WORDS,
                 "--background", "wall", "--device", "cpu") as (url, _):
        for name, theme in _DARK_AND_LIGHT.items():
            page = open_page(browser, url)
            page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
            if theme == "light":
                page.keyboard.press("s")
                page.get_by_role("tab", name="Settings").click()
            page.mouse.move(700, 480)
            page.wait_for_timeout(1500)
            page.screenshot(path=str(folder / name))
            page.close()


def _which(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Failed(f"there is no {name}; `apt-get install {name}` brings it")
    return path


main = Program(*documented(__doc__), add_arguments, run)
