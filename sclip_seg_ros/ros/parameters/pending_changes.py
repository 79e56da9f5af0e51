"""What the parameters ask for, what of it is still to be tried, and what is in force."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.parameter import Parameter

from sclip_seg_ros.common.text import shortened
from sclip_seg_ros.ros.log import describe
from sclip_seg_ros.ros.parameters.groups import PARTS, Part
from sclip_seg_ros.ros.parameters.options import NodeOptions, read_values

_SHOWN = 80  # characters of a value in a message; a vocabulary may have thousands


@dataclass(frozen=True)
class Refusal:
    """A part of the parameters that turned out not to work.

    Attributes:
        part: concerned.
        asked: options that held it.
        valid: options whose values of this part stay in force.
        reason: in one line.
    """

    part: Part
    asked: NodeOptions
    valid: NodeOptions
    reason: str

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that differ from what is in force."""
        return tuple(name for name in self.part.names
                     if self.asked.values[name] != self.valid.values[name])

    def __str__(self) -> str:
        """Return the message."""
        back = ", ".join(f"{name}={shortened(self.valid.given[name], _SHOWN)}"
                         for name in self.names)
        return f"{self.part.title} refused, back to {back}: {self.reason}"

    def undo(self, node: Node) -> None:
        """Set a node's refused parameters back, unless the part has been changed since.

        To be called where parameters belong, in the executor's thread.
        """
        now = NodeOptions.from_values(read_values(node))
        if self.part.of(now) != self.part.of(self.asked):
            return
        answer = node.set_parameters_atomically([Parameter(name, value=self.valid.given[name])
                                                 for name in self.names])
        if not answer.successful:
            node.get_logger().error(f"{', '.join(self.names)} cannot be set back to what is in "
                                    f"force: {answer.reason}")


class Ledger:
    """Keep the books on changed parameters, part by part.

    The executor's thread asks. The frame path tries settings and budget, the encoding thread
    tries words; each accepts or refuses what it has tried. A refused part counts as tried until
    the parameters have gone back, so that it is not tried again with every other change.
    """

    def __init__(self, options: NodeOptions, on_refused: Callable[[Refusal], None]) -> None:
        """Begin with options that are in force.

        Args:
            options: of the node.
            on_refused: called in the thread that tried.
        """
        self._on_refused = on_refused
        self._lock = threading.Lock()
        self._asked = options
        self._in_force = dict.fromkeys(PARTS, options)
        self._untried: set[Part] = set()

    @property
    def asked(self) -> NodeOptions:
        """What the parameters say."""
        return self._asked

    def ask(self, options: NodeOptions) -> set[Part]:
        """Note what the parameters say now; return the parts that are new and to be tried."""
        with self._lock:
            former, self._asked = self._asked, options
            new = set()
            for part in PARTS:
                if part.of(options) == part.of(self._in_force[part]):
                    self._in_force[part] = options  # it may be written differently
                    self._untried.discard(part)
                elif part.of(options) != part.of(former):
                    new.add(part)
            self._untried |= new
            return new

    def untried(self, part: Part) -> NodeOptions | None:
        """Return options with a part to be tried; None where it is in force, or was refused."""
        with self._lock:
            return self._asked if part in self._untried else None

    def asks_for(self, part: Part, options: NodeOptions) -> bool:
        """Tell whether a part of options is still what the parameters say."""
        with self._lock:
            return part.of(options) == part.of(self._asked)

    def in_force(self, part: Part) -> NodeOptions:
        """Return the options whose values of a part are in force."""
        with self._lock:
            return self._in_force[part]

    def accept(self, part: Part, options: NodeOptions) -> None:
        """Note that a part is in force; where another has been asked for, that is to be tried."""
        with self._lock:
            self._in_force[part] = options
            if part.of(options) == part.of(self._asked):
                self._untried.discard(part)
            else:
                self._untried.add(part)

    def refuse(self, part: Part, options: NodeOptions, error: Exception) -> None:
        """Note that a part cannot work, and tell; of one that was overtaken, nobody is told."""
        with self._lock:
            if part.of(options) != part.of(self._asked):
                return
            self._untried.discard(part)
            refusal = Refusal(part, options, self._in_force[part], describe(error))
        self._on_refused(refusal)
