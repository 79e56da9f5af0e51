"""Options as a node with some parameters has them."""

from __future__ import annotations

from typing import Any

from sclip_seg_ros.ros.parameters.declarations import DECLARATIONS
from sclip_seg_ros.ros.parameters.options import NodeOptions


def options(**values: Any) -> NodeOptions:
    """Return the options of these parameters, the others at their defaults."""
    return NodeOptions.from_values({**{name: entry.default
                                       for name, entry in DECLARATIONS.items()}, **values})
