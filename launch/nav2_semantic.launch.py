"""Start the segmentation node for Nav2's semantic costmap layer, with a cloud from depth.

    ros2 launch sclip_seg_ros nav2_semantic.launch.py image:=/camera/color/image_raw \\
        depth:=/camera/aligned_depth_to_color/image_raw

What it publishes goes into config/nav2_semantic_layer.yaml: see docs/nav2.md.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from sclip_seg_ros.io.camera_names import info_topic
from sclip_seg_ros.ros.programs.launching import is_true, is_wanted

SHARE = Path(__file__).absolute().parents[1]
REGISTERED = "depth_registered/image_rect"  # where the registered depth is published

# Name, default, description.
ARGUMENTS = (
    ("image", "image_raw", "Colour image, undistorted."),
    ("depth", "", "Depth image (16UC1, 32FC1) with its camera_info beside it, or an organised "
     "PointCloud2. Needed."),
    ("register", "false", "Whether the depth is still to be brought to the colour camera's point "
     "of view, by depth_image_proc; both cameras need camera_info and transforms. Not for clouds."),
    ("params_file", str(SHARE / "config" / "nav2_semantic.yaml"),
     "YAML file with the node's parameters, the words among them."),
    ("namespace", "", "Namespace of the nodes and their topics."),
    ("rviz", "false", "Whether to start RViz with cloud and costmap."),
)
# Handed on to segment.launch.py as they are given.
HANDED_ON = ("model", "pretrained", "device", "classes", "latency_budget_ms", "autostart",
             "log_level", "use_sim_time")
FROM_DEPTH = ("depth_topics", "label_size")  # of segment.launch.py, set here from 'depth'


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start what they ask for."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, default, description in ARGUMENTS),
        *(DeclareLaunchArgument(name, default_value="", description="As of segment.launch.py.")
          for name in HANDED_ON),
        OpaqueFunction(function=start_all),
    ])


def start_all(context: LaunchContext) -> list:
    """Return all that is asked for; what cannot be is told before anything is started."""
    rviz = start_rviz(context) if is_wanted(context, "rviz", "rviz2") else []
    registration = start_registration(context) \
        if is_wanted(context, "register", "depth_image_proc") else []
    return [*rviz, *registration, *start_node(context)]


def start_node(context: LaunchContext) -> list:
    """Return the node, whose labels have the depth's size.

    Raises:
        ValueError: no depth is given, or what follows from it is given beside it.
    """
    depth = _given_depth(context)
    if is_true(context, "register"):
        depth = REGISTERED
    arguments = {name: LaunchConfiguration(name).perform(context)
                 for name in ("image", "params_file", "namespace", *HANDED_ON)}
    return [IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "segment.launch.py")),
        launch_arguments={**arguments, "rviz": "false", "depth_topics": depth,
                          "label_size": f"as:{depth}"}.items())]


def start_registration(context: LaunchContext) -> list:
    """Return the node that brings depth to the colour camera's point of view."""
    depth = _given_depth(context)
    image = LaunchConfiguration("image").perform(context)
    return [Node(
        package="depth_image_proc", executable="register_node", name="register_depth",
        namespace=LaunchConfiguration("namespace"),
        remappings=[("depth/image_rect", depth), ("depth/camera_info", info_topic(depth)),
                    ("rgb/camera_info", info_topic(image)),
                    ("depth_registered/image_rect", REGISTERED),
                    ("depth_registered/camera_info", info_topic(REGISTERED))])]


def start_rviz(context: LaunchContext) -> list:
    """Return RViz, showing cloud, costmap and overlay."""
    return [Node(package="rviz2", executable="rviz2", namespace=LaunchConfiguration("namespace"),
                 arguments=["-d", str(SHARE / "config" / "nav2_semantic.rviz")])]


def _given_depth(context: LaunchContext) -> str:
    for name in FROM_DEPTH:
        if name in context.launch_configurations:
            raise ValueError(f"{name}:={context.launch_configurations[name]} has no effect: this "
                             f"file sets {name} from depth:=; leave it out, or start "
                             "segment.launch.py instead")
    depth = LaunchConfiguration("depth").perform(context)
    if not depth:
        raise ValueError("no depth topic is given; add e.g. "
                         "depth:=/camera/aligned_depth_to_color/image_raw")
    return depth
