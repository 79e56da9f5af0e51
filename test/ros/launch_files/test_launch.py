"""The launch file describes its arguments and hands them to the node; config files fit it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import yaml
from launch_files import context_of, launch_file_fixture

from sclip_seg_ros.models.resources import config_folders

ROOT = Path(__file__).resolve().parents[3]
launch_file = launch_file_fixture("segment.launch.py")


def node_action(launch_file, start="start_node", before=(), **given: str):
    """Return a node that the launch file starts with some arguments given, and its context.

    Args:
        launch_file: the module.
        start: its function that starts the node.
        before: actions of a launch file around it.
        given: arguments.
    """
    context = context_of(launch_file, before, **given)
    [node] = getattr(launch_file, start)(context)
    node._perform_substitutions(context)
    return node, context


def arguments_of(node) -> list[str]:
    """Return the literal parts of a launched node's command line."""
    from launch.substitutions import TextSubstitution

    return [part.text for argument in node.cmd for part in argument
            if isinstance(part, TextSubstitution)]


def parameters_of(node) -> dict:
    """Return the parameters that a launched node would be given, later files over earlier."""
    values: dict = {}
    for entry, is_file in node._Node__expanded_parameter_arguments:
        if is_file:
            for section in yaml.safe_load(Path(entry).read_text()).values():
                values.update(section["ros__parameters"])
        else:
            values[entry.name] = entry.value
    return values


def test_every_argument_has_a_description(launch_file):
    arguments = launch_file.generate_launch_description().get_launch_arguments()
    assert {argument.name for argument in arguments} >= {
        "image", "namespace", "model", "pretrained", "classes", "params_file", "latency_budget_ms",
        "image_transport", "rviz", "log_level", "use_sim_time"}
    for argument in arguments:
        assert argument.description and argument.description != "no description given", \
            argument.name


def test_without_arguments_the_parameter_file_holds(launch_file):
    node, _ = node_action(launch_file)
    file = yaml.safe_load((ROOT / "config/segment.yaml").read_text())["/**"]["ros__parameters"]
    assert parameters_of(node) == file
    assert "--log-level" not in " ".join(arguments_of(node))


def test_a_parameter_file_and_a_launch_file_around_have_their_say(launch_file, tmp_path):
    """Of what is not given here, simulated time above all."""
    from launch_ros.actions import SetParameter

    file = tmp_path / "mine.yaml"
    file.write_text("/**:\n  ros__parameters:\n    use_sim_time: true\n    short_side: 224\n")
    node, _ = node_action(launch_file, params_file=str(file))
    assert parameters_of(node) == {"use_sim_time": True, "short_side": 224}
    node, _ = node_action(launch_file, before=[SetParameter("use_sim_time", True)])
    assert "use_sim_time:=True" in arguments_of(node)
    assert "use_sim_time" not in parameters_of(node), "the later one would hold"
    node, _ = node_action(launch_file, params_file=str(file), use_sim_time="false")
    assert parameters_of(node)["use_sim_time"] is False


def test_a_log_level_that_is_given_holds(launch_file):
    node, _ = node_action(launch_file, log_level="debug")
    assert "--log-level debug" in " ".join(arguments_of(node))


def test_arguments_overrule_the_file_with_the_right_types(launch_file):
    node, _ = node_action(launch_file, classes="road,person|pedestrian", model="ViT-B/16",
                          latency_budget_ms="50", use_sim_time="true", namespace="front")
    parameters = parameters_of(node)
    assert parameters["classes"] == "road,person|pedestrian"
    assert parameters["model"] == "ViT-B/16"
    assert parameters["latency_budget_ms"] == 50
    assert parameters["use_sim_time"] is True
    assert node.expanded_node_namespace == "/front"


def test_what_the_node_can_refuse_better_reaches_it_as_it_is(launch_file):
    node, _ = node_action(launch_file, latency_budget_ms="abc", autostart="maybe")
    assert parameters_of(node)["latency_budget_ms"] == "abc"
    assert parameters_of(node)["autostart"] == "maybe"


@pytest.mark.parametrize("name", ["classes", "image_topics", "depth_topics"])
@pytest.mark.parametrize("broken", ["['floor', 'wall'", "['floor' 'wall']", "[floor, 3]"])
def test_a_list_that_cannot_be_read_reaches_the_node_which_names_it(launch_file, name, broken):
    """Launch would say what is wrong with the YAML, but not of which argument."""
    node, _ = node_action(launch_file, **{name: broken})
    assert parameters_of(node)[name] == broken


def test_use_sim_time_that_is_not_a_truth_value_is_refused(launch_file):
    with pytest.raises(ValueError, match="^use_sim_time:=maybe .* give true or false$"):
        node_action(launch_file, use_sim_time="maybe")


@pytest.mark.parametrize("file, taken", [
    ("segment.launch.py", {"use_tlp": True, "crf.iterations": 3, "clases": "floor"}),
    ("/share/launch/segment.launch.py", {"use_tlp": True, "crf.iterations": 3, "clases": "floor"}),
    ("nav2_semantic.launch.py", {"use_tlp": True, "crf.iterations": 3, "clases": "floor"}),
    ("robot.launch.py", {}),
])
def test_what_the_command_line_gives_beside_the_arguments_goes_to_the_node(
        launch_file, monkeypatch, file, taken):
    """Of a robot's launch file around this one, the words are that file's own."""
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "sclip_seg_ros", file, "use_tlp:=true",
                                      "crf.iterations:=3", "clases:=floor", "model:=ViT-B/16"])
    node, _ = node_action(launch_file, model="ViT-B/16")
    parameters = parameters_of(node)
    assert parameters["model"] == "ViT-B/16"
    defaults = yaml.safe_load((ROOT / "config/segment.yaml").read_text())["/**"]["ros__parameters"]
    beside = {name: value for name, value in parameters.items()
              if value != defaults.get(name) and name != "model"}
    assert beside == taken


def test_arguments_of_the_launch_file_for_nav2_are_not_given_to_the_node(launch_file, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "sclip_seg_ros", "nav2_semantic.launch.py",
                                      "depth:=/depth/image", "register:=true", "use_tlp:=true"])
    node, _ = node_action(launch_file)
    parameters = parameters_of(node)
    assert parameters["use_tlp"] is True
    assert not {"depth", "register"} & parameters.keys()


@pytest.mark.parametrize("folder, own", [("/data", True), ("$(env HOME)", False)])
def test_the_node_is_given_the_users_own_file_where_nothing_is_replaced(launch_file, tmp_path,
                                                                        folder, own):
    """So that it can name the file."""
    file = tmp_path / "mine.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    cache_dir: {folder}\n")
    node, _ = node_action(launch_file, params_file=str(file))
    [(given, _)] = [entry for entry in node._Node__expanded_parameter_arguments if entry[1]]
    assert (Path(given) == file) is own
    assert parameters_of(node)["cache_dir"] == (folder if own else os.environ["HOME"])


@pytest.mark.parametrize("given, expected", [
    ("/cam/image", "/cam/image"),
    ("['/front/image_raw', '/rear/image_raw']", ["/front/image_raw", "/rear/image_raw"]),
])
def test_image_topics_are_one_text_or_a_list(launch_file, given, expected):
    node, _ = node_action(launch_file, image_topics=given)
    found = parameters_of(node)["image_topics"]
    assert (found if isinstance(found, str) else list(found)) == expected


def test_a_parameter_file_may_lie_in_the_home_folder(launch_file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("/**:\n  ros__parameters:\n    short_side: 224\n")
    node, _ = node_action(launch_file, params_file="~/mine.yaml")
    assert parameters_of(node) == {"short_side": 224}


@pytest.mark.parametrize("word, meant", [
    ("parms_file:=/x.yaml", "params_file"), ("rwiz:=true", "rviz"), ("imge:=/cam", "image"),
    ("loglevel:=debug", "log_level")])
def test_a_misspelt_argument_is_told_before_anything_starts(launch_file, monkeypatch, word, meant):
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "sclip_seg_ros", "segment.launch.py", word])
    name = word.partition(":=")[0]
    with pytest.raises(ValueError, match=f"no argument '{name}'; did you mean '{meant}'"):
        node_action(launch_file)


def test_no_parameter_is_taken_for_a_misspelt_argument(launch_file, monkeypatch):
    from sclip_seg_ros.io.former_names import FORMERLY
    from sclip_seg_ros.ros.parameters.declarations import DECLARATIONS

    others = [*DECLARATIONS, *FORMERLY, "qos_overrides./image_raw.subscription.depth"]
    monkeypatch.setattr(sys, "argv", ["segment.launch.py", *(f"{name}:=1" for name in others)])
    given = parameters_of(node_action(launch_file)[0])
    assert {name for name in others if name not in launch_file.PARAMETERS} <= given.keys()


def test_a_folder_is_no_parameter_file(launch_file, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        node_action(launch_file, params_file=str(tmp_path))


def test_a_missing_parameter_file_is_named(launch_file):
    with pytest.raises(FileNotFoundError, match="no-such.yaml"):
        node_action(launch_file, params_file="/no-such.yaml")


def test_the_parameter_file_names_only_parameters_and_their_defaults():
    pytest.importorskip("rclpy", reason="ROS 2 is not installed; use `make test`")
    from sclip_seg_ros.ros.parameters.declarations import DECLARATIONS

    values = yaml.safe_load((ROOT / "config/segment.yaml").read_text())["/**"]["ros__parameters"]
    assert values == {name: DECLARATIONS[name].default for name in values}


@pytest.mark.parametrize("topics, shown", [
    ("", {"image_raw": "/camera/image"}),
    ("/front/image_raw", {"image_raw": "/front/image_raw"}),
    ("['/front/image_raw']", {"image_raw": "/front/image_raw"}),
    ("/front/image_raw, /rear/image_raw",
     {"image_raw": "/front/image_raw", "sclip_seg/overlay": "sclip_seg/front/overlay",
      "sclip_seg/label": "sclip_seg/front/label",
      "sclip_seg/confidence": "sclip_seg/front/confidence"}),
    ("['/front/image_raw/compressed', '/rear/image_raw']",
     {"image_raw": "/front/image_raw", "sclip_seg/overlay": "sclip_seg/front/overlay",
      "sclip_seg/label": "sclip_seg/front/label",
      "sclip_seg/confidence": "sclip_seg/front/confidence"}),
], ids=["the usual", "one", "one in a list", "two with a comma", "two"])
def test_rviz_shows_the_only_or_the_first_camera(launch_file, topics, shown):
    rviz, _ = node_action(launch_file, "start_rviz", image="/camera/image", image_topics=topics)
    assert dict(rviz.expanded_remapping_rules) == shown
    displayed = (ROOT / "config/segment.rviz").read_text()
    assert all(f"Value: {topic}\n" in displayed for topic in shown)


def test_installed_configuration_holds_the_launch_files_files():
    assert any((folder / "segment.yaml").is_file() and (folder / "segment.rviz").is_file()
               for folder in config_folders())


def test_without_rviz_installed_no_node_is_left_behind(launch_file):
    packages = pytest.importorskip("ament_index_python.packages")
    if "rviz2" in packages.get_packages_with_prefixes():
        pytest.skip("rviz2 is installed")
    from launch import LaunchDescription, LaunchService
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    before = children()
    service = LaunchService(noninteractive=True)
    service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(ROOT / "launch" / "segment.launch.py")),
        launch_arguments=[("rviz", "true"), ("autostart", "false")])]))
    code = service.run()
    left = children() - before
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert code == 1
    assert not left


def children() -> set[int]:
    """Return the processes that this one has started and that still run."""
    return {int(number) for file in Path("/proc/self/task").glob("*/children")
            for number in file.read_text().split()}
