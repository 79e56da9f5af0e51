"""What a user installs: metadata, messages, the colcon overlay, the wheel.

The tests of the overlay need the built package, which `make test` builds; without it they fail.
"""

from __future__ import annotations

import ast
import ctypes
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from ament_index_python import get_package_prefix, get_package_share_directory, get_resource
from catkin_pkg.package import parse_package
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rclpy.serialization import deserialize_message, serialize_message

import sclip_seg_ros
from sclip_seg_ros.tools.sclip import VERBS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest needs there

ROOT = Path(__file__).resolve().parents[1]
MESSAGES = sorted(path.stem for path in (ROOT / "msg").glob("*.msg"))
CONFIG = "segment.yaml"  # of config/
# Of ROS 2: those that PyPI has wheels of, and those that apt brings.
DISTRIBUTIONS = ("kilted", "jazzy")
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FROM_APT = ("humble", "jazzy", "kilted", "lyrical")
# This package, the CRF library of the extra "crf", and what comes with ROS.
FROM_ELSEWHERE = {"sclip_seg_ros", "sclip_research", "pydensecrf", "ament_index_python",
                  "triton"}  # comes with torch for CUDA


def statements(path: Path) -> list[str]:
    """Return the lines of a file of requirements or constraints that are not comments."""
    return [line.partition(" #")[0].strip() for line in path.read_text().splitlines()
            if line.strip() and not line.startswith("#")]


def files_below(folder: Path) -> set[Path]:
    """Return the files below a folder, relative to it, without caches and what is compiled."""
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".cpp"
    }


# Metadata


def test_package_xml_is_valid_and_asks_for_cmake_and_messages() -> None:
    warnings: list[str] = []
    package = parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert warnings == []
    assert package.get_build_type() == "ament_cmake"
    assert [group.name for group in package.member_of_groups] == ["rosidl_interface_packages"]


def test_one_version_everywhere() -> None:
    setup = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert setup.returncode == 0, setup.stderr
    package = parse_package(str(ROOT / "package.xml"))
    assert package.version == sclip_seg_ros.__version__ == setup.stdout.split()[-1]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_pins_cover_and_satisfy_every_requirement(distribution: str) -> None:
    lines = [line for name in ("constraints.txt", f"constraints-ros-{distribution}.txt")
             for line in statements(ROOT / name)]
    pins = {canonicalize_name(name): version
            for name, version in (line.split("==") for line in lines)}
    assert len(pins) == len(lines), "a package is pinned twice"
    for path in [ROOT / "requirements.txt", ROOT / "scripts/requirements/dev.txt",
                 ROOT / f"scripts/requirements/ros-{distribution}.txt"]:
        for line in statements(path):
            requirement = Requirement(line)
            version = pins.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement.name} of {path.name} is not pinned"
            assert requirement.specifier.contains(version), f"{line} refuses its pin {version}"


@pytest.mark.parametrize("distribution", FROM_APT)
def test_limits_for_a_ros_from_apt_leave_room_for_every_requirement(distribution: str) -> None:
    """And keep NumPy to what the messages of that distribution are compiled against."""
    limits = {canonicalize_name(Requirement(line).name): Requirement(line).specifier
              for line in statements(ROOT / f"scripts/constraints-apt/{distribution}.txt")}
    numpy = limits.get("numpy", SpecifierSet())
    assert numpy.contains("1.26.4")
    assert numpy.contains("2.3.4") == (distribution == "lyrical")
    for line in statements(ROOT / "requirements.txt"):
        requirement = Requirement(line)
        least = next(bound.version for bound in requirement.specifier if bound.operator == ">=")
        limit = limits.get(canonicalize_name(requirement.name))
        assert limit is None or limit.contains(least), line


def test_every_library_that_is_imported_is_required() -> None:
    package = ROOT / "sclip_seg_ros"
    sources = [path for path in package.rglob("*.py")
               if path.relative_to(package).parts[0] not in ("cluster", "ros", "studio", "tools")]
    assert not_from_pip(sources) == set()


def test_programs_need_nothing_that_their_extra_does_not_bring() -> None:
    """And the node, which is installed without extras, none of their libraries."""
    tools = list((ROOT / "sclip_seg_ros/tools").rglob("*.py"))
    assert not_from_pip(tools) == {"rosbags", "jinja2"}
    assert not_from_pip(tools, "tools") == set()
    studio = list((ROOT / "sclip_seg_ros/studio").rglob("*.py"))
    assert not_from_pip(studio) == {"starlette", "uvicorn"}
    assert not_from_pip(studio, "studio") == set()
    cluster = list((ROOT / "sclip_seg_ros/cluster").rglob("*.py"))
    assert not_from_pip(cluster) == {"fsspec", "ray"}
    assert not_from_pip(cluster, "cluster") == set()
    assert not_from_pip(list((ROOT / "research").rglob("*.py")), "research") == set()
    for verb in VERBS.values():
        folder = ROOT / verb.module.replace(".", "/").removesuffix("/command")
        if not verb.extra and folder.is_dir():
            assert not_from_pip(list(folder.rglob("*.py"))) == set(), verb
    assert {verb.extra for verb in VERBS.values()} <= {"", *METADATA["optional-dependencies"]}


def test_every_program_is_installed_by_its_name() -> None:
    expected = {"sclip", *(f"sclip-{verb}" for verb in VERBS)}
    assert set(METADATA["scripts"]) == expected
    assert set(METADATA["scripts"].values()) == {"sclip_seg_ros.tools.sclip:main"}
    folder = Path(get_package_prefix("sclip_seg_ros"), "lib", "sclip_seg_ros")
    assert {path.name for path in folder.glob("sclip*")} == expected


def test_every_ros_package_that_is_imported_is_declared() -> None:
    """What is not declared is not installed by rosdep, and the import fails on a robot."""
    package = parse_package(str(ROOT / "package.xml"))
    declared = {dependency.name for dependency in package.exec_depends}
    sources = [*(ROOT / "sclip_seg_ros/ros").rglob("*.py"), *(ROOT / "launch").glob("*.py"),
               *(ROOT / "examples").glob("*.py")]
    assert not_from_pip(sources) - declared == set()


@pytest.mark.pain(6)
def test_neither_cv_bridge_nor_an_old_numpy_is_needed() -> None:
    """The node imports where cv_bridge cannot, on whatever NumPy is installed."""
    script = ("import sys; sys.modules['cv_bridge'] = None\n"
              "import sclip_seg_ros.ros.segmentation_node, sclip_seg_ros.ros.images\n"
              "print('imported')")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                            check=False, timeout=300)
    assert result.stdout.strip() == "imported", result.stderr


def not_from_pip(sources: list[Path], extra: str = "") -> set[str]:
    """Return what files import that is neither Python's own, nor ours, nor required.

    Args:
        sources: files.
        extra: of the package, whose requirements count too.
    """
    lines = [*statements(ROOT / "requirements.txt"),
             *(METADATA["optional-dependencies"][extra] if extra else [])]
    requirements = {canonicalize_name(Requirement(line).name) for line in lines}
    providers = packages_distributions()
    return {module
            for module in set().union(*map(imported_modules, sources)) - sys.stdlib_module_names
            if module not in FROM_ELSEWHERE and requirements.isdisjoint(
                canonicalize_name(name) for name in providers.get(module, [module]))}


def imported_modules(path: Path) -> set[str]:
    """Return the top-level modules that a file imports anywhere."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module.partition(".")[0])
    return modules


# Messages


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_of_a_message_is_explained(name: str) -> None:
    lines = (ROOT / "msg" / f"{name}.msg").read_text().splitlines()
    assert lines[0].startswith("# "), "the first line says what the message is for"
    bare = [line for line in lines if line.strip() and not re.search(r"# \S", line)]
    assert bare == []


def test_every_message_is_built_and_registered() -> None:
    listed, _ = get_resource("rosidl_interfaces", "sclip_seg_ros")
    assert {f"msg/{name}.msg" for name in MESSAGES} <= set(listed.split())


def test_messages_survive_serialisation() -> None:
    from sclip_seg_ros.msg import (
        ClassConfidence,
        ClassConfidenceArray,
        SegmentationStatus,
        StageTime,
        Vocabulary,
        VocabularyClass,
    )

    cat = VocabularyClass(id=1, name="cat", synonyms=["cat", "Kätzin"], colour=[220, 0, 9])
    confidence = ClassConfidence(class_id=1, class_name="cat", mean_confidence=0.75, coverage=0.5)
    messages = [
        Vocabulary(version=7, background_id=-1, classes=[cat]),
        ClassConfidenceArray(vocabulary_version=7, quality_level=2, classes=[confidence] * 3),
        SegmentationStatus(
            stages=[StageTime(stage="encode", ms=12.5)],
            frames_received=2**40,
            budget_missed=True,
            fallbacks=["loftup -> bilinear"],
        ),
    ]
    for message in messages:
        assert deserialize_message(serialize_message(message), type(message)) == message


def test_unknown_age_survives_serialisation_as_nan() -> None:
    from sclip_seg_ros.msg import SegmentationStatus

    data = serialize_message(SegmentationStatus(age_ms=math.nan))
    assert math.isnan(deserialize_message(data, SegmentationStatus).age_ms)


# The colcon overlay


@pytest.mark.parametrize("folder", ["launch", "config"])
def test_share_holds_every_launch_and_config_file(folder: str) -> None:
    share = Path(get_package_share_directory("sclip_seg_ros"))
    expected = files_below(ROOT / folder)
    assert expected, f"{folder}/ is empty"
    assert files_below(share / folder) >= expected


def test_overlay_holds_every_module_and_data_file() -> None:
    prefix = Path(get_package_prefix("sclip_seg_ros"))
    (installed,) = prefix.glob("lib/python3*/site-packages/sclip_seg_ros")
    source = ROOT / "sclip_seg_ros"
    for relative in files_below(source):
        assert (installed / relative).is_file(), f"{relative} is not installed; run `make build`"
        assert (installed / relative).read_bytes() == (source / relative).read_bytes()
    assert list(installed.glob("_decoding.so")), "the decoding is not compiled; run `make build`"


@pytest.mark.pain(5)
@pytest.mark.parametrize("name", ["segment_node", "show_state", "sclip-segment", "sclip-bag"])
def test_executables_run_under_the_first_python_of_the_path(name: str) -> None:
    executable = Path(get_package_prefix("sclip_seg_ros"), "lib", "sclip_seg_ros", name)
    assert os.access(executable, os.X_OK)
    # A fixed interpreter would miss the packages of an activated virtual environment.
    assert executable.read_text().startswith("#!/usr/bin/env python3\n")


# The wheel


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, so that none of its by-products stay there."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = shutil.copytree(
        ROOT,
        folder / "sources",
        ignore=shutil.ignore_patterns(
            ".*", "build*", "install*", "log", "out", "dist", "__pycache__", "*.egg-info", "test"
        ),
    )
    build = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"]
        + ["--wheel-dir", str(folder), str(sources)],
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    (wheel,) = folder.glob("sclip_seg_ros-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site-packages")
    return folder / "site-packages"


def test_wheel_holds_every_module_and_data_file(unpacked_wheel: Path) -> None:
    missing = files_below(ROOT / "sclip_seg_ros") - files_below(unpacked_wheel / "sclip_seg_ros")
    assert missing == set()


def test_wheel_holds_the_compiled_decoding(unpacked_wheel: Path) -> None:
    (file,) = (unpacked_wheel / "sclip_seg_ros").glob("_decoding.*so")
    assert hasattr(ctypes.CDLL(str(file)), "decode")


@pytest.fixture(scope="module")
def resources(unpacked_wheel: Path) -> dict:
    """What the wheel's own code finds, without ROS: the messages, and a file of config/."""
    program = ("import json, sys; from sclip_seg_ros.models.resources import *; print(json.dumps({"
               "'messages': [path.stem for path in message_files()],"
               "'config': str(config_path(sys.argv[1]))}))")
    run = subprocess.run(
        [sys.executable, "-c", program, CONFIG],
        cwd=unpacked_wheel,
        env={**os.environ, "PYTHONPATH": str(unpacked_wheel), "AMENT_PREFIX_PATH": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_message_definitions_are_found_in_a_pip_installation(
        resources: dict, unpacked_wheel: Path) -> None:
    assert resources["messages"] == MESSAGES
    assert not (unpacked_wheel / "sclip_seg_ros" / "msg").exists(), "ROS generates that module"


def test_config_is_found_in_a_pip_installation_without_ros(
        resources: dict, unpacked_wheel: Path) -> None:
    assert Path(resources["config"]) == unpacked_wheel / "sclip_seg_ros" / "config" / CONFIG
