"""The ClientApp: hands a message's bytes to the site's vault and returns the vault's answer.

Flower starts a new process for every message, so this module imports neither torch nor pandas,
and it never opens a record: it only knows the address of the vault, from the node's own
configuration. Whatever goes wrong, the coordinator gets an empty answer, which is silence; the
reason goes to the site's own standard error.
"""

from __future__ import annotations

import sys

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedloom.client.link import connect
from fedloom.common.errors import FedloomError
from fedloom.common.messages import from_record, to_record

__all__ = ["ACTION", "app"]

ACTION = "fedloom"
# A vault that was killed is started again within seconds. Silence would cost the round.
_PATIENCE_S = 30.0

app = ClientApp()


@app.query(ACTION)
def forward(message: Message, context: Context) -> Message:
    """Returns the vault's answer, or silence."""
    try:
        answer = _ask_vault(message, context)
    except Exception as error:
        reason = str(error) if isinstance(error, FedloomError) else type(error).__name__
        print(f"fedloom: no answer from the vault: {reason}", file=sys.stderr, flush=True)
        answer = b""
    return Message(to_record(answer), reply_to=message)


def _ask_vault(message: Message, context: Context) -> bytes:
    request = from_record(message.content)
    ttl = message.metadata.ttl
    vault = connect(
        str(context.node_config["vault"]), timeout_s=ttl, patience_s=min(_PATIENCE_S, ttl / 2)
    )
    try:
        return vault.handle(request)
    finally:
        vault.close()
