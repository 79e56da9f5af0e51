"""The network between hosts: a switch with loss and delay, as a program.

``tc netem`` does the same where the kernel has it; many kernels, of virtual machines above all,
have not. Every host's network card is a TAP device, whose other end this program holds: whatever
the kernel sends there arrives here frame by frame, and lives on as decided here.
"""

from __future__ import annotations

import fcntl
import os
import random
import selectors
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_FRAME_BYTES = 2048   # more than one Ethernet frame of 1500 bytes
_BURST = 64           # frames read from one card before the next has its turn
_PRIORITY = -10       # the network must not wait for the computers that it connects


def open_tap(name: str) -> int:
    """Create a TAP device and return the file descriptor of its other end.

    Raises:
        OSError: not allowed, or no /dev/net/tun.
    """
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF,
                struct.pack("16sH", name.encode(), _IFF_TAP | _IFF_NO_PI) + bytes(22))
    return descriptor


class Cable(threading.Thread):
    """Carry Ethernet frames between TAP devices.

    Attributes:
        loss: probability that a frame is lost, 0..1; may be changed at any time.
        delay: seconds that a frame takes.
        carried, lost, refused: frames so far; those refused found no room in the receiver's queue.
        carried_bytes: of the frames carried.
    """

    def __init__(self, taps: Sequence[int]) -> None:
        """Prepare; ``start`` begins to carry, :meth:`stop` ends it."""
        super().__init__(name="cable", daemon=True)
        self.loss = 0.0
        self.delay = 0.0
        self.carried = self.lost = self.refused = self.carried_bytes = 0
        self._taps = tuple(taps)
        self._random = random.Random(0)
        self._on_the_way: deque[tuple[float, int, bytes]] = deque()
        self._places: dict[bytes, int] = {}   # where a hardware address was seen
        self._told_to_stop = threading.Event()

    def stop(self) -> None:
        """Carry nothing more."""
        self._told_to_stop.set()
        self.join()

    def run(self) -> None:
        """Carry until told to stop."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)
        with selectors.DefaultSelector() as selector:
            for tap in self._taps:
                selector.register(tap, selectors.EVENT_READ)
            while not self._told_to_stop.is_set():
                for key, _ in selector.select(self._seconds_to_next()):
                    self._take(key.fd)
                self._deliver()

    def _seconds_to_next(self) -> float:
        return min(max(self._on_the_way[0][0] - time.monotonic(), 0.0), 0.1) \
            if self._on_the_way else 0.1

    def _take(self, tap: int) -> None:
        """Read what a host has sent, and lose some of it."""
        due = time.monotonic() + self.delay
        for _ in range(_BURST):
            try:
                frame = os.read(tap, _FRAME_BYTES)
            except OSError:  # nothing left, or the host is being taken down
                return
            self._places[frame[6:12]] = tap
            if self._random.random() < self.loss:
                self.lost += 1
            else:
                self._on_the_way.append((due, tap, frame))

    def _deliver(self) -> None:
        """Hand over what has arrived; to everybody what is for everybody or for an unknown."""
        now = time.monotonic()
        while self._on_the_way and self._on_the_way[0][0] <= now:
            _, sender, frame = self._on_the_way.popleft()
            known = self._places.get(frame[:6])
            for tap in self._taps if known is None else (known,):
                if tap != sender:
                    self._write(tap, frame)

    def _write(self, tap: int, frame: bytes) -> None:
        try:
            os.write(tap, frame)
        except OSError:
            self.refused += 1
        else:
            self.carried += 1
            self.carried_bytes += len(frame)
