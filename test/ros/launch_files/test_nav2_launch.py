"""What Nav2's users are given: launch file, node parameters, layer parameters, RViz view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed; use `make test`")

import launch_files  # noqa: E402
from launch_files import context_of, launch_file_fixture  # noqa: E402
from options import options  # noqa: E402

from sclip_seg_ros.ros.cameras.outputs import OUTPUTS  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
TOPICS = {f"/sclip_seg/{output.topic}" for output in OUTPUTS} | {"/sclip_seg/points",
                                                                 "/sclip_seg/label_info"}


def node_values() -> dict[str, Any]:
    text = (ROOT / "config/nav2_semantic.yaml").read_text()
    return yaml.safe_load(text)["/**"]["ros__parameters"]


def sources() -> Iterator[dict[str, Any]]:
    """Yield the parameters of every source of every semantic layer in the file."""
    file = yaml.safe_load((ROOT / "config/nav2_semantic_layer.yaml").read_text())
    for costmap, nested in file.items():
        values = nested[costmap]["ros__parameters"]
        layer = values["semantic_segmentation_layer"]
        assert "semantic_segmentation_layer" in values["plugins"]
        for source in layer["observation_sources"].split():
            yield layer[source]


def test_the_nodes_parameters_can_be_used_and_suit_the_layer():
    chosen = options(**node_values(), depth_topics=["/depth/image"], label_size="as:/depth/image")
    assert chosen.class_ids.unlabelled == 0
    assert chosen.points.thinning.organised and chosen.points.thinning.stride == 1
    assert chosen.cameras[0].depth == "/depth/image"


def test_other_words_may_be_given_beside_the_file():
    """However many there are: `classes:=floor,wall`."""
    chosen = options(**{**node_values(), "classes": ["floor", "wall"]})
    assert chosen.class_ids.values == (1, 2)


def test_the_layer_reads_what_the_node_publishes():
    for source in sources():
        topics = [value for name, value in source.items() if name.endswith("_topic")]
        assert len(set(topics)) == 4 and set(topics) <= TOPICS
        assert source["pointcloud_topic"] == "/sclip_seg/points"


def test_every_class_has_a_cost_once_and_every_name_is_a_class():
    names = [entry.partition("|")[0] for entry in node_values()["classes"]]
    for source in sources():
        costed = [name for kind in source["class_types"] for name in source[kind]["classes"]]
        assert sorted(costed) == sorted(names)
        for kind in source["class_types"]:
            assert 0 <= source[kind]["base_cost"] <= source[kind]["max_cost"] <= 254
            assert 0 <= source[kind]["mark_confidence"] <= 255


def test_the_view_shows_topics_that_there_are():
    view = yaml.safe_load((ROOT / "config/nav2_semantic.rviz").read_text())
    shown = {display["Topic"]["Value"] for display in view["Visualization Manager"]["Displays"]
             if "Topic" in display}
    assert {f"/{topic}" for topic in shown if topic.startswith("sclip_seg")} <= TOPICS
    assert {"sclip_seg/points", "local_costmap/costmap"} <= shown


# The launch file, with launch_ros, which only a ROS installation has


launch_file = launch_file_fixture("nav2_semantic.launch.py")


def handed_on(launch_file, **given: str) -> dict[str, str]:
    [include] = launch_file.start_node(context_of(launch_file, **given))
    assert Path(include.launch_description_source._LaunchDescriptionSource__location[0].text).name \
        == "segment.launch.py"
    return dict(include.launch_arguments)


def test_labels_have_the_size_of_the_depth(launch_file):
    arguments = handed_on(launch_file, image="/cam/color", depth="/cam/depth", model="ViT-B/16")
    assert arguments["depth_topics"] == "/cam/depth"
    assert arguments["label_size"] == "as:/cam/depth"
    assert (arguments["image"], arguments["model"]) == ("/cam/color", "ViT-B/16")
    assert Path(arguments["params_file"]).name == "nav2_semantic.yaml"
    assert Path(arguments["params_file"]).is_file()


def test_what_is_handed_on_is_known_to_the_other_file(launch_file):
    other = launch_files.launch_file("segment.launch.py")
    known = {argument.name
             for argument in other.generate_launch_description().get_launch_arguments()}
    assert set(handed_on(launch_file, depth="/cam/depth")) <= known


def test_depth_can_be_registered_first(launch_file):
    given = {"image": "/cam/color/image_raw", "depth": "/cam/depth/image_raw", "register": "true"}
    [node] = launch_file.start_registration(context_of(launch_file, **given))
    node._perform_substitutions(context_of(launch_file, **given))
    rules = dict(node.expanded_remapping_rules)
    assert rules["depth/image_rect"] == "/cam/depth/image_raw"
    assert rules["depth/camera_info"] == "/cam/depth/camera_info"
    assert rules["rgb/camera_info"] == "/cam/color/camera_info"
    registered = rules["depth_registered/image_rect"]
    assert handed_on(launch_file, **given)["depth_topics"] == registered
    assert rules["depth_registered/camera_info"] == f"{registered.rpartition('/')[0]}/camera_info"


def test_without_depth_it_says_what_to_give(launch_file):
    with pytest.raises(ValueError, match="depth:="):
        launch_file.start_node(context_of(launch_file))


@pytest.mark.parametrize("name", ["depth_topics", "label_size"])
def test_what_follows_from_the_depth_is_not_passed_over(launch_file, name):
    context = context_of(launch_file, depth="/cam/depth")
    context.launch_configurations[name] = "camera"     # as `ros2 launch` does with label_size:=
    with pytest.raises(ValueError, match=f"{name}:=camera .*leave it out"):
        launch_file.start_node(context)
