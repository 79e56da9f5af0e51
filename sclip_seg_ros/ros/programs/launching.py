"""What launch files ask before they start anything: of arguments, and of other packages."""

from __future__ import annotations

from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

# As launch's own conditions take them.
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def is_true(context: Any, name: str) -> bool:
    """Return an argument's truth value.

    Raises:
        ValueError: it is none.
    """
    text = context.launch_configurations[name]
    truth = _TRUTHS.get(text.strip().lower())
    if truth is None:
        raise ValueError(f"{name}:={text} is not a truth value; give true or false")
    return truth


def is_wanted(context: Any, name: str, package: str) -> bool:
    """Tell whether an argument asks for a program of another package, and see that it is there.

    Args:
        context: of the launch.
        name: of the argument.
        package: that is needed.

    Raises:
        ValueError: the argument is no truth value, or the package is not installed.
    """
    if not is_true(context, name):
        return False
    argument = f"{name}:=true"
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        raise ValueError(
            f"{argument} needs {package}, which is not installed here; install it "
            f"(sudo apt install ros-$ROS_DISTRO-{package.replace('_', '-')}) or leave "
            f"{argument} out") from None
    return True
