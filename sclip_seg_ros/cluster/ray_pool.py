"""Ray as the engine: actors on one machine or many, each with a worker and its model.

What Ray does is left to it: it places the actors, restarts one that died, wherever there is room
(``max_restarts``), and gives it the task that it died of once more (``max_task_retries``). Who is
free and who is not is known by its ``ActorPool``. A task that is lost in spite of that has killed
two workers.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.cluster.work import Done, Lost, Task, Worker, answer
from sclip_seg_ros.common.cores import usable_cores
from sclip_seg_ros.common.text import first_line

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray  # noqa: E402
from ray.exceptions import ActorDiedError, RayError  # noqa: E402
from ray.util import ActorPool  # noqa: E402

LOCAL = "local"
_STORE = 100_000_000  # bytes for objects that workers share; results go to the disk instead
_RESTARTS = 10  # of an actor, before another takes its place; one that cannot begin is given up
_REACH = 10.0  # seconds in which the cluster's head must answer
_PATIENCE = 60.0  # seconds without news, after which workers without a task make room


class ClusterError(RuntimeError):
    """There is no cluster, or it cannot do the work; the message says why and what to do."""


@dataclass(frozen=True)
class Share:
    """What a worker takes of its machine.

    Attributes:
        workers: how many there are; None for as many as there is room for now.
        cpus: cores of each.
        gpus: GPUs of each, or the fraction of one; None for one where the cluster has any.
    """

    workers: int | None = None
    cpus: float = 1
    gpus: float | None = None


class _Host:
    """The actor: a worker in the command's folder, made when it is first wanted.

    An actor whose beginning fails would be restarted for ever; so it begins with nothing.
    """

    def __init__(self, folder: str, worker: Callable[[], Worker]) -> None:
        self._folder, self._make = folder, worker
        self._worker: Worker | None = None

    def describe(self) -> tuple[str, Any, str]:
        """Return the worker's name, what it says, and why it cannot work; one of both is empty."""
        try:
            return self._name(), self._working().describe(), ""
        except Exception as error:
            return self._name(), None, first_line(error) or type(error).__name__

    def do(self, task: Task) -> Done:
        """Have the worker do a task."""
        return answer(self._working(), task, self._name())

    def _working(self) -> Worker:
        if self._worker is None:
            os.chdir(self._folder)
            self._worker = self._make()
        return self._worker

    def _name(self) -> str:
        return f"{ray.util.get_node_ip_address()}, process {os.getpid()}"


class RayPool:
    """Workers on a cluster, or on one that is started here and ends with this object."""

    def __init__(self, address: str, share: Share, worker: Callable[[], Worker]) -> None:
        """Find or start the cluster, and the workers on it.

        Args:
            address: of the cluster, e.g. ``10.0.0.1:6379``, or ``auto`` for one that was started
                on this machine; ``local`` starts one.
            share: of a worker.
            worker: makes one; it is called on the machines.

        Raises:
            ClusterError: there is no such cluster, or no room on it.
        """
        _look_for(address)
        try:
            # Its log goes to files; what it has to say comes as an exception.
            ray.init(address, log_to_driver=False, logging_level="CRITICAL",
                     **({"include_dashboard": False, "num_cpus": usable_cores(),
                         "object_store_memory": _STORE} if address == LOCAL else {}))
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ClusterError(f"there is no Ray cluster at '{address}' ({first_line(error)}); "
                               "start one with `ray start`, or give --ray alone") from error
        try:
            self._begin(share, worker)
        except BaseException:
            ray.shutdown()
            raise

    def _begin(self, share: Share, worker: Callable[[], Worker]) -> None:
        room = ray.available_resources()
        gpus = share.gpus if share.gpus is not None else float(room.get("GPU", 0) >= 1)
        count = share.workers or int(min(room.get("CPU", 0) / share.cpus,
                                         room.get("GPU", 0) / gpus if gpus else float("inf")))
        if count < 1:
            raise ClusterError(f"the cluster has {room.get('CPU', 0):g} free cores and "
                               f"{room.get('GPU', 0):g} free GPUs, and a worker wants "
                               f"{share.cpus:g} and {gpus:g}; give other --ray-cpus or --ray-gpus")
        actor = ray.remote(num_cpus=share.cpus, num_gpus=gpus, max_restarts=_RESTARTS,
                           max_task_retries=1)(_Host)
        self._new = lambda: actor.remote(os.getcwd(), worker)
        self._actors = [self._new() for _ in range(count)]
        self._pool = ActorPool(list(self._actors))

    def __enter__(self) -> RayPool:
        """Return the pool."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Leave the cluster; its workers end, what they have finished is on disk."""
        ray.shutdown()

    @property
    def free(self) -> bool:
        """Tell whether a worker waits for a task."""
        return self._pool.has_free()

    @property
    def busy(self) -> bool:
        """Tell whether an answer is to come."""
        return self._pool.has_next()

    def describe(self) -> Any:
        """Return what all workers say results depend on.

        Raises:
            ClusterError: one cannot work, or says something else.
        """
        try:
            said = ray.get([actor.describe.remote() for actor in self._actors])
        except RayError as error:
            raise ClusterError(f"a worker cannot begin ({first_line(error)}); see Ray's logs on "
                               "its machine") from error
        for name, _, problem in said:
            if problem:
                raise ClusterError(f"the worker at {name} cannot begin: {problem}")
        first, content, _ = said[0]
        for name, other, _ in said[1:]:
            if other != content:
                different = ", ".join(sorted(key for key in {*content, *other}
                                             if content.get(key) != other.get(key)))
                raise ClusterError(f"the workers at {first} and at {name} would label differently "
                                   f"({different}); bring the same package, weights and kind of "
                                   "device to all machines")
        return content

    def submit(self, task: Task) -> None:
        """Give a task to a worker that is free."""
        self._pool.submit(lambda actor, given: actor.do.remote(given), task)

    def next(self, idle: bool) -> Done | Lost:
        """Wait for an answer."""
        while True:
            try:
                return self._pool.get_next_unordered(timeout=_PATIENCE)
            except ActorDiedError as error:  # its pool lets go of it
                self._pool.push(self._new())
                return Lost(_cause(error))
            except RayError as error:
                return Lost(_cause(error))
            except TimeoutError:
                # A worker whose machine is gone waits for room on another one.
                while idle and (actor := self._pool.pop_idle()):
                    ray.kill(actor)


def _look_for(address: str) -> None:
    """Refuse an address where nobody listens; Ray itself would wait for minutes.

    Raises:
        ClusterError: naming it.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), _REACH).close()
        except (OSError, OverflowError) as error:
            raise ClusterError(f"there is no Ray cluster at '{address}' ({error}); start one with "
                               "`ray start --head`, or give --ray alone") from error


def _cause(error: RayError) -> str:
    return first_line(error) or type(error).__name__
