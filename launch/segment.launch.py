"""Start the segmentation node, and RViz if wanted: `ros2 launch sclip_seg_ros segment.launch.py`.

Arguments left empty do not touch what the parameter file, or a launch file around this one, says.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

from sclip_seg_ros.ros.camera_topics import camera_topics

CONFIG = PathJoinSubstitution([FindPackageShare("sclip_seg_ros"), "config"])

# Name, default, description.
ARGUMENTS = (
    ("image", "image_raw", "Camera topic; for compressed images the name without '/compressed'."),
    ("image_topics", "", "Several cameras, e.g. \"['/front/image_raw', '/rear/image_raw']\", or "
     "one, e.g. /front/image_raw; empty: the one of 'image'."),
    ("namespace", "", "Namespace of the node and its topics, e.g. 'front'."),
    ("params_file", PathJoinSubstitution([CONFIG, "segment.yaml"]),
     "YAML file with parameters; substitutions such as $(env HOME) are allowed in it."),
    ("model", "", "'embedded' or a ViT of open_clip, e.g. 'ViT-B/16'."),
    ("pretrained", "", "Weights of the model: a tag of open_clip, or the path of a file."),
    ("device", "", "'auto', 'cpu', 'cuda' or 'cuda:1'."),
    ("classes", "", "What to look for, e.g. 'floor,wall,person|pedestrian'."),
    ("vocabulary_file", "", "File with one class a line, or a name in config/vocabularies."),
    ("image_transport", "", "'raw' or 'compressed'."),
    ("latency_budget_ms", "", "Milliseconds a frame may take; 0: no budget."),
    ("quality_ladder", "", "File with quality levels, or a name in config/ladders."),
    ("autostart", "", "'false': wait for `ros2 lifecycle set /sclip_seg configure`."),
    ("rviz", "false", "Whether to start RViz with the outputs; of several 'image_topics', with "
     "those of the first."),
    ("log_level", "", "'debug', 'info', 'warn' or 'error'."),
    ("use_sim_time", "", "Whether to take time from /clock, as when a bag is played."),
)

# Arguments that are parameters of the node, with their types; None: a list, or one text.
PARAMETERS = {"model": str, "pretrained": str, "device": str, "classes": None,
              "vocabulary_file": str, "image_transport": str, "image_topics": None,
              "latency_budget_ms": float, "quality_ladder": str, "autostart": bool,
              "use_sim_time": bool}

SHOWN = ("overlay", "label", "confidence")  # by the displays of segment.rviz


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start what they ask for."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, default, description in ARGUMENTS),
        # RViz first: where it is not installed launch ends at once, and would leave a node behind.
        OpaqueFunction(function=start_rviz, condition=IfCondition(LaunchConfiguration("rviz"))),
        OpaqueFunction(function=start_node),
    ])


def start_node(context: LaunchContext) -> list:
    """Return the node, with the arguments that were given laid over the parameter file."""
    file = LaunchConfiguration("params_file").perform(context)
    if not Path(file).is_file():
        raise FileNotFoundError(f"params_file '{file}' does not exist; check its path")
    level = LaunchConfiguration("log_level").perform(context)
    return [Node(
        package="sclip_seg_ros", executable="segment_node", name="sclip_seg",
        namespace=LaunchConfiguration("namespace"), output="screen", emulate_tty=True,
        parameters=[ParameterFile(file, allow_substs=True), *given(context, *PARAMETERS)],
        remappings=[("image_raw", LaunchConfiguration("image"))],
        arguments=["--ros-args", "--log-level", level] if level else [])]


def start_rviz(context: LaunchContext) -> list:
    """Return RViz, showing the outputs of the only or the first camera."""
    remappings = [("image_raw", LaunchConfiguration("image"))]
    if LaunchConfiguration("image_topics").perform(context):
        topics = typed("image_topics").evaluate(context)
        first = camera_topics([topics] if isinstance(topics, str) else topics, "raw")[0]
        remappings = [("image_raw", first.topic)]
        if first.name:
            remappings += [(f"sclip_seg/{output}", f"sclip_seg/{first.name}/{output}")
                           for output in SHOWN]
    return [Node(
        package="rviz2", executable="rviz2", namespace=LaunchConfiguration("namespace"),
        arguments=["-d", PathJoinSubstitution([CONFIG, "segment.rviz"])],
        parameters=given(context, "use_sim_time"), remappings=remappings)]


def given(context: LaunchContext, *names: str) -> list[dict[str, ParameterValue]]:
    """Return the parameters among some arguments that were given; none where none was."""
    values = {name: typed(name) for name in names if LaunchConfiguration(name).perform(context)}
    return [values] if values else []


def typed(name: str) -> ParameterValue:
    """Return an argument as the parameter that it is."""
    return ParameterValue(LaunchConfiguration(name), value_type=PARAMETERS[name])
