"""The doctor finds each fault that is put there, and says what to do; each check can fail."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from hidden_scenes import hide_scenes

from sclip_seg_ros.common import cores
from sclip_seg_ros.common.checkup import FAULT, OK, UNKNOWN, WARNING, Check, fault, ok
from sclip_seg_ros.common.libraries import LIBRARIES
from sclip_seg_ros.segmentation.backbones import cuda_graphs
from sclip_seg_ros.segmentation.scores.decoding import compiled, triton_kernel
from sclip_seg_ros.tools.doctor import command, device, machine, software
from sclip_seg_ros.tools.doctor.levels import Levels, advise, measure_levels
from sclip_seg_ros.tools.level_costs import LevelCost

ROOT = Path(__file__).resolve().parents[2]
Version = namedtuple("Version", "major minor micro releaselevel serial")


# Software


def test_an_old_python_is_told(monkeypatch):
    assert software.python().state == OK
    monkeypatch.setattr(software.sys, "version_info", Version(3, 9, 18, "final", 0))
    assert software.python().state == FAULT


def test_a_python_of_32_bits_is_told(monkeypatch):
    monkeypatch.setattr(software.struct, "calcsize", lambda form: 4)
    assert software.python().state == FAULT and "32 bits" in software.python().text


def test_the_libraries_are_those_of_the_requirements():
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").open()]
    required = dict(line.split(",")[0].split(">=") for line in lines if line)
    assert {name: least for name, (_, least) in LIBRARIES.items()} == required


def test_a_library_that_is_missing_or_breaks_is_told(monkeypatch):
    assert software.libraries().state == OK

    def importing(name):
        if name == "timm":
            raise ModuleNotFoundError("No module named 'timm'")
        if name == "cv2":
            raise AttributeError("_ARRAY_API not found")
        return importlib.import_module(name)

    monkeypatch.setattr(software, "import_module", importing)
    found = software.libraries()
    assert found.state == FAULT
    assert "timm (No module named 'timm')" in found.text
    assert "opencv-python-headless (_ARRAY_API not found)" in found.text


@pytest.mark.parametrize("version, state", [
    ("2.3.1", FAULT), ("2.4.0", OK), ("2.10.0+cu128", OK), ("2.4.0a0+git7", OK)])
def test_an_old_library_is_told(monkeypatch, version, state):
    monkeypatch.setattr(software, "version", lambda name: version if name == "torch" else "99")
    found = software.libraries()
    assert found.state == state
    assert state == OK or "torch 2.3.1 (older than 2.4)" in found.text


def test_a_torchvision_of_another_release_is_told(monkeypatch):
    assert software.torchvision_fits().state == OK

    def nms(*_):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    assert software.torchvision_fits().state == FAULT
    assert "operator torchvision::nms does not exist" in software.torchvision_fits().text


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """Return a function that lets a GPU be in sight, with driver, build and what torch sees."""
    def lay_out(driver=(13, 0), built="12.8", sees=True, capability=(9, 0),
                architectures=("sm_80", "sm_90")):
        file = tmp_path / "nvidia0"
        file.touch()
        monkeypatch.setattr(software, "GPU_FILES", (file,))
        monkeypatch.setattr(software, "driver_version", lambda: driver)
        monkeypatch.setattr(torch.version, "cuda", built)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: sees)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(architectures))
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
    return lay_out


@pytest.mark.parametrize("given, state, told, remedy", [
    ({}, OK, "for CUDA 12.8, driver for CUDA 13.0, GPU of capability 9.0", ""),
    ({"capability": (8, 6)}, OK, "capability 8.6", ""),
    ({"capability": (12, 0), "architectures": ("sm_90", "compute_90")}, OK, "12.0", ""),
    ({"capability": (12, 0)}, FAULT, "no code for this GPU's capability 12.0", ""),
    ({"capability": (6, 1)}, FAULT, "no code for this GPU's capability 6.1", ""),
    ({"sees": False, "built": None}, FAULT, "for the CPU, though there is a GPU", "--index-url"),
    ({"sees": False, "driver": None}, FAULT, "its driver (libcuda.so.1) cannot", "--gpus all"),
    ({"sees": False, "driver": (12, 4), "built": "13.0"}, FAULT, "serves CUDA up to 12.4",
     "install a torch for CUDA 12"),
    ({"sees": False}, FAULT, "torch sees no GPU", "CUDA_VISIBLE_DEVICES"),
])
def test_builds_driver_and_gpu_are_compared(gpu, given, state, told, remedy):
    gpu(**given)
    found = software.cuda_build()
    assert found.state == state and told in found.text and remedy in found.remedy


def test_what_torch_itself_says_of_a_gpu_is_told(gpu, monkeypatch):
    gpu(sees=False)

    def init():
        raise RuntimeError("CUDA error: system not yet initialized")

    monkeypatch.setattr(torch.cuda, "init", init)
    assert "system not yet initialized" in software.cuda_build().text


def test_without_a_gpu_the_cpu_computes(monkeypatch):
    monkeypatch.setattr(software, "GPU_FILES", ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert software.cuda_build().state == OK and "the CPU computes" in software.cuda_build().text


@pytest.mark.parametrize("answer, number, expected", [
    (0, 12040, (12, 4)), (0, 13000, (13, 0)), (999, 0, None)])
def test_the_driver_tells_its_cuda(monkeypatch, answer, number, expected):
    def version(pointer):
        pointer._obj.value = number
        return answer

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(cuDriverGetVersion=version))
    assert software.driver_version() == expected


def test_without_a_driver_there_is_no_version(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert software.driver_version() is None


# GPU


@pytest.mark.parametrize("check", [device.room, device.kernels, device.graphs])
def test_without_a_gpu_its_checks_say_that_they_cannot_run(monkeypatch, check):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check().state == UNKNOWN and check().text == "torch sees no CUDA device"


@pytest.fixture
def seen(monkeypatch):
    """Let torch see a GPU, of which nothing is computed on."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Test GPU")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


@pytest.mark.parametrize("free, state", [(6.0, OK), (0.5, WARNING)])
def test_a_gpu_that_is_full_is_told(monkeypatch, seen, free, state):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (free * 2**30, 8 * 2**30))
    assert device.room().state == state
    assert device.room().text == f"Test GPU, {free:.1f} of 8.0 GiB free"


@pytest.mark.parametrize("failure, state", [(None, OK), ("no C compiler", WARNING)])
def test_a_kernel_that_does_not_compile_is_told(monkeypatch, seen, failure, state):
    monkeypatch.setattr(triton_kernel, "triton", SimpleNamespace(__version__="3.4"))
    monkeypatch.setattr(triton_kernel, "usable", lambda device: failure is None)
    monkeypatch.setattr(triton_kernel, "fallback", lambda: failure)
    assert device.kernels().state == state
    assert (failure or "Triton 3.4 compiles") in device.kernels().text


@pytest.mark.parametrize("failure, state", [(None, OK), ("it is not built", WARNING)])
def test_a_cpu_without_compiled_decoding_is_told(monkeypatch, failure, state):
    monkeypatch.setattr(compiled, "fallback", lambda: failure)
    assert device.decoding().state == state
    assert (failure or "compiled") in device.decoding().text


@pytest.mark.parametrize("result, state", [
    (256.0, OK), (255.0, FAULT), (RuntimeError("operation not permitted when stream is capturing"),
                                  WARNING)])
def test_a_graph_that_cannot_be_recorded_or_is_wrong_is_told(monkeypatch, seen, result, state):
    def capture(call, argument):
        if isinstance(result, RuntimeError):
            raise result
        return lambda argument: torch.full((64, 64), result)

    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *size, device: ones(*size))
    monkeypatch.setattr(cuda_graphs, "capture", capture)
    assert device.graphs().state == state


@pytest.mark.parametrize("wrong, state", [(0, OK), (5, WARNING), (20, FAULT)])
def test_labels_that_half_precision_changes_are_told(monkeypatch, wrong, state):
    def labels(image, model, pretrained, where, precision):
        found = np.zeros((10, 10), np.uint8)
        found.flat[:wrong if precision == "bf16" else 0] = 1
        return found

    monkeypatch.setattr("sclip_seg_ros.models.fast_precision", lambda device: "bf16")
    monkeypatch.setattr(device, "_labels", labels)
    found = device.half_precision(device="cpu")
    assert found.state == state and f"{100 - wrong}.0% of the labels in bf16" in found.text


def test_half_precision_really_labels(monkeypatch):
    monkeypatch.setattr("sclip_seg_ros.models.fast_precision", lambda device: "bf16")
    assert device.half_precision(device="cpu").state == OK


def test_without_rendered_rooms_one_is_drawn(monkeypatch):
    rendered = device.picture()
    hide_scenes(monkeypatch)
    drawn = device.picture()
    assert drawn.shape == rendered.shape == (480, 640, 3) and drawn.dtype == np.uint8
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 100


# Machine


def test_a_quota_below_one_core_is_told(monkeypatch):
    assert machine.cores().state == OK
    monkeypatch.setattr(machine, "cpu_quota", lambda: 0.5)
    assert machine.cores().state == WARNING and "by a quota 0.5" in machine.cores().text


@pytest.mark.parametrize("free, state", [(3, OK), (1, WARNING)])
def test_a_full_memory_is_told(monkeypatch, tmp_path, free, state):
    file = tmp_path / "meminfo"
    file.write_text(f"MemTotal:       8388608 kB\nMemAvailable:   {free * 2**20} kB\n")
    monkeypatch.setattr(machine, "MEMORY", file)
    assert machine.memory().state == state
    assert machine.memory().text == f"{free}.0 of 8.0 GiB free"


@pytest.mark.parametrize("governor, driver, state", [
    ("powersave", "acpi-cpufreq", WARNING), ("powersave", "intel_pstate", OK),
    ("performance", "acpi-cpufreq", OK), ("schedutil", "tegra194", OK), (None, "", UNKNOWN)])
def test_cores_that_are_kept_slow_are_told(monkeypatch, tmp_path, governor, driver, state):
    if governor:
        folder = tmp_path / "cpu0/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(governor + "\n")
        (folder / "scaling_driver").write_text(driver + "\n")
    monkeypatch.setattr(machine, "FREQUENCIES", tmp_path)
    assert machine.cpu_clock().state == state


def programs(folder: Path, monkeypatch, **said: str) -> None:
    """Put programs that say something first on the path, and no others of the system's."""
    for name, text in said.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


@pytest.mark.parametrize("mode, state", [("MAXN", OK), ("MAXN_SUPER", OK), ("15W", WARNING)])
def test_a_jetson_that_saves_power_is_told(monkeypatch, tmp_path, mode, state):
    programs(tmp_path, monkeypatch, nvpmodel=f"NV Power Mode: {mode}\n0")
    monkeypatch.setattr(machine, "_JETSON_MODES", tmp_path)
    found = machine.gpu_clock()
    assert found.state == state and found.text == f"power mode {mode}"
    assert ("jetson_clocks" in found.remedy) is (state == WARNING)


@pytest.mark.parametrize("states, state", [
    ("Not Active, Not Active, Not Active, Not Active", OK),
    ("Not Active, Not Active, Active, Not Active", WARNING)])
def test_a_gpu_that_is_slowed_down_is_told(monkeypatch, tmp_path, states, state):
    programs(tmp_path, monkeypatch, nvidia_smi=f"1200 MHz, 1980 MHz, {states}")
    monkeypatch.setattr(machine, "_JETSON_MODES", tmp_path / "none")
    found = machine.gpu_clock()
    assert found.state == state and found.text.startswith("1200 MHz of at most 1980 MHz")
    assert ("sw_thermal_slowdown" in found.text) is (state == WARNING)


def test_clocks_that_nobody_tells_are_not_judged(monkeypatch, tmp_path):
    programs(tmp_path, monkeypatch, nvidia_smi="clocks is not a valid field", nvpmodel="?")
    for modes in (tmp_path, tmp_path / "none"):
        monkeypatch.setattr(machine, "_JETSON_MODES", modes)
        assert machine.gpu_clock().state == UNKNOWN


@pytest.fixture
def homes(monkeypatch, tmp_path):
    """Let all folders that are written into be below one."""
    for name in ("HF_HUB_CACHE", "ROS_LOG_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower() / "deeper"))
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_folder_that_cannot_be_written_to_is_told(homes, monkeypatch):
    assert machine.folders().state == OK
    assert not (homes / "ros_log_dir").exists(), "the doctor makes no folders"
    (homes / "ros_log_dir").write_text("a file")
    found = machine.folders()
    assert found.state == FAULT and f"log '{homes}/ros_log_dir/deeper'" in found.text


def test_a_disk_without_room_is_told(homes, monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**28))
    found = machine.folders()
    assert found.state == WARNING and "(0.2 GiB free)" in found.text


@pytest.mark.parametrize("said, state", [("yes", OK), ("no", WARNING), ("", UNKNOWN)])
def test_a_clock_that_nobody_sets_is_told(monkeypatch, tmp_path, said, state):
    programs(tmp_path, monkeypatch, timedatectl=said)
    assert machine.clock().state == state


def test_a_clock_of_the_past_is_told(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1.0)
    assert machine.clock().state == FAULT


def test_spoilt_weights_are_told(monkeypatch, tmp_path):
    blobs = tmp_path / "models--a--b/blobs"
    blobs.mkdir(parents=True)
    monkeypatch.setattr("sclip_seg_ros.models.hub.cache_folder", lambda: tmp_path)
    assert machine.weights().state == OK and machine.weights().text == "2 files as they should be"
    (blobs / "a.incomplete").touch()
    assert machine.weights().state == WARNING
    (blobs / ("0" * 64)).write_bytes(b"half of it")
    found = machine.weights()
    assert found.state == FAULT and "0" * 64 in found.text


def test_embedded_weights_that_are_spoilt_or_gone_are_told(monkeypatch, tmp_path):
    embedded = tmp_path / "models/embedded"
    embedded.mkdir(parents=True)
    own = ROOT / "sclip_seg_ros/models/embedded"
    for name in ("loftup_evaluation.json", "loftup.safetensors"):
        (embedded / name).write_bytes((own / name).read_bytes())
    monkeypatch.setattr("sclip_seg_ros.models.hub.cache_folder", lambda: tmp_path)
    monkeypatch.setattr("sclip_seg_ros.models.resources.PACKAGE_FOLDER", tmp_path)
    found = machine.weights()
    assert found.state == FAULT
    assert "open_clip_model.safetensors" in found.text and "loftup.safe" not in found.text


# Levels


def measured(*milliseconds: float) -> Levels:
    return Levels("m", "d", "cpu.yaml", [LevelCost(f"level-{index}", time, {}, 1.0)
                                         for index, time in enumerate(milliseconds)])


@pytest.mark.parametrize("times, rate, budget, level, keeps", [
    ((50, 20), 10, 100.0, "level-0", True), ((90, 70, 20), 10, 100.0, "level-1", True),
    ((50, 20), 30, 30.0, "level-1", True), ((900, 300), 10, 375.0, "level-1", False),
    ((1.0,), 300, 3.3, "level-0", True)])
def test_the_best_level_that_keeps_the_rate_is_advised(times, rate, budget, level, keeps):
    advice = advise(measured(*times), rate)
    assert (advice.latency_budget_ms, advice.level, advice.keeps) == (budget, level, keeps)
    assert advice.yaml == [f"latency_budget_ms: {budget}", "quality_ladder: cpu.yaml"]


@pytest.mark.parametrize("rate, told", [(4.99436, "4.99"), (29.97, "30"), (7.5, "7.5"),
                                        (1000, "1000"), (0.125, "0.125")])
@pytest.mark.parametrize("times", [(1.0,), (50000.0,)], ids=["kept", "not kept"])
def test_a_measured_rate_is_told_with_three_digits(times, rate, told):
    assert f" {told} frames a second" in advise(measured(*times), rate).why


def test_levels_are_measured_on_this_machine_as_the_node_computes(monkeypatch):
    chosen = []
    monkeypatch.setattr(cores, "set_threads", lambda: chosen.append("as the node"))
    found = measure_levels("embedded", "", "cpu", rounds=1)
    assert chosen == ["as the node"]
    assert found.ladder == "cpu.yaml" and found.costs[0].name == "full"
    assert found.costs[-1].name == "whole-128"
    assert all(cost.total_ms > 0 for cost in found.costs)


# The program


@pytest.fixture
def quick(monkeypatch):
    """Put a short table and measured levels in place of the real ones."""
    table = [Check("one", lambda: ok("fine"), "")]
    monkeypatch.setattr(command, "checks", lambda parsed: table)
    monkeypatch.setattr(command, "measure_levels", lambda *_: measured(90, 70, 20))
    return table


def test_every_check_has_a_name_and_a_remedy():
    table = command.checks(SimpleNamespace(model="embedded", pretrained="", device="auto"))
    assert len({check.name for check in table}) == len(table)
    assert all(len(check.remedy) > 15 for check in table)


def test_one_screen_and_the_two_lines(quick, capsys):
    assert command.main([]) == 0
    said = capsys.readouterr().out
    assert "   ok  one            fine\n" in said
    assert "    -  ROS            not looked into; `ros2 run sclip_seg_ros doctor` does" in said
    assert "    latency_budget_ms: 100.0\n    quality_ladder: cpu.yaml\n" in said
    assert said.endswith("2 checks: 0 faulty, 0 with a warning, 1 not run\n")
    assert max(map(len, said.splitlines())) <= 100


def test_a_fault_is_the_exit_code_and_has_its_remedy(quick, capsys):
    quick.append(Check("two", lambda: fault("broken"), "mend it"))
    assert command.main(["--no-levels"]) == 1
    assert "FAULT  two            broken\n                      -> mend it\n" \
        in capsys.readouterr().out


def test_the_report_holds_all_of_it_and_no_secret(quick, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert command.main(["--json", "--rate", "30"]) == 0
    said = capsys.readouterr().out
    report = json.loads(said)
    assert report["checks"][0] == {"name": "one", "state": "ok", "text": "fine", "remedy": ""}
    assert report["environment"]["ROS_DOMAIN_ID"] == "7" and "secret" not in said
    assert [cost["name"] for cost in report["levels"]["costs"]] == ["level-0", "level-1", "level-2"]
    assert report["advice"]["yaml"] == ["latency_budget_ms: 30.0", "quality_ladder: cpu.yaml"]


OF_ROS = """
from sclip_seg_ros.common.checkup import Check, ok

def ros_checks():
    return [Check("cameras", lambda: ok("/front"), "")], lambda: 5.0
"""


def test_the_cameras_rate_is_to_be_kept_unless_one_is_named(quick, capsys, tmp_path, monkeypatch):
    (tmp_path / "of_ros.py").write_text(OF_ROS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    command.main([], ros="of_ros")
    assert "latency_budget_ms: 200.0" in capsys.readouterr().out
    command.main(["--rate", "10"], ros="of_ros")
    assert "latency_budget_ms: 100.0" in capsys.readouterr().out


@pytest.mark.parametrize("text, told", [
    ("import no_such_message_package", "cannot be imported: ModuleNotFoundError: No module"),
    ("import os; os.write(2, b'Expected another RMW'); os._exit(102)",
     "cannot be imported: Expected another RMW"),
    ("import os; os._exit(3)", "cannot be imported: without a word")])
def test_a_ros_that_cannot_be_imported_is_a_fault(quick, capsys, tmp_path, monkeypatch, text, told):
    (tmp_path / "broken_ros.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert command.main(["--no-levels"], ros="broken_ros") == 1
    said = capsys.readouterr().out
    assert f"FAULT  ROS            {told}" in said
    assert "source install/setup.bash" in said


def test_levels_that_cannot_be_measured_are_told(quick, capsys, monkeypatch):
    def failing(*_):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(command, "measure_levels", failing)
    assert command.main([]) == 0
    assert "quality levels: cannot be measured: CUDA error: out of memory" \
        in capsys.readouterr().out


def test_ctrl_c_ends_it_with_one_line(quick, capsys):
    def interrupted():
        raise KeyboardInterrupt

    quick.append(Check("two", interrupted, ""))
    assert command.main([]) == 130
    assert capsys.readouterr().err == "sclip-doctor: interrupted\n"


@pytest.mark.parametrize("flag", [["--rate", "0"], ["--rate", "often"], ["--ratee", "3"]])
def test_unusable_flags_are_refused(flag, capsys):
    assert command.main(flag) == 2
    told = capsys.readouterr().err
    assert told.startswith("sclip-doctor: ") and told.count("\n") == 1


def test_a_python_without_any_library_gets_its_diagnosis(tmp_path):
    """As a system's Python outside the environment is, which is the commonest fault of all."""
    for name in ("torch", "numpy", "cv2", "open_clip"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError(\"No module '{name}'\")")
    done = subprocess.run(
        [sys.executable, "-m", "sclip_seg_ros.tools.sclip", "doctor"], capture_output=True,
        text=True, timeout=120, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"})
    assert done.returncode == 1, done.stderr
    assert "FAULT  libraries      not to be imported: torch (No module 'torch')" in done.stdout
    assert "-> `pip install -r requirements.txt`" in done.stdout
    assert "quality levels: cannot be measured: No module" in done.stdout
    assert "Traceback" not in done.stderr
