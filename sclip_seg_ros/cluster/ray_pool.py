"""Ray as the engine: actors on one machine or many, each with a worker and its model.

What Ray does is left to it: it places the actors, restarts one that died, wherever there is room
(``max_restarts``), and gives it the task that it died of once more (``max_task_retries``). Who is
free and who is not is known by its ``ActorPool``. A task that is lost in spite of that has killed
two workers.

Where Ray would wait for ever, or end the process without a word, there is a sentence instead: for
workers without room, and for a head that is gone, or frozen from the beginning.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.cluster.work import Done, EngineGone, Lost, Task, Worker, answer
from sclip_seg_ros.common.cores import usable_cores
from sclip_seg_ros.common.entry import end_at_once
from sclip_seg_ros.common.text import differing, first_line

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray  # noqa: E402
from ray._private.services import get_ray_address_from_environment  # noqa: E402
from ray._raylet import GcsClient  # noqa: E402
from ray.exceptions import (  # noqa: E402
    ActorDiedError,
    ActorUnavailableError,
    RayError,
    RpcError,
)
from ray.util import ActorPool  # noqa: E402

LOCAL = "local"
_STORE = 100_000_000  # bytes for objects that workers share; results go to the disk instead
_RESTARTS = 10  # of an actor, before another takes its place; one that cannot begin is given up
_REACH = 10.0  # seconds in which the cluster's head must answer
_PATIENCE = 60.0  # seconds without news, after which workers without a task make room
_LOOK = 5.0  # seconds between two looks at the head
_SILENCE = 15.0  # seconds without its answer, after which it is gone; Ray ends the process after 60
# How HTTP/2 begins, which Ray's head speaks, with an empty frame of settings; it answers with its.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_BEGIN = 300.0  # seconds in which every worker's process must have begun


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
        self._said: Any = None

    def begin(self) -> None:
        """Answer as soon as the process is there."""

    def describe(self) -> tuple[str, Any, str]:
        """Return the worker's name, what it says, and why it cannot work; one of both is empty."""
        try:
            self._ready()
            return self._name(), self._said, ""
        except Exception as error:
            return self._name(), None, first_line(error) or type(error).__name__

    def do(self, task: Task) -> Done:
        """Have the worker do a task; one in the place of a dead one may fail to begin.

        Then its process ends, for Ray to try the task elsewhere or later; by answering it would
        take one task after another, and do none.
        """
        try:
            worker = self._ready()
        except Exception as error:
            print(f"the worker cannot begin: {first_line(error)}", file=sys.stderr, flush=True)
            os._exit(1)
        return answer(worker, task, self._name())

    def _ready(self) -> Worker:
        """Return the worker, with its model loaded."""
        if self._worker is None:
            os.chdir(self._folder)
            worker = self._make()
            self._said = worker.describe()
            self._worker = worker
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
        self._head = _Head()
        gpus = share.gpus if share.gpus is not None else float(
            ray.available_resources().get("GPU", 0) >= 1)
        count = _room_for(share, gpus)
        actor = ray.remote(num_cpus=share.cpus, num_gpus=gpus, max_restarts=_RESTARTS,
                           max_task_retries=1)(_Host)
        self._new = lambda: actor.remote(os.getcwd(), worker)
        self._actors = [self._new() for _ in range(count)]
        self._pool = ActorPool(list(self._actors))
        self._news = time.monotonic()

    def __enter__(self) -> RayPool:
        """Return the pool."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Leave the cluster; its workers end, what they have finished is on disk.

        A head that is gone is left without a word: Ray would wait for its answer.
        """
        if self._head.gone:
            end_at_once()
        else:
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
            self._answers([actor.begin.remote() for actor in self._actors], _BEGIN)
            said = self._answers([actor.describe.remote() for actor in self._actors])
        except RayError as error:
            raise ClusterError(f"a worker cannot begin ({_cause(error)}); see Ray's logs on "
                               "its machine") from error
        except EngineGone as error:
            raise ClusterError(str(error)) from error
        for name, _, problem in said:
            if problem:
                raise ClusterError(f"the worker at {name} cannot begin: {problem}")
        first, content, _ = said[0]
        for name, other, _ in said[1:]:
            if different := differing(content, other):
                raise ClusterError(f"the workers at {first} and at {name} would label differently "
                                   f"({different}); bring the same package, weights and kind of "
                                   "device to all machines")
        return content

    def submit(self, task: Task) -> None:
        """Give a task to a worker that is free."""
        self._pool.submit(lambda actor, given: actor.do.remote(given), task)

    def next(self, idle: bool) -> Done | Lost:
        """Wait for an answer.

        Raises:
            EngineGone: the cluster's head does not answer any more.
        """
        while True:
            self._head.look()
            try:
                done = self._pool.get_next_unordered(timeout=_LOOK)
            except TimeoutError:
                # A worker whose machine is gone waits for room on another one.
                while idle and time.monotonic() - self._news > _PATIENCE and (
                        actor := self._pool.pop_idle()):
                    ray.kill(actor)
                continue
            except ActorDiedError as error:  # its pool lets go of it
                self._pool.push(self._new())
                done = Lost(_cause(error))
            except RayError as error:
                done = Lost(_cause(error))
            self._news = time.monotonic()
            return done

    def _answers(self, promised: Sequence[Any], limit: float = float("inf")) -> list[Any]:
        """Wait for answers, and return them all.

        Args:
            promised: references to them.
            limit: seconds in which they must come.

        Raises:
            ClusterError: they do not come in time.
            EngineGone: the cluster's head does not answer any more.
            RayError: one of them will never come.
        """
        end = time.monotonic() + limit
        missing = list(promised)
        while missing:
            there, missing = ray.wait(missing, num_returns=len(missing), timeout=_LOOK)
            ray.get(there)
            self._head.look()
            if missing and time.monotonic() > end:
                raise ClusterError(
                    f"{len(missing)} of {len(promised)} workers did not begin within {limit:.0f} "
                    "seconds; `ray status` tells whether there is room for them: give other "
                    "--ray-workers, --ray-cpus or --ray-gpus")
        return list(ray.get(list(promised)))


class _Head:
    """What a run depends on: the cluster's head, and the node beside the command.

    The head is asked something: one that is frozen still accepts connections, and never answers.
    """

    def __init__(self) -> None:
        context = ray.get_runtime_context()
        self._address = context.gcs_address
        self._node = ray.NodeID.from_hex(context.get_node_id())
        self._client = GcsClient(address=self._address)
        self._looked = self._heard = time.monotonic()
        self.gone = False

    def look(self) -> None:
        """See now and then whether both are still there.

        Raises:
            EngineGone: the head has not answered for a while, or counts the node among the dead.
        """
        if time.monotonic() - self._looked < _LOOK:
            return
        try:
            alive, = self._client.check_alive([self._node], timeout=_LOOK)
            self._heard = time.monotonic()
        except RpcError as error:
            if time.monotonic() - self._heard > _SILENCE:
                self.gone = True
                raise EngineGone(f"the cluster's head at {self._address} does not answer any more "
                                 f"({first_line(error)})") from error
        else:
            if not alive:
                self.gone = True
                raise EngineGone("Ray's node on this machine is dead, so that no worker can be "
                                 "reached; start it again with `ray start`, or give --ray alone")
        finally:
            self._looked = time.monotonic()


def _room_for(share: Share, gpus: float) -> int:
    """Return how many workers there are to be.

    Raises:
        ClusterError: there is no room for so many, or for any.
    """
    end = time.monotonic() + _REACH  # what an earlier run had is not free at once
    while True:
        room = ray.available_resources()
        # A worker lies on one machine, and cannot take a core here and one there.
        places = sum(_fitting(node["Resources"], share.cpus, gpus)
                     for node in ray.nodes() if node["Alive"])
        count = min(places, _fitting(room, share.cpus, gpus))
        if count >= (share.workers or 1):
            return share.workers or count
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    free = f"{room.get('CPU', 0):g} free cores and {room.get('GPU', 0):g} free GPUs"
    wanted = f"a worker wants {share.cpus:g} and {gpus:g} on one machine"
    if share.workers and count:
        raise ClusterError(f"the cluster has room for {count} of {share.workers} workers "
                           f"({free}, and {wanted}); give --ray-workers {count}, or other "
                           "--ray-cpus or --ray-gpus")
    raise ClusterError(f"the cluster has {free}, and {wanted}; give other --ray-cpus or "
                       "--ray-gpus")


def _fitting(resources: dict[str, float], cpus: float, gpus: float) -> int:
    return int(min(resources.get("CPU", 0) / cpus,
                   resources.get("GPU", 0) / gpus if gpus else float("inf")))


def _look_for(address: str) -> None:
    """Refuse an address where nobody listens, or nobody answers; Ray itself would wait for both.

    A process that is frozen, or hangs, still accepts connections, but greets nobody.

    Raises:
        ClusterError: naming it.
    """
    try:
        found = get_ray_address_from_environment(address, None) if address == "auto" else address
        host, _, port = found.rpartition(":")
        if not host or not port.isdecimal():
            return
        with socket.create_connection((host, int(port)), _REACH) as connection:
            connection.sendall(_GREETING)
            try:
                connection.recv(1)
            except TimeoutError as error:
                raise ClusterError(
                    f"the head of the Ray cluster at '{found}' takes connections, and does not "
                    f"answer within {_REACH:.0f} seconds; it is frozen or hangs: wake it, or end "
                    "it with `ray stop --force` and start it anew, or give --ray alone") from error
    except (OSError, OverflowError) as error:
        raise ClusterError(f"there is no Ray cluster at '{address}' ({first_line(error)}); start "
                           "one with `ray start --head`, or give --ray alone") from error


def _cause(error: RayError) -> str:
    """Say in one line why a worker died; Ray's own words name no more than an identifier."""
    if isinstance(error, ActorUnavailableError):
        return "its process was killed, as a machine does that runs out of memory, or crashed"
    return first_line(error)
