"""A running node's parameters: read, set, and watched, from whatever thread."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import ParameterEvent, ParameterType
from rcl_interfaces.srv import GetParameters, ListParameters, SetParametersAtomically
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python

from sclip_seg_ros.ros.programs.program import NoAnswer
from sclip_seg_ros.srv import ChangeWords

ANSWER_SECONDS = 20.0  # weights may be fetched before a parameter is taken
WORDS_SECONDS = 60.0   # 250 words through a large text tower


class NodeParameters:
    """Ask and set the parameters of one node.

    All methods wait for the answer, which the executor's thread brings: call them from another.
    """

    def __init__(self, node: Node, name: str, changed: Callable[[], None]) -> None:
        """Prepare.

        Args:
            node: of one's own, which an executor serves.
            name: of the node to ask, with its leading slash.
            changed: called in the executor's thread when somebody set a parameter, or the node
                has begun anew.
        """
        self.name = name
        self._get: Client = node.create_client(GetParameters, f"{name}/get_parameters")
        self._list: Client = node.create_client(ListParameters, f"{name}/list_parameters")
        self._set: Client = node.create_client(SetParametersAtomically,
                                               f"{name}/set_parameters_atomically")
        self._words: Client = node.create_client(ChangeWords, f"{name}/change_words")
        self._changed = changed
        node.create_subscription(ParameterEvent, "/parameter_events", self._on_event, 100)

    @property
    def there(self) -> bool:
        """Whether the node can be asked."""
        return self._get.service_is_ready() and self._set.service_is_ready()

    def read(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the values of those parameters that the node has.

        Raises:
            NoAnswer: it does not answer.
        """
        # Asked for one that it has not, a node answers nothing at all.
        has = set(self._ask(self._list, ListParameters.Request()).result.names)
        wanted = [name for name in names if name in has]
        answer = self._ask(self._get, GetParameters.Request(names=wanted))
        return {name: _plain(value) for name, value in zip(wanted, answer.values, strict=True)
                if value.type != ParameterType.PARAMETER_NOT_SET}

    def set(self, values: Mapping[str, Any]) -> str:
        """Set parameters together; return why the node refuses, empty where it does not.

        Raises:
            NoAnswer: it does not answer.
        """
        parameters = [_parameter(name, value) for name, value in values.items()]
        answer = self._ask(self._set, SetParametersAtomically.Request(parameters=parameters))
        return "" if answer.result.successful else answer.result.reason

    def change_words(self, words: Sequence[str], ids: Sequence[int]) -> str:
        """Change words, and wait until they are in force; return why they cannot be, or nothing.

        Raises:
            NoAnswer: it does not answer.
        """
        answer = self._ask(self._words, ChangeWords.Request(words=list(words), ids=list(ids)),
                           WORDS_SECONDS)
        return "" if answer.success else answer.message

    def _ask(self, client: Any, request: Any, seconds: float = ANSWER_SECONDS) -> Any:
        """Call a service and wait for its answer."""
        if not client.wait_for_service(2.0):
            raise NoAnswer(f"'{self.name}' does not answer; see that it runs, with the same "
                           "ROS_DOMAIN_ID")
        came = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: came.set())
        if not came.wait(seconds):
            client.remove_pending_request(future)
            raise NoAnswer(f"'{self.name}' has not answered within {seconds:g} s; it may be "
                           "loading, or have ended")
        return future.result()

    def _on_event(self, event: ParameterEvent) -> None:
        if event.node == self.name:
            self._changed()


def _plain(value: Any) -> Any:
    found = parameter_value_to_python(value)
    return found.tolist() if isinstance(found, array) else found


def _parameter(name: str, value: Any) -> Any:
    if isinstance(value, list) and not value:
        return Parameter(name, Parameter.Type.STRING_ARRAY, []).to_parameter_msg()
    return Parameter(name, value=value).to_parameter_msg()
