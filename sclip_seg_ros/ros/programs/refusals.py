"""Why ROS does not start: which setting, and what to do, in one line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import yaml

# Found in rcl's text, and whose fault it is; what else it refuses are arguments.
_CAUSES = {
    "doesn't currently support external configuration":
        "ROS refuses --log-config-file: {}; leave it off",
    "initialize logging": "ROS has no folder for its log files: {}; set ROS_LOG_DIR, or HOME, to "
                          "a folder that can be written",
    "ROS_DOMAIN_ID is": "ROS refuses the environment: {}; set ROS_DOMAIN_ID to a number from 0 to "
                        "101, or unset it",
    "SECURITY ERROR": "ROS refuses the security settings: {}; see ROS_SECURITY_KEYSTORE, "
                      "ROS_SECURITY_ENCLAVE_OVERRIDE and ROS_SECURITY_ENABLE",
}
_SIGNS = "use letters, digits, '_'"
_MOST_DOMAIN = 232  # the last one whose ports, of which DDS counts them out, exist
_SWITCHES = ("RCUTILS_COLORIZED_OUTPUT", "RCUTILS_LOGGING_USE_STDOUT",
             "RCUTILS_LOGGING_BUFFERED_STREAM")
_MIDDLEWARES = "share/ament_index/resource_index/rmw_typesupport"
_INDEX_ITSELF = "rmw_implementation"  # the package that chooses among them
_ARGUMENTS = ("ROS refuses the node's arguments: {}; mend what is given behind --ros-args, or the "
              "parameter file")
# How rcl quotes an argument; what it says of it are tokens of its parser.
_RULE = re.compile(r"Couldn't parse (remap|parameter override) rule: '\S+ (.*?)'\. Error")
_LEVEL = re.compile(r"Couldn't parse log level: '\S+ (.+?)'\. Error")
_UNKNOWN = re.compile(r"\['(-[^']*)'")
_FLAGS = ("--param", "--params-file", "--remap", "--log-level", "--enclave", "--log-config-file",
          "--enable-rosout-logs", "--disable-rosout-logs", "--enable-stdout-logs",
          "--disable-stdout-logs", "--enable-external-lib-logs", "--disable-external-lib-logs")
_NAME_OF_PARAMETER = re.compile(r"(?:[\w/*]+:)?[\w./]+")
_PLACE = re.compile(r"\s*, at /\S+:\d+")
_NO_NODE = "error creating node"
_OF_MIDDLEWARES = ("ROS_STATIC_PEERS", "CYCLONEDDS_URI", "FASTDDS_DEFAULT_PROFILES_FILE",
                   "FASTRTPS_DEFAULT_PROFILES_FILE", "ZENOH_SESSION_CONFIG_URI")
_FILE = re.compile(r"--params-file (.+?)'\. Error")


def refused_surroundings(surroundings: Mapping[str, str] = os.environ
                         ) -> tuple[str, str] | None:
    """Return what in the environment makes ROS end the process, and the remedy; None for nothing.

    It does so from within its libraries, the first as soon as rclpy is imported, and in words of
    its own: so this is to be asked before.

    Args:
        surroundings: variables.
    """
    wanted = surroundings.get("RMW_IMPLEMENTATION", "")
    there = {file.name for prefix in surroundings.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
             for file in Path(prefix, _MIDDLEWARES).glob("*")} - {_INDEX_ITSELF}
    if wanted and there and wanted not in there:
        return (f"RMW_IMPLEMENTATION={wanted} names a middleware that is not installed (there is "
                f"{', '.join(sorted(there))})", "install it, or unset RMW_IMPLEMENTATION")
    for switch in _SWITCHES:
        if surroundings.get(switch, "") not in ("", "0", "1"):
            return (f"{switch}={surroundings[switch]} is neither 0 nor 1, and ROS would log "
                    "nothing but that", "set it to 0 or 1, or unset it")
    domain = surroundings.get("ROS_DOMAIN_ID", "").strip()
    if domain.isdecimal() and int(domain) > _MOST_DOMAIN and "zenoh" not in wanted:
        return (f"ROS_DOMAIN_ID={domain} is beyond what DDS has ports for",
                "set it to a number from 0 to 101, or unset it")
    return None


def why_refused(error: Exception) -> str:
    """Return what `rclpy.init` says in one line, with the remedy that fits.

    Args:
        error: that it raised.
    """
    said = _said(error)
    for mark, sentence in _CAUSES.items():
        if mark in said:
            return sentence.format(said)
    file = _FILE.search(said)
    if file and (fault := _fault_of(Path(file[1]))):
        return f"ROS refuses the parameter file '{file[1]}': {fault}"
    if rule := _RULE.search(said):
        fault = _fault_of_remapping(rule[2]) if rule[1] == "remap" else _fault_of_value(rule[2])
        if fault:
            return f"ROS refuses '{rule[2]}': {fault}"
    if unknown := _UNKNOWN.match(said):
        near = get_close_matches(unknown[1], _FLAGS, n=1)
        return f"ROS refuses '{unknown[1]}' behind --ros-args, which is not known there; " + (
            f"did you mean '{near[0]}'?" if near else
            "give -p NAME:=VALUE, -r NAME:=OTHER, --params-file or --log-level")
    if level := _LEVEL.search(said):
        return (f"ROS refuses the log level '{level[1]}'; give debug, info, warn, error or fatal, "
                "or NAME:=LEVEL for one logger")
    return _ARGUMENTS.format(said)


def why_no_node(error: Exception) -> tuple[str, str] | None:
    """Return why the middleware refuses a node, and the remedy; None of an error of another kind.

    Args:
        error: that was raised where a node was to be made.
    """
    said = _said(error)
    if _NO_NODE not in said:
        return None
    reason = said.partition(_NO_NODE)[2].strip(" :") or said
    given = [name for name in _OF_MIDDLEWARES if os.environ.get(name)]
    remedy = f"see {' and '.join(given)}" if given else \
        "see how many nodes run in the domain, and whether the network is up"
    return f"the middleware refuses to make a node: {reason}", remedy


def _said(error: Exception) -> str:
    """Return an error in one line, without the places in ROS's own sources."""
    return _PLACE.sub("", " ".join(str(error).split()))


def _fault_of_remapping(rule: str) -> str:
    """Say what is wrong with a remapping; "" if unknown."""
    # After ROS, which refused the rule; refusals of the environment are told before it is imported.
    from rclpy.exceptions import InvalidNamespaceException, InvalidNodeNameException
    from rclpy.validate_namespace import validate_namespace
    from rclpy.validate_node_name import validate_node_name

    from sclip_seg_ros.ros.parameters.camera_topics import check_topic_name

    source, sign, target = rule.partition(":=")
    if not sign:
        return _without_sign(rule)
    local = source.rpartition(":")[2]
    try:
        if local == "__ns":
            if not target.startswith("/"):
                return f"a namespace begins with '/'; write '{source}:=/{target or 'NAME'}'"
            validate_namespace(target)
        elif local in ("__node", "__name"):
            validate_node_name(target)
        else:
            for name in (local, target):
                check_topic_name(name, "the name")
    except InvalidNamespaceException:
        return f"'{target}' is not a namespace; {_SIGNS} and '/', and no digit behind '/'"
    except InvalidNodeNameException:
        return f"'{target}' is not a node's name; {_SIGNS}, and no digit first"
    except ValueError as error:
        return str(error)
    return ""


def _fault_of_value(rule: str) -> str:
    """Say what is wrong with a parameter on the command line; "" if unknown."""
    name, sign, value = rule.partition(":=")
    if not sign:
        return _without_sign(rule)
    if not _NAME_OF_PARAMETER.fullmatch(name):
        return f"'{name}' is not a parameter's name; {_SIGNS} and '.'"
    if not value.strip():
        return f"no value stands behind ':='; write '{name}:=VALUE', or \"{name}:=''\" for no text"
    try:
        yaml.safe_load(value)
    except yaml.YAMLError as error:
        return f"its value is not YAML ({getattr(error, 'problem', error)}); mend it, or quote it"
    return ""


def _without_sign(rule: str) -> str:
    name, _, value = (part.strip() for part in rule.partition("="))
    return (f"between a name and its value stands ':='; write '{name}:={value or 'VALUE'}', "
            "without blanks")


def _fault_of(file: Path) -> str:
    """Say what is wrong with a parameter file, of which rcl names a line at best; "" if unknown."""
    if file.is_dir():
        return "it is a folder; name a file in it"
    if not file.exists():
        return "it does not exist; check its path"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        if "'\\t'" in str(error.problem):
            return f"line {line} is indented with a tab; indent with spaces"
        return f"line {line} is not YAML ({error.problem}); mend it"
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    if not _has_values(content):
        return ("no values stand below 'ros__parameters:'; write '/**:', indented below it "
                "'ros__parameters:', and the values below that, indented further")
    return ""


def _has_values(content: object) -> bool:
    return isinstance(content, dict) and (
        "ros__parameters" in content or any(map(_has_values, content.values())))
