"""A Flower Grid within this process: the real ClientApp on real Messages, no Ray, no sockets.

Every node has a thread of its own that handles its messages one after the other, as a SuperNode
does; a site that hangs holds nobody else up. The threads are daemons, so a hanging site does not
keep the process alive either.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Iterable, Mapping
from time import monotonic, sleep

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = ["InProcessGrid"]

_RUN_ID = 1
_POLL_S = 0.005


class InProcessGrid(Grid):
    """Runs one ClientApp for several nodes.

    Args:
      client_app: the app, as Flower would load it.
      node_configs: each node's own configuration, by node id.
      parallel: how many nodes may work at once.
    """

    def __init__(
        self,
        client_app: ClientApp,
        node_configs: Mapping[int, Mapping[str, str]],
        *,
        parallel: int = 2,
    ) -> None:
        """Starts a thread for each node."""
        # A Message asks this class who sends it; in a real ServerApp the runtime has set it.
        TaskIdentity.task_id = TaskIdentity.run_id = _RUN_ID
        TaskIdentity.node_id = SUPERLINK_NODE_ID
        self._run = Run.create_empty(_RUN_ID)
        self._app = client_app
        self._slots = threading.Semaphore(parallel)
        self._replies: dict[str, Message] = {}
        self._inboxes: dict[int, queue.SimpleQueue[Message | None]] = {}
        for node, config in node_configs.items():
            context = Context(
                run_id=_RUN_ID,
                node_id=node,
                node_config=dict(config),
                state=RecordDict(),
                run_config={},
            )
            self._inboxes[node] = queue.SimpleQueue()
            threading.Thread(
                target=self._work, args=(node, context), name=f"node-{node}", daemon=True
            ).start()

    def _work(self, node: int, context: Context) -> None:
        while (message := self._inboxes[node].get()) is not None:
            with self._slots:
                try:
                    reply = self._app(message, context)
                except Exception as error:  # as a SuperNode does, but without the error's text
                    failure = Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, type(error).__name__)
                    reply = Message(failure, reply_to=message)
            self._replies[message.metadata.message_id] = reply

    def close(self) -> None:
        """Ends the threads of nodes that are idle."""
        for inbox in self._inboxes.values():
            inbox.put(None)

    def __enter__(self) -> InProcessGrid:
        """Returns the grid."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the grid."""
        self.close()

    def set_run(self, run: Run) -> None:
        """Sets the run's description."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's description."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Makes a message; Flower keeps this for old callers."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Returns all nodes."""
        return list(self._inboxes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Puts messages into their nodes' queues and returns their numbers."""
        numbers: list[str] = []
        for message in messages:
            number = uuid.uuid4().hex
            message.metadata.__dict__["_message_id"] = number
            self._inboxes[message.metadata.dst_node_id].put(message)
            numbers.append(number)
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Returns the replies that have come, each once."""
        come = [self._replies.pop(number, None) for number in message_ids]
        return [reply for reply in come if reply is not None]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Sends messages and waits for the replies, for ever without a time-out."""
        waiting = set(self.push_messages(messages))
        end = None if timeout is None else monotonic() + timeout
        replies: list[Message] = []
        while waiting and (end is None or monotonic() < end):
            come = list(self.pull_messages(waiting))
            waiting -= {reply.metadata.reply_to_message_id for reply in come}
            replies += come
            sleep(_POLL_S)
        return replies
