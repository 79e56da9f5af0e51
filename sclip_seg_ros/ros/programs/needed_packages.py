"""Whether a package that a launch file starts beside the node is installed."""

from __future__ import annotations

from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix


def check_installed(context: Any, package: str, argument: str) -> None:
    """Refuse to start what is not there; as a launch file's OpaqueFunction.

    Args:
        context: of the launch; not looked at.
        package: that is needed.
        argument: of `ros2 launch` that asks for it.

    Raises:
        ValueError: the package is not installed.
    """
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        raise ValueError(
            f"{argument} needs {package}, which is not installed here; install it "
            f"(sudo apt install ros-$ROS_DISTRO-{package.replace('_', '-')}) or leave "
            f"{argument} out") from None
