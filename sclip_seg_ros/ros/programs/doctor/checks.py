"""What ROS adds to the doctor's table: installation, middleware, buffers, shared memory."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CameraInfo, Image

from sclip_seg_ros.common.checkup import Check, Finding, fault, ok, warning
from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.ros.programs.doctor.cameras import Cameras
from sclip_seg_ros.ros.programs.refusals import refused_surroundings, why_no_node

# A raw image of 640x480 is 0.9 MB; of 1280x720, 2.8. Linux's default is 0.2.
LEAST_BUFFER, LEAST_SHARED = 4.0, 64.0  # MiB
PATIENCE_SECONDS = 10.0
PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
FAST_DDS_2 = ("humble", "jazzy")
BUFFERS = Path("/proc/sys/net/core/rmem_max")
SHARED = Path("/dev/shm")
_MIB = 2 ** 20


def ros_checks() -> tuple[list[Check], Callable[[], float]]:
    """Return the checks that need ROS, and what tells the rate of the fastest camera afterwards."""
    if refusal := refused_surroundings():  # ROS would end the doctor, too
        return [Check("ROS", lambda: fault(refusal[0]), refusal[1])], lambda: 0.0
    cameras = Cameras()
    return [
        Check("ROS", installation,
              "source the overlay (`source install/setup.bash`), and keep NumPy below 2 up to "
              "Kilted: `pip install -c scripts/constraints-apt/$ROS_DISTRO.txt numpy`"),
        Check("middleware", middleware,
              "see that ROS_DOMAIN_ID, RMW_IMPLEMENTATION and the middleware's own variables are "
              "the robot's, and that no firewall holds back multicast"),
        Check("socket buffers", socket_buffers,
              "`sudo sysctl -w net.core.rmem_max=33554432` (and in /etc/sysctl.d/), or publish "
              "images reliably or compressed"),
        Check("shared memory", shared_memory,
              "start the container with `--ipc host` or `--shm-size 512m`"),
        Check("cameras", cameras.look, "start the camera, with the same ROS_DOMAIN_ID"),
    ], lambda: cameras.rate


def installation() -> Finding:
    """Look whether messages are built and fit this Python and its NumPy."""
    what = f"{os.environ.get('ROS_DISTRO', 'distribution not told')}, NumPy {np.__version__}"
    try:
        messages = import_module("sclip_seg_ros.msg")
        info = CameraInfo(k=[float(index) for index in range(9)])
        back = deserialize_message(serialize_message(info), CameraInfo)
        status = deserialize_message(serialize_message(messages.SegmentationStatus()),
                                     messages.SegmentationStatus)
    except Exception as error:  # from a missing module to a broken C library
        return fault(f"{what}: {type(error).__name__}: {first_line(error)}")
    if list(back.k) != list(range(9)) or status != messages.SegmentationStatus():
        return fault(f"{what}: messages do not come back as they were")
    try:
        import_module("vision_msgs.msg")
    except ImportError:
        what += ", without vision_msgs (~/label_info is left out)"
    return ok(what)


def middleware() -> Finding:
    """Send an image from one participant to another."""
    what = f"{get_rmw_implementation_identifier()}, domain {os.environ.get('ROS_DOMAIN_ID', '0')}"
    image = Image(width=640, height=480, step=1920, encoding="rgb8")
    image.data.frombytes(bytes(640 * 480 * 3))
    if idle := idle_profile():
        return fault(f"{what}: {idle[0]}", idle[1])
    heard: list[Image] = []
    nodes: list[Node] = []
    with ExitStack() as left:
        for context in (Context(), Context()):
            rclpy.init(args=[], context=context)
            left.callback(context.try_shutdown)
            try:
                nodes.append(Node("sclip_doctor", context=context, start_parameter_services=False,
                                  enable_rosout=False))
            except RuntimeError as error:
                if not (refusal := why_no_node(error)):
                    raise
                reason, remedy = refusal
                return fault(f"{what}: {reason}", remedy)
            left.callback(nodes[-1].destroy_node)
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        executor = SingleThreadedExecutor(context=nodes[1].context)
        executor.add_node(nodes[1])
        left.callback(executor.shutdown)
        publisher = nodes[0].create_publisher(Image, "sclip_doctor/image", qos)
        nodes[1].create_subscription(Image, "sclip_doctor/image", heard.append, qos)
        begin = time.monotonic()
        while not heard and time.monotonic() < begin + PATIENCE_SECONDS:
            publisher.publish(image)
            executor.spin_once(timeout_sec=0.2)
    if not heard:
        return fault(f"{what}: an image sent to oneself did not come within "
                     f"{PATIENCE_SECONDS:g} s")
    return ok(f"{what}: an image came {time.monotonic() - begin:.1f} s after the participants")


def idle_profile() -> tuple[str, str] | None:
    """Return what is wrong with the variable that names Fast DDS's profiles, and the remedy.

    Its name changed with Fast DDS 3, which came with Kilted; the other one is ignored in silence.
    """
    own, other = PROFILES if os.environ.get("ROS_DISTRO") not in FAST_DDS_2 else PROFILES[::-1]
    path = os.environ.get(own)
    if path and not Path(path).is_file():
        return f"{own}: '{path}' is not a file", f"correct {own}, or unset it"
    if os.environ.get(other) and not path:
        return f"{other} has no effect here", f"`export {own}=${other}`"
    return None


def socket_buffers() -> Finding:
    """Look how large a buffer a socket may ask for: what does not fit is lost."""
    largest = int(BUFFERS.read_text()) / _MIB
    text = f"at most {largest:.1f} MiB for what arrives"
    return ok(text) if largest >= LEAST_BUFFER else warning(
        f"{text}: large images sent best effort from another computer get lost")


def shared_memory() -> Finding:
    """Look whether participants on this computer can share memory."""
    try:
        with tempfile.TemporaryFile(dir=SHARED):
            pass
    except OSError as error:
        return warning(f"'{SHARED}' cannot be written to ({error.strerror}): messages take the "
                       "network's way, and large best-effort images get lost")
    free = shutil.disk_usage(SHARED).free / _MIB
    text = f"{free:.0f} MiB free in '{SHARED}'"
    return ok(text) if free >= LEAST_SHARED else warning(text)
