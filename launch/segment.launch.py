"""Start the segmentation node, and RViz if wanted: `ros2 launch sclip_seg_ros segment.launch.py`.

Arguments left empty do not touch what the parameter file says.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

CONFIG = PathJoinSubstitution([FindPackageShare("sclip_seg_ros"), "config"])

# Name, default, description.
ARGUMENTS = (
    ("image", "image_raw", "Camera topic; for compressed images the name without '/compressed'."),
    ("image_topics", "", "Several cameras, e.g. \"['/front/image_raw', '/rear/image_raw']\"; "
     "empty: the one of 'image'."),
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
    ("rviz", "false", "Whether to start RViz with the outputs."),
    ("log_level", "info", "'debug', 'info', 'warn' or 'error'."),
    ("use_sim_time", "false", "Whether to take time from /clock, as when a bag is played."),
)

# Arguments that are parameters of the node, with their types; classes may be a list or a text.
PARAMETERS = {"model": str, "pretrained": str, "device": str, "classes": None,
              "vocabulary_file": str, "image_transport": str, "image_topics": list[str],
              "latency_budget_ms": float, "quality_ladder": str, "autostart": bool}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start what they ask for."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, default, description in ARGUMENTS),
        OpaqueFunction(function=start_node),
        Node(package="rviz2", executable="rviz2", namespace=LaunchConfiguration("namespace"),
             arguments=["-d", PathJoinSubstitution([CONFIG, "segment.rviz"])],
             parameters=[{"use_sim_time": boolean("use_sim_time")}],
             remappings=[("image_raw", LaunchConfiguration("image"))],
             condition=IfCondition(LaunchConfiguration("rviz"))),
    ])


def start_node(context: LaunchContext) -> list:
    """Return the node, with the arguments that were given laid over the parameter file."""
    file = LaunchConfiguration("params_file").perform(context)
    if not Path(file).is_file():
        raise FileNotFoundError(f"params_file '{file}' does not exist; check its path")
    given = {name: ParameterValue(LaunchConfiguration(name), value_type=kind)
             for name, kind in PARAMETERS.items() if LaunchConfiguration(name).perform(context)}
    return [Node(
        package="sclip_seg_ros", executable="segment_node", name="sclip_seg",
        namespace=LaunchConfiguration("namespace"), output="screen", emulate_tty=True,
        parameters=[ParameterFile(file, allow_substs=True),
                    {**given, "use_sim_time": boolean("use_sim_time")}],
        remappings=[("image_raw", LaunchConfiguration("image"))],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")])]


def boolean(name: str) -> ParameterValue:
    """Return an argument as a boolean parameter."""
    return ParameterValue(LaunchConfiguration(name), value_type=bool)
