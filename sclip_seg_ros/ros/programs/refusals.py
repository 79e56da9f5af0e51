"""Why ROS does not start: which setting, and what to do, in one line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

# Found in rcl's text, and whose fault it is; what else it refuses are arguments.
_CAUSES = {
    "initialize logging": "ROS has no folder for its log files: {}; set ROS_LOG_DIR, or HOME, to "
                          "a folder that can be written",
    "ROS_DOMAIN_ID is": "ROS refuses the environment: {}; set ROS_DOMAIN_ID to a number from 0 to "
                        "101, or unset it",
    "SECURITY ERROR": "ROS refuses the security settings: {}; see ROS_SECURITY_KEYSTORE, "
                      "ROS_SECURITY_ENCLAVE_OVERRIDE and ROS_SECURITY_ENABLE",
}
_MOST_DOMAIN = 232  # the last one whose ports, of which DDS counts them out, exist
_MIDDLEWARES = "share/ament_index/resource_index/rmw_typesupport"
_INDEX_ITSELF = "rmw_implementation"  # the package that chooses among them
_ARGUMENTS = ("ROS refuses the node's arguments: {}; mend what is given behind --ros-args, or the "
              "parameter file")
# How rcl quotes an argument; what it says of it are tokens of its parser.
_RULE = re.compile(r"Couldn't parse (?:remap|parameter override) rule: '\S+ (.+?)'\. Error")
_LEVEL = re.compile(r"Couldn't parse log level: '\S+ (.+?)'\. Error")
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
    said = " ".join(str(error).split())
    for mark, sentence in _CAUSES.items():
        if mark in said:
            return sentence.format(said)
    file = _FILE.search(said)
    if file and (fault := _fault_of(Path(file[1]))):
        return f"ROS refuses the parameter file '{file[1]}': {fault}"
    if (rule := _RULE.search(said)) and ":=" not in rule[1]:
        name, _, value = (part.strip() for part in rule[1].partition("="))
        return (f"ROS refuses '{rule[1]}': between a name and its value stands ':='; write "
                f"'{name}:={value or 'VALUE'}', without blanks")
    if level := _LEVEL.search(said):
        return (f"ROS refuses the log level '{level[1]}'; give debug, info, warn, error or fatal, "
                "or NAME:=LEVEL for one logger")
    return _ARGUMENTS.format(said)


def _fault_of(file: Path) -> str:
    """Say what is wrong with a parameter file, of which rcl names a line at best; "" if unknown."""
    if file.is_dir():
        return "it is a folder; name a file in it"
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
