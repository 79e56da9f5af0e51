"""Start the segmentation node, and RViz if wanted: `ros2 launch sclip_seg_ros segment.launch.py`.

Arguments left empty do not touch what the parameter file, or a launch file around this one, says.
What `ros2 launch` is given beside them is a parameter of the node: use_densecrf:=true.
"""

import sys
from difflib import get_close_matches
from os.path import expanduser
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, TextSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

from sclip_seg_ros.ros.parameters.camera_topics import camera_topics
from sclip_seg_ros.ros.programs.launching import is_wanted

CONFIG = Path(__file__).absolute().parents[1] / "config"

# Name, default, description.
ARGUMENTS = (
    ("image", "image_raw", "Camera topic; one that ends in '/compressed' carries compressed "
     "images."),
    ("image_topics", "", "Several cameras, e.g. /front/image_raw,/rear/image_raw/compressed, or "
     "one; then 'image' is not used. Empty: the one of 'image'."),
    ("namespace", "", "Namespace of the node and its topics, e.g. 'front'."),
    ("params_file", str(CONFIG / "segment.yaml"),
     "YAML file with parameters; substitutions such as $(env HOME) are allowed in it."),
    ("model", "", "'embedded' or a ViT of open_clip, e.g. 'ViT-B/16'."),
    ("pretrained", "", "Weights of the model: a tag of open_clip, or the path of a file."),
    ("device", "", "'auto', 'cpu', 'cuda' or 'cuda:1'."),
    ("classes", "", "What to look for, e.g. 'floor,wall,person|pedestrian'."),
    ("vocabulary_file", "", "File with one class a line, or a name in config/vocabularies."),
    ("image_transport", "", "'raw' or 'compressed'."),
    ("depth_topics", "", "Depth registered to the camera, e.g. "
     "/camera/aligned_depth_to_color/image_raw, for the semantic cloud; of several cameras one for "
     "each, with commas."),
    ("label_size", "", "'camera', '640x480' or 'as:/depth/camera_info'."),
    ("latency_budget_ms", "", "Milliseconds a frame may take; 0: no budget."),
    ("quality_ladder", "", "File with quality levels, or a name in config/ladders."),
    ("autostart", "", "'false': wait for `ros2 lifecycle set /sclip_seg configure`, then "
     "`... activate`."),
    ("rviz", "false", "Whether to start RViz with the outputs; of several 'image_topics', with "
     "those of the first."),
    ("log_level", "", "'debug', 'info', 'warn' or 'error'."),
    ("use_sim_time", "", "Whether to take time from /clock, as when a bag is played."),
)

# Arguments that are parameters of the node, with their types; None: what it is as YAML, so that the
# node itself says what is wrong with a value.
PARAMETERS = {"model": str, "pretrained": str, "device": str, "classes": None,
              "vocabulary_file": str, "image_transport": str, "image_topics": None,
              "depth_topics": None, "label_size": str, "latency_budget_ms": None,
              "quality_ladder": str, "autostart": None, "use_sim_time": bool}

SHOWN = ("overlay", "label", "confidence")  # by the displays of segment.rviz

_NEAR = 0.7  # likeness of a misspelt argument; no parameter's name is so near to one

# Launch files whose words on the command line are for the node, with arguments that are not.
OWN_FILES = {"segment.launch.py": (), "nav2_semantic.launch.py": ("depth", "register")}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start what they ask for."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, default, description in ARGUMENTS),
        OpaqueFunction(function=start_all),
    ])


def start_all(context: LaunchContext) -> list:
    """Return all that is asked for; what cannot be is told before anything is started."""
    rviz = start_rviz(context) if is_wanted(context, "rviz", "rviz2") else []
    return [*rviz, *start_node(context)]


def start_node(context: LaunchContext) -> list:
    """Return the node, with the arguments that were given laid over the parameter file."""
    # Shells leave a ~ behind := as it is.
    file = expanduser(LaunchConfiguration("params_file").perform(context))
    if Path(file).is_dir():
        raise IsADirectoryError(f"params_file '{file}' is a folder; name a file in it")
    if not Path(file).is_file():
        raise FileNotFoundError(f"params_file '{file}' does not exist; check its path")
    # Where nothing is to be replaced the node is given the file itself, and can name it.
    substitutions = "$(" in Path(file).read_text(encoding="utf-8", errors="replace")
    level = LaunchConfiguration("log_level").perform(context)
    return [Node(
        package="sclip_seg_ros", executable="segment_node", name="sclip_seg",
        namespace=LaunchConfiguration("namespace"), output="screen", emulate_tty=True,
        parameters=[ParameterFile(file, allow_substs=substitutions),
                    *given(context, *PARAMETERS), *others(context)],
        remappings=[("image_raw", LaunchConfiguration("image"))],
        arguments=["--ros-args", "--log-level", level] if level else [])]


def start_rviz(context: LaunchContext) -> list:
    """Return RViz, showing the outputs of the only or the first camera."""
    remappings = [("image_raw", LaunchConfiguration("image"))]
    if LaunchConfiguration("image_topics").perform(context):
        topics = typed(context, "image_topics").evaluate(context)
        first = camera_topics([topic.strip() for topic in topics.split(",")]
                              if isinstance(topics, str) else topics, "raw")[0]
        remappings = [("image_raw", first.topic)]
        if first.name:
            remappings += [(f"sclip_seg/{output}", f"sclip_seg/{first.name}/{output}")
                           for output in SHOWN]
    return [Node(
        package="rviz2", executable="rviz2", namespace=LaunchConfiguration("namespace"),
        arguments=["-d", str(CONFIG / "segment.rviz")],
        parameters=given(context, "use_sim_time"), remappings=remappings)]


def given(context: LaunchContext, *names: str) -> list[dict[str, ParameterValue]]:
    """Return the parameters among some arguments that were given; none where none was."""
    values = {name: typed(context, name) for name in names
              if LaunchConfiguration(name).perform(context)}
    return [values] if values else []


def typed(context: LaunchContext, name: str) -> ParameterValue:
    """Return an argument as the parameter that it is."""
    return parameter(context, name, LaunchConfiguration(name).perform(context), PARAMETERS[name])


def parameter(context: LaunchContext, name: str, text: str,
              value_type: type | None = None) -> ParameterValue:
    """Return a parameter from its text; text that is not YAML, such as a broken list, as it is.

    Launch would refuse that without naming the parameter. The node names it, and what to write.

    Raises:
        ValueError: the text is not the truth value that it should be.
    """
    try:
        ParameterValue(TextSubstitution(text=text), value_type=value_type).evaluate(context)
    except ValueError:
        if value_type is bool:  # ROS itself would pass over a wrong use_sim_time
            raise ValueError(f"{name}:={text} is not a truth value; "
                             "give true or false") from None
        value_type = str
    return ParameterValue(TextSubstitution(text=text), value_type=value_type)


def others(context: LaunchContext) -> list[dict[str, ParameterValue]]:
    """Return what the command line gives this file and it does not declare, as parameters.

    Launch would pass over them in silence; the node takes them, or says that it has no such one.
    Those that a launch file of somebody else around this one is given are not for the node.

    Raises:
        ValueError: one is nearly an argument that is no parameter.
    """
    files = OWN_FILES.keys() & {Path(word).name for word in sys.argv}
    if not files:
        return []
    declared = {name for name, _, _ in ARGUMENTS}.union(*(OWN_FILES[file] for file in files))
    words = dict(word.split(":=", 1) for word in sys.argv if ":=" in word)
    for name in words.keys() - declared:
        if near := get_close_matches(name, declared - PARAMETERS.keys(), 1, _NEAR):
            raise ValueError(f"there is no argument '{name}'; did you mean '{near[0]}'?")
    values = {name: parameter(context, name, value)
              for name, value in words.items() if name not in declared}
    return [values] if values else []
