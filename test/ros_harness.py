"""Drive a real segmentation node in a process of its own from a test."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from forked_programs import ForkedProgram, can_fork
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Image

# Another model to run these tests with; none of them asks for right labels.
MODEL = os.environ.get("SCLIP_TEST_MODEL", "embedded")
NODE = "from sclip_seg_ros.ros import node; node.main()"
WAIT_SECONDS = 200.0
AGAIN_SECONDS = 20.0
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)
FRAME_ID = "camera_optical"
DOMAINS = range(1, 101)  # the ports of higher ones are given to any program (ip(7), local ports)
_domains: dict[str, tuple[int, IO | None]] = {}  # by name, with the lock; None: another worker's


def domain_for(name: str) -> int:
    """Return a ROS domain for a test file or a test, its own until this process ends.

    Nobody is in it yet, and it is locked against other tests on this computer. Every worker of
    pytest-xdist imports every file, and one of them runs it: a name has one domain in all of them,
    or there would be too few.

    Raises:
        RuntimeError: there is none left.
    """
    if name not in _domains:
        with open(_lock_file("choice"), "a") as choice:  # or two workers of a run choose two
            fcntl.flock(choice, fcntl.LOCK_EX)
            _domains[name] = _choose(name)
    return _domains[name][0]


def _choose(name: str) -> tuple[int, IO | None]:
    owner = f"{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())} {name}"
    known = next((domain for domain in DOMAINS if _owner(domain) == owner), None)
    if known:
        return known, _lock(known, owner)
    begin = os.getpid() * 13 + len(_domains)
    turned = [DOMAINS[(begin + index) % len(DOMAINS)] for index in range(len(DOMAINS))]
    for domain in filter(_is_empty, turned):
        if lock := _lock(domain, owner):
            return domain, lock
    raise RuntimeError(f"ROS domains {DOMAINS[0]} to {DOMAINS[-1]} are all in use on this "
                       "computer; wait for other tests, or end processes they left")


def _is_empty(domain: int) -> bool:
    """Return whether the port is free that a domain's first participant takes (RTPS, 9.6.1.1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        try:
            port.bind(("", 7400 + 250 * domain + 10))
        except OSError:
            return False
    return True


def _lock_file(domain: int | str) -> Path:
    return Path(tempfile.gettempdir(), f"sclip_seg_ros-{os.getuid()}-domain-{domain}.lock")


def _owner(domain: int) -> str:
    """Return the run and the name that a domain was last locked for."""
    return path.read_text() if (path := _lock_file(domain)).is_file() else ""


def _lock(domain: int, owner: str) -> IO | None:
    """Lock a domain; return what holds the lock, or None where another process has it."""
    file = open(_lock_file(domain), "a+")  # noqa: SIM115 - open as long as the domain is in use
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    file.truncate(0)
    file.write(owner)
    file.flush()
    return file


@contextmanager
def bare_nodes(domain: int) -> Iterator[Callable[..., Node]]:
    """Yield a function that makes a node with parameter overrides; it declares none of them."""
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    nodes = []

    def make(**overrides: Any) -> Node:
        nodes.append(Node("sclip_seg", context=context, parameter_overrides=[
            Parameter(name, value=value) for name, value in overrides.items()]))
        return nodes[-1]

    try:
        yield make
    finally:
        for node in nodes:
            node.destroy_node()
        rclpy.shutdown(context=context)


class NodeProcess:
    """A segmentation node in its own process, with its log in a file."""

    def __init__(self, domain: int, log: Path, parameters: Mapping[str, Any] | None = None,
                 remappings: Mapping[str, str] | None = None,
                 arguments: Sequence[str] = (), fresh: bool = False) -> None:
        """Start the process; :meth:`wait_for` waits until it says something.

        Args:
            domain: of ROS.
            log: file for all that it says.
            parameters, remappings: of the node.
            arguments: of ROS, besides.
            fresh: import everything in it, as where the start itself is tested; else it is forked
                from a process that has, as long as the environment still is what it was then.
        """
        values = {"model": MODEL, **(parameters or {})}
        command = ["--ros-args"]
        for name, value in values.items():
            command += ["-p", f"{name}:={json.dumps(value)}"]
        for name, target in (remappings or {}).items():
            command += ["-r", f"{name}:={target}"]
        command += arguments
        self._path = log
        log.write_text("")
        self.process: subprocess.Popen | ForkedProgram
        if not fresh and can_fork():
            self.process = ForkedProgram(NODE, ["segment_node", *command], log,
                                         {"ROS_DOMAIN_ID": str(domain)})
            return
        with open(log, "w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sclip_seg_ros.ros.node", *command],
                stdout=file, stderr=subprocess.STDOUT,
                env={**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"})

    @property
    def log(self) -> str:
        """Everything the node has said so far."""
        return self._path.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until a text appears in the log."""
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self.log:
            assert self.process.poll() is None, f"the node ended early:\n{self.log}"
            assert time.monotonic() < deadline, f"the node never said '{text}':\n{self.log}"
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT, seconds: float = 20.0) -> int:
        """Send a signal and return the exit code.

        Raises:
            subprocess.TimeoutExpired: the process did not end within so many seconds.
        """
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End the process by force if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_node(domain: int, log: Path, parameters: Mapping[str, Any] | None = None,
                 remappings: Mapping[str, str] | None = None) -> Iterator[NodeProcess]:
    """Run a node until the end of the ``with`` block; it must still be alive then."""
    node = NodeProcess(domain, log, parameters, remappings)
    try:
        node.wait_for("ready")
        yield node
        assert node.process.poll() is None, f"the node died:\n{node.log}"
    finally:
        node.kill()


class Probe:
    """A camera and a consumer in the test's process; as a context manager it closes itself."""

    def __init__(self, domain: int, camera: str = "/image_raw", kind: type = Image,
                 qos: QoSProfile = qos_profile_sensor_data) -> None:
        """Join a domain and advertise a camera."""
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = Node("probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._camera = self.node.create_publisher(kind, camera, qos)

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def listening(self, kind: type, topic: str, qos: QoSProfile = RELIABLE) -> Iterator[list]:
        """Collect messages of a topic in a list, for the length of the ``with`` block."""
        messages: list = []
        subscription = self.node.create_subscription(kind, topic, messages.append, qos)
        try:
            self.wait(lambda: self.node.count_publishers(topic) > 0, f"a publisher of {topic}")
            yield messages
        finally:
            self.node.destroy_subscription(subscription)

    def spin(self, seconds: float) -> None:
        """Serve callbacks for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> None:
        """Serve callbacks until a condition holds."""
        assert self._holds_within(condition, seconds), f"{what} did not come within {seconds:g} s"

    def _holds_within(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Serve callbacks until a condition holds, or a time is over; return whether it holds."""
        deadline = time.monotonic() + seconds
        while not (holds := condition()) and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)
        return bool(holds)

    def publish(self, message: Any, stamp: int | None = None) -> int:
        """Publish an image with a stamp in nanoseconds, by default now; return the stamp."""
        self.wait(lambda: self._camera.get_subscription_count() > 0, "the node's subscription")
        if stamp is None:
            stamp = self.node.get_clock().now().nanoseconds
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        message.header.frame_id = FRAME_ID
        self._camera.publish(message)
        return stamp

    def feed_until(self, condition: Callable[[], Any], what: str, make: Callable[[], Any],
                   rate: float = 15.0) -> list[int]:
        """Publish frames at a rate until a condition holds; return their stamps."""
        stamps: list[int] = []
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come within {WAIT_SECONDS:g} s"
            stamps.append(self.publish(make()))
            self.spin(1.0 / rate)
        return stamps

    def feed(self, count: int, make: Callable[[], Any], rate: float = 15.0) -> None:
        """Publish so many frames at a rate."""
        for _ in range(count):
            self.publish(make())
            self.spin(1.0 / rate)

    def set_parameters(self, atomically: bool = False, node: str = "/sclip_seg",
                       **values: Any) -> SetParametersResult:
        """Set parameters through the node's own service; return its (last) answer."""
        parameters = [Parameter(name, value=value).to_parameter_msg()
                      for name, value in values.items()]
        if atomically:
            return self.call(SetParametersAtomically, f"{node}/set_parameters_atomically",
                             SetParametersAtomically.Request(parameters=parameters), True).result
        return self.call(SetParameters, f"{node}/set_parameters",
                         SetParameters.Request(parameters=parameters), True).results[-1]

    def get_parameter(self, name: str, node: str = "/sclip_seg") -> Any:
        """Return a parameter's value, by the node's own service."""
        answer = self.call(GetParameters, f"{node}/get_parameters",
                           GetParameters.Request(names=[name]), True)
        return parameter_value_to_python(answer.values[0])

    def call(self, kind: type, name: str, request: Any, again: bool = False) -> Any:
        """Call a service and return its answer.

        Args:
            kind, name: of the service.
            request: to it.
            again: whether to ask a second time where no answer comes: on a busy computer Fast DDS
                drops that to a client which it has not matched within 0.1 s.
        """
        client = self.node.create_client(kind, name)
        try:
            self.wait(client.service_is_ready, f"service {name}")
            future = client.call_async(request)
            if again and not self._holds_within(future.done, AGAIN_SECONDS):
                future = client.call_async(request)
            self.wait(future.done, f"the answer of {name}")
            return future.result()
        finally:
            self.node.destroy_client(client)


def node_fixture(domain: int, parameters: Mapping[str, Any],
                 remappings: Mapping[str, str] | None = None) -> Any:
    """Return the fixture ``node`` of a test file: one that runs from its first test to its last."""
    @pytest.fixture(scope="module", name="node")
    def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
        log = tmp_path_factory.mktemp("node") / "log.txt"
        with running_node(domain, log, parameters, remappings) as running:
            yield running
    return node


def probe_fixture(domain: int, camera: str = "/image_raw",
                  qos: QoSProfile = qos_profile_sensor_data) -> Any:
    """Return the fixture ``probe`` of a test file with a ``node``: another one for each test."""
    @pytest.fixture(name="probe")
    def probe(node: Any) -> Iterator[Probe]:
        with Probe(domain, camera, qos=qos) as probe:
            yield probe
    return probe


def stated(status: DiagnosticStatus) -> dict[str, str]:
    """Return what a camera's diagnostics say by key."""
    return {entry.key: entry.value for entry in status.values}


def verdict(diagnostics: Sequence[DiagnosticArray]) -> str:
    """Return the newest verdict on a node's only camera; empty before the first."""
    return stated(diagnostics[-1].status[0])["verdict"] if diagnostics else ""


@contextmanager
def counting(probe: Probe, node: str = "sclip_seg") -> Iterator[Callable[[], dict[str, str]]]:
    """Yield a function that returns what the newest diagnostics of a node's camera say by key.

    The first call waits for them.
    """
    newest: dict[str, str] = {}

    def take(message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.partition(":")[0] == node:
                newest.clear()
                newest.update(stated(status))

    subscription = probe.node.create_subscription(DiagnosticArray, "/diagnostics", take, 10)

    def values() -> dict[str, str]:
        probe.wait(lambda: newest, "diagnostics")
        return dict(newest)

    try:
        yield values
    finally:
        probe.node.destroy_subscription(subscription)


def picture(width: int = 160, height: int = 120, seed: int = 0) -> Image:
    """Return an rgb8 image message of coloured rectangles."""
    generator = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), generator.integers(0, 256, 3), np.uint8)
    for _ in range(5):
        top, left = generator.integers(0, height - 8), generator.integers(0, width - 8)
        pixels[top:top + height // 2, left:left + width // 3] = generator.integers(0, 256, 3)
    message = Image(width=width, height=height, encoding="rgb8", step=3 * width)
    message.data.frombytes(pixels.tobytes())
    return message


def stamp_of(message: Any) -> int:
    """Return a message's stamp in nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def by_stamp(messages: list) -> dict[int, Any]:
    """Return messages by their stamps."""
    return {stamp_of(message): message for message in messages}


def ran(statuses: Iterable[Any], stage: str) -> bool:
    """Tell whether a stage ran for one of some frames, or for the tower's run that it tells of.

    On a busy computer few frames have a run of their own, and most of the others nothing to refine.
    """
    return any(entry.stage.removeprefix("tower ") == stage
               for status in statuses for entry in status.stages)


def pixels_of(message: Any) -> np.ndarray:
    """Return an unpadded 8-bit image message as (H, W) or (H, W, C)."""
    array = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)
    return array[..., 0] if array.shape[2] == 1 else array
