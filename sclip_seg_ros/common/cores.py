"""How many cores this process may compute with: by its affinity, a quota, the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sclip_seg_ros.common.text import in_number

# Of the libraries that torch computes with; they are read when torch is imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_PROCESS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return how many cores the process may keep busy; what a quota has beyond whole ones is lost.

    More threads than that would be stopped by the system in the middle of a frame.
    """
    cores, quota = len(os.sched_getaffinity(0)), cpu_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(process: Path = _PROCESS, groups: Path = _GROUPS) -> float | None:
    """Return the cores' worth of time that control groups allow, as of `docker run --cpus`.

    Args:
        process: file that names the process's groups (cgroups(7)).
        groups: where their hierarchies are mounted, version 2 or 1.

    Returns:
        The least of the process's own group and those around it; None where there is no limit.
    """
    try:
        lines = process.read_text().splitlines()
    except OSError:
        return None
    quotas = [quota for line in lines for folder in _folders(line, groups)
              if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def threads_chosen() -> str:
    """Return the environment's own choice of threads, e.g. "OMP_NUM_THREADS=1".

    Empty where there is none, or what stands there is no number, which torch ignores as well.
    """
    return next((f"{name}={os.environ[name]}" for name in THREAD_VARIABLES
                 if re.fullmatch(r"\s*0*[1-9]\d*\s*(,.*)?", os.environ.get(name, ""))), "")


def obey_quota() -> None:
    """Have torch, once it is imported, compute with no more threads than a quota allows.

    Its own default knows the affinity alone. A choice that the environment makes stays.
    """
    if not threads_chosen() and usable_cores() < len(os.sched_getaffinity(0)):
        os.environ[THREAD_VARIABLES[0]] = str(usable_cores())


def default_threads(cores: int) -> int:
    """Leave one core to the camera and the middleware, where that does not halve the speed."""
    return cores - 1 if cores > 2 else cores


def set_threads(asked: int = 0) -> str:
    """Have torch compute with some threads on the CPU; return how many, and who chose them.

    Args:
        asked: the node's parameter ``threads``; 0: as the environment says, else as there are
            cores.
    """
    import torch  # not at the top: the choice is made before torch is imported, in obey_quota

    chosen = threads_chosen()
    cores = usable_cores()
    if asked:
        torch.set_num_threads(asked)
        why = f" (not {chosen}: the parameter threads holds)" if chosen else ""
        if asked > cores:
            why += f", more than the {in_number(cores, 'usable core')}: they wait for each other"
    elif chosen:
        why = f" ({chosen}; the parameter threads overrules it)"
    else:
        torch.set_num_threads(default_threads(cores))
        why = f" (of {in_number(cores, 'usable core')})"
    return f"{torch.get_num_threads()}{why}"


def _folders(line: str, groups: Path) -> Iterator[Path]:
    """Yield the folders of a line of /proc/self/cgroup, the group's own first."""
    _, controllers, path = line.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return
    top = groups / controllers  # version 2 names none, and lies at the top
    inner = PurePosixPath(path.lstrip("/"))
    for part in (inner, *inner.parents):  # the last of them is "."
        yield top / part


def _quota_of(folder: Path) -> float | None:
    """Return a group's own quota in cores, None where it has none."""
    try:
        if (folder / "cpu.max").is_file():  # version 2: "200000 100000", or "max 100000"
            time, period = (folder / "cpu.max").read_text().split()
        else:
            time, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip()
                            for name in ("quota", "period"))
        return float(time) / float(period) if time not in ("max", "-1") else None
    except (OSError, ValueError):
        return None
