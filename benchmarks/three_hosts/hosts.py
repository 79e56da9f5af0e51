"""Three computers on one: network namespaces, joined by a cable."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.three_hosts.cable import Cable, open_tap

NAMES = ("camera", "segmenter", "consumer")
ENVIRONMENT = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "ROS_DOMAIN_ID": "0",
               "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}
_SMALL_DATAGRAMS = Path(__file__).resolve().parents[2] / "config/dds/small_datagrams.xml"
# How the middleware sends; shared memory is left out where it is not a part of the choice.
MIDDLEWARES = {"udp": {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"},
               "small datagrams": {"FASTDDS_DEFAULT_PROFILES_FILE": str(_SMALL_DATAGRAMS)},
               "tcp": {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}}
# Network namespaces have all of the computer's shared memory in common, which would lead past the
# network: each host gets its own.
_OWN_MEMORY = ("sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', "sh")
_QUEUE = 20000  # frames; a burst of one large image must not overflow the card itself


class Hosts:
    """Create the namespaces and their network for the length of a ``with`` block."""

    def __init__(self) -> None:
        """Choose names that two runs at a time do not share."""
        self._tag = f"{os.getpid() % 100000}"
        self._taps: list[int] = []
        self.cable: Cable | None = None

    def __enter__(self) -> Hosts:
        try:
            for number, name in enumerate(NAMES, start=1):
                self._add(name, number)
        except BaseException:
            self.__exit__()
            raise
        self.cable = Cable(self._taps)
        self.cable.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.cable is not None:
            self.cable.stop()
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", self._space(name)], capture_output=True)
        for tap in self._taps:
            os.close(tap)
        self._taps.clear()

    def inside(self, name: str) -> tuple[str, ...]:
        """Return the command that runs another one on a host."""
        return ("ip", "netns", "exec", self._space(name), *_OWN_MEMORY)

    def _add(self, name: str, number: int) -> None:
        space, card = self._space(name), f"tap{self._tag}{number}"
        _ip("netns", "add", space)
        self._taps.append(open_tap(card))
        _ip("link", "set", card, "txqueuelen", str(_QUEUE), "netns", space)
        _ip("-n", space, "address", "add", f"10.213.0.{number}/24", "dev", card)
        for device in ("lo", card):
            _ip("-n", space, "link", "set", device, "up")

    def _space(self, name: str) -> str:
        return f"sclip{self._tag}{name}"


def reason_not_allowed() -> str:
    """Return why hosts cannot be made here; empty where they can."""
    try:
        with Hosts():
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        return f"network namespaces with TAP devices are not allowed here ({detail.strip()})"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
