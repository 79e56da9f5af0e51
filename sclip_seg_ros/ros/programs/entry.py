"""How programs that need ROS begin: what would make ROS end them in its own words is told first."""

from __future__ import annotations

from sclip_seg_ros.common.entry import run_program
from sclip_seg_ros.ros.programs.refusals import refused_surroundings
from sclip_seg_ros.tools.console import complain


def run_ros_program(module: str, name: str) -> int:
    """Import a module that imports rclpy, and run its ``main``; see :func:`run_program`.

    Returns:
        The exit code; 1 where ROS would refuse the environment.
    """
    if refusal := refused_surroundings():
        return complain(name, "; ".join(refusal))
    return run_program(module, name)
