"""What the computer has: cores, memory, clocks, folders, weights that are what they should be."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sclip_seg_ros.common.checkup import Finding, fault, not_run, ok, warning
from sclip_seg_ros.common.cores import cpu_quota, threads_chosen, usable_cores
from sclip_seg_ros.common.text import in_number

LEAST_MEMORY, LEAST_DISK = 2.0, 1.0  # GiB; ViT-B/16 is a download of 0.6
FREQUENCIES = Path("/sys/devices/system/cpu")
MEMORY = Path("/proc/meminfo")
_OWN_CLOCK = ("intel_pstate", "amd-pstate", "amd-pstate-epp")  # whose "powersave" still goes fast
_JETSON_MODES = Path("/etc/nvpmodel.conf")
_SECONDS = 10.0  # for another program's answer
_THROTTLES = ("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "sw_power_cap")


def cores() -> Finding:
    """Tell how many cores may be used, and what says so."""
    allowed, quota = len(os.sched_getaffinity(0)), cpu_quota()
    text = f"{in_number(usable_cores(), 'core')} of {os.cpu_count()}"
    if allowed < (os.cpu_count() or allowed):
        text += f", by affinity {allowed}"
    if quota is not None:
        text += f", by a quota {quota:g}"
    if threads_chosen():
        text += f"; {threads_chosen()} holds where the parameter threads is 0"
    if quota is not None and quota < 1:
        return warning(text, "give the container at least one core (`docker run --cpus 2`)")
    return ok(text)


def memory() -> Finding:
    """Look at the main memory that is free."""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", MEMORY.read_text(), re.MULTILINE))
    free, total = (int(found[name]) / 2**20 for name in ("MemAvailable", "MemTotal"))
    text = f"{free:.1f} of {total:.1f} GiB free"
    return ok(text) if free >= LEAST_MEMORY else warning(text)


def cpu_clock() -> Finding:
    """Look whether the system keeps the cores slow to save power."""
    governors = {_text(path) for path in FREQUENCIES.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    drivers = {_text(path) for path in FREQUENCIES.glob("cpu[0-9]*/cpufreq/scaling_driver")}
    if not governors:
        return not_run("the system shows no clocks, as in a virtual machine")
    text = f"governor {', '.join(sorted(governors))} of {', '.join(sorted(drivers)) or 'unknown'}"
    slow = "powersave" in governors and not drivers & set(_OWN_CLOCK)
    return warning(text) if slow else ok(text)


def gpu_clock() -> Finding:
    """Look at a Jetson's power mode, or at what slows another GPU down."""
    if _JETSON_MODES.exists():
        said = _said("nvpmodel", "-q")
        mode = re.search(r"Power Mode:\s*(\S+)", said)
        if not mode:
            return not_run("`nvpmodel -q` names no power mode; try it with sudo")
        text = f"power mode {mode[1]}"
        return ok(text) if mode[1].startswith("MAXN") else warning(
            text, "choose the mode without limits (`sudo nvpmodel -p --verbose` lists them, "
            "`sudo nvpmodel -m NUMBER` chooses), then `sudo jetson_clocks`")
    names = [f"clocks_throttle_reasons.{name}" for name in _THROTTLES]
    query = ",".join(["clocks.sm", "clocks.max.sm", *names])
    said = _said("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
    lines = [line.split(", ") for line in said.splitlines()]
    if not lines or any(len(line) != 2 + len(names) for line in lines):
        return not_run("no nvidia-smi that tells of clocks")
    text = "; ".join(f"{line[0]} of at most {line[1]}" for line in lines)
    slowed = sorted({name for line in lines for name, state in zip(_THROTTLES, line[2:],
                                                                   strict=True)
                     if state.strip() == "Active"})
    return warning(f"{text}, slowed down by {', '.join(slowed)}") if slowed else ok(text)


def folders() -> Finding:
    """Write into every folder that node and programs write into, and look for room."""
    bad, full = [], []
    for what, folder in _folders():
        place = next(path for path in (folder, *folder.parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            bad.append(f"{what} '{folder}' ({error.strerror})")
            continue
        if shutil.disk_usage(place).free < LEAST_DISK * 2**30:
            full.append(f"{what} '{folder}' "
                        f"({shutil.disk_usage(place).free / 2**30:.1f} GiB free)")
    if bad:
        return fault(f"not to be written to: {', '.join(bad)}")
    if full:
        return warning(f"hardly any room: {', '.join(full)}", "make room on that disk")
    return ok(", ".join(f"{what} '{folder}'" for what, folder in _folders()))


def clock() -> Finding:
    """Look whether the time is right: other computers' stamps are compared with it."""
    newest = Path(__file__).stat().st_mtime
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    if time.time() < newest:
        return fault(f"{now}: before this package was installed")
    said = _said("timedatectl", "show", "--property=NTPSynchronized", "--value").strip()
    if said == "yes":
        return ok(f"{now}, synchronised")
    if said == "no":
        return warning(f"{now}, not synchronised with any other clock")
    return not_run(f"{now}; no timedatectl that tells whether it is synchronised")


def weights() -> Finding:
    """Compare the embedded weights, and those of the cache, with their checksums."""
    from sclip_seg_ros.models.hub import cache_folder
    from sclip_seg_ros.models.resources import PACKAGE_FOLDER
    from sclip_seg_ros.models.weights import checksum

    spoilt, count = [], 0
    for file, expected in (*_embedded(PACKAGE_FOLDER / "models/embedded"),
                           *_of_cache(cache_folder())):
        count += 1
        if not file.is_file() or checksum(file) != expected:
            spoilt.append(file)
    if spoilt:
        return fault("not what they should be: " + ", ".join(f"'{file}'" for file in spoilt))
    partial = len(list(cache_folder().glob("models--*/blobs/*.incomplete")))
    text = f"{in_number(count, 'file')} as they should be"
    return warning(f"{text}; {in_number(partial, 'download')} broken off in '{cache_folder()}'",
                   "`sclip fetch --model ...` goes on with it") if partial else ok(text)


def _folders() -> Iterator[tuple[str, Path]]:
    home = Path(os.environ.get("ROS_HOME", "~/.ros")).expanduser()
    caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    hub = Path(os.environ.get("HF_HOME", caches / "huggingface"))
    yield "weights", Path(os.environ.get("HF_HUB_CACHE", hub / "hub")).expanduser()
    yield "log", Path(os.environ.get("ROS_LOG_DIR", home / "log")).expanduser()
    yield "kernels", Path(os.environ.get("TRITON_CACHE_DIR", "~/.triton")).expanduser()
    yield "temporary", Path(tempfile.gettempdir())


def _embedded(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of the embedded models, and their checksums."""
    stated = json.loads((folder / "loftup_evaluation.json").read_text(encoding="utf-8"))
    yield folder / "open_clip_model.safetensors", stated["weights_sha256"]
    yield folder / "loftup.safetensors", stated["loftup_sha256"]


def _of_cache(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the large files of a hub's cache, which are called by their checksums."""
    for blob in sorted(folder.glob("models--*/blobs/*")):
        if re.fullmatch(r"[0-9a-f]{64}", blob.name):
            yield blob, blob.name


def _text(path: Path) -> str:
    return path.read_text().strip()


def _said(*command: str) -> str:
    """Return what a program prints; nothing where there is no such, or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
