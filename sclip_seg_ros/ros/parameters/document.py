"""Print docs/parameters.md from the parameters' own declarations.

    python -m sclip_seg_ros.ros.parameters.document > docs/parameters.md
"""

from __future__ import annotations

from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.ros.parameters.declarations import GROUPS, Declaration

_HEAD = """# Parameters

Written by `python -m sclip_seg_ros.ros.parameters.document`. Edit the setting's own field instead,
in `sclip_seg_ros/segmentation/settings.py`, in its stage's file or in `temporal/settings.py`, or,
for the node's own parameters, `sclip_seg_ros/ros/parameters/declarations.py`. `ros2 param describe
/sclip_seg NAME` tells the same of a running node.

A parameter marked *at configure* is read when the node is configured; another value is refused
while it is. Every other change takes effect between two frames, is checked together with the
parameters set in the same atomic call, and is refused with a reason when it cannot work. A change
that turns out not to work only when it is applied (weights out of reach, a phrase too long for the
text tower) leaves what was there in force, is reported in the log and in `last_error` of
`~/status`, and the parameters concerned go back to what is in force: of settings, those of the
stage that cannot work, and no others. With a latency budget, settings that a level of the quality
ladder does not allow are refused at once. Where a parameter is a number with decimals, a whole
number will do, and `64.0` where it is a whole number.

Settings have these names in quality ladders, profiles, `--set`, messages and Python, too
(`settings.with_changes({"crf.iterations": 5})`; as a keyword, which cannot have a dot,
`crf__iterations=5`).

Each per-frame output also has `qos_overrides.<topic>.publisher.{history,depth,reliability}`, and
each camera subscription `qos_overrides.<topic>.subscription.{history,depth}`, read at configure and
at activate.
"""


def markdown() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *(_section(title, group) for title, group in GROUPS.items())])


def _section(title: str, group: tuple[Declaration, ...]) -> str:
    rows = [(f"`{entry.name}`", _value(entry.default), _range(entry),
             entry.description + (" *At configure.*" if entry.fixed else "")) for entry in group]
    return "\n".join([f"## {title}\n",
                      *markdown_table(("name", "default", "values", ""), rows)]) + "\n"


def _range(entry: Declaration) -> str:
    if entry.choices:
        return ", ".join(entry.choices)
    if entry.low is not None:
        return f"{entry.low:g} to {entry.high:g} {entry.unit}".rstrip()
    kinds = {bool: "true, false", str: "text", list: "list"}
    return kinds[type(entry.default)] + (f" of {entry.unit}" if entry.unit else "")


def _value(default: object) -> str:
    if default in ("", []):
        return "*empty*"
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, list):
        return ", ".join(map(str, default))
    return str(default)


if __name__ == "__main__":
    print(markdown(), end="")
