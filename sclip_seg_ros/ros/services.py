"""Services that set parameters and answer once the change holds: ~/change_words and ~/enable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import SetBool

from sclip_seg_ros.srv import ChangeWords


class Answer(NamedTuple):
    """What became of words that were asked for.

    Attributes:
        success: whether they hold.
        message: why not, or what holds.
        version: of the vocabulary they are in; of the one in force where they are not.
    """

    success: bool
    message: str
    version: int


@dataclass
class _Waiting:
    """A caller of ~/change_words: the words asked for, and where the answer goes."""

    words: Any
    answer: Future[Answer]


class Services:
    """Offer the services; every one of them sets parameters, and only waits for what follows.

    All methods belong to the executor's thread.
    """

    def __init__(self, node: Node, obstacle: Callable[[], str], take: Callable[[], Any],
                 judge: Callable[[Any], Answer | None], version: Callable[[], int],
                 at_rest: Callable[[], str]) -> None:
        """Create the services.

        Args:
            node: whose parameters are set.
            obstacle: returns why no words can be changed now; empty where they can.
            take: has the node read its parameters now, and returns the words they ask for.
            judge: returns what became of such words, None while that is open.
            version: returns that of the vocabulary in force.
            at_rest: returns why the node works on no frames, empty where it does.
        """
        self._node = node
        self._obstacle = obstacle
        self._take = take
        self._judge = judge
        self._version = version
        self._at_rest = at_rest
        self._waiting: list[_Waiting] = []
        # A group of its own: whoever waits must not keep the node's other callbacks waiting.
        node.create_service(ChangeWords, "~/change_words", self._change_words,
                            callback_group=ReentrantCallbackGroup())
        node.create_service(SetBool, "~/enable", self._enable)

    def look(self) -> None:
        """Answer those whose words have come into force, or no longer can."""
        for waiting in list(self._waiting):
            self._answer(waiting, self._judge(waiting.words))

    def refuse(self, words: Any, reason: str) -> None:
        """Answer those whose words turned out not to work."""
        for waiting in list(self._waiting):
            if waiting.words == words:
                self._answer(waiting, Answer(False, reason, self._version()))

    def _answer(self, waiting: _Waiting, answer: Answer | None) -> None:
        if answer is not None:
            self._waiting.remove(waiting)
            waiting.answer.set_result(answer)

    async def _change_words(self, request: ChangeWords.Request,
                            response: ChangeWords.Response) -> ChangeWords.Response:
        refused = self._obstacle()
        if not refused:
            result = self._node.set_parameters_atomically([
                Parameter("classes", Parameter.Type.STRING_ARRAY, list(request.words)),
                Parameter("class_ids", Parameter.Type.INTEGER_ARRAY, list(request.ids))])
            refused = "" if result.successful else result.reason or "refused"
        if refused:
            answer = Answer(False, refused, self._version())
        else:
            words = self._take()
            answer = self._judge(words) or await self._later(words)
        response.success, response.message, response.version = answer
        return response

    async def _later(self, words: Any) -> Answer:
        """Wait until it is known what became of words."""
        waiting = _Waiting(words, Future())
        self._waiting.append(waiting)
        return await waiting.answer or \
            Answer(False, "the node ended before they were encoded", self._version())

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        answer = self._node.set_parameters_atomically([Parameter("enabled", value=request.data)])
        response.success = answer.successful
        at_rest = self._at_rest()
        state = "labelling" if request.data else "images are skipped"
        response.message = answer.reason if not answer.successful else \
            f"{state} once the node is active; it is {at_rest}" if at_rest else state
        return response
