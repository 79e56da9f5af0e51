"""Drive a node's lifecycle from a test, by the services that `ros2 lifecycle` uses."""

from __future__ import annotations

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from ros_harness import Probe

_TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "shutdown": Transition.TRANSITION_ACTIVE_SHUTDOWN,
}
_UPWARDS = {"unconfigured": "configure", "inactive": "activate"}
_DOWNWARDS = {"active": "deactivate", "inactive": "cleanup"}
_ORDER = ("unconfigured", "inactive", "active")


class Lifecycle:
    """The lifecycle of a node, seen from outside."""

    def __init__(self, probe: Probe, node: str = "/sclip_seg") -> None:
        """Drive a node by its full name, through a probe in the same domain."""
        self._probe = probe
        self._node = node

    @property
    def state(self) -> str:
        """The node's present state."""
        return self._probe.call(GetState, f"{self._node}/get_state",
                                GetState.Request()).current_state.label

    def change(self, transition: str) -> bool:
        """Ask for a transition; return whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=_TRANSITIONS[transition]))
        return self._probe.call(ChangeState, f"{self._node}/change_state", request).success

    def bring_to(self, wanted: str) -> None:
        """Go through all transitions to a state, each of which must succeed."""
        while (state := self.state) != wanted:
            ways = _UPWARDS if _ORDER.index(state) < _ORDER.index(wanted) else _DOWNWARDS
            assert self.change(ways[state]), f"{ways[state]} failed"
