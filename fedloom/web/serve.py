"""Serves pages on one address of the loopback, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from fedloom.common.errors import ConfigError
from fedloom.server.connection_limits import ConnectionLimits, limited_protocol
from fedloom.web.door import Door
from fedloom.web.guard import Guard

__all__ = ["NETWORK_WARNING", "check_address", "guarded", "serve"]

NETWORK_WARNING = (
    "the page is served without TLS beyond this machine: whoever can read the network's traffic "
    "can take over the session and decide in your name. Leave the address out and use `ssh -L` "
    "instead"
)
_MAX_CONNECTIONS = 64
_PER_ADDRESS = 32
# The longest a request may take; an approval reads and freezes all records.
_EXCHANGE_S = 3600.0


def check_address(host: str, *, allow_network: bool) -> str:
    """Returns the address on which the pages may be served.

    Raises:
      ConfigError: it is no address, all addresses at once, or, unless that is allowed, not one of
        the loopback.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ConfigError(f"--host {host} must be an address such as 127.0.0.1") from None
    if address.is_unspecified:
        raise ConfigError(f"--host {host} means every network at once; name one address")
    if not (address.is_loopback or allow_network):
        raise ConfigError(
            f"--host {host} can be reached from other machines; leave it out and reach the page by "
            "`ssh -L`, or say --allow-network as well, without TLS"
        )
    return str(address)


def guarded(
    pages: Callable[[Door], ASGIApp], door: Door, *, host: str, port: int, max_body_bytes: int
) -> Guard:
    """Returns the application that is served: pages behind the guard.

    Args:
      pages: makes them for a door.
      door: says who may come in.
      host: address that is bound.
      port: port that is bound.
      max_body_bytes: of a form.
    """
    shown = f"[{host}]" if ":" in host else host
    names = {f"{shown}:{port}"}
    if ipaddress.ip_address(host).is_loopback:
        names.add(f"localhost:{port}")
    return Guard(pages(door), door, frozenset(names), max_body_bytes=max_body_bytes)


def serve(
    pages: Callable[[Door], ASGIApp],
    *,
    host: str,
    port: int,
    tell: Callable[[str], None],
    entering: Callable[[], None],
    max_body_bytes: int,
) -> None:
    """Serves until SIGTERM or SIGINT; prints the link.

    Args:
      pages: makes the pages for a door.
      host: an address that `check_address` returned.
      port: 0 for any that is free.
      tell: prints a line on the terminal. A link never goes elsewhere: what stands in a process's
        arguments, all users of the machine can read.
      entering: called before a browser is let in; nobody is if it raises.
      max_body_bytes: of a form.

    Raises:
      ConfigError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # whoever follows the link at once waits, and is not refused
        except OSError as error:
            raise ConfigError(
                f"port {port} of {host} cannot be used: {error.strerror}; give another --port"
            ) from error
        bound = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        door = Door(lambda path: tell(f"open http://{shown}:{bound}{path}"), entering=entering)
        app = guarded(pages, door, host=host, port=bound, max_body_bytes=max_body_bytes)
        config = uvicorn.Config(
            app,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=16 << 10,
            http=limited_protocol(
                ConnectionLimits(exchange_s=_EXCHANGE_S, per_address=_PER_ADDRESS)
            ),
            ws="none",
            lifespan="off",
            proxy_headers=False,
            access_log=False,
            server_header=False,
            log_level="warning",
        )
        door.knock()
        uvicorn.Server(config).run(sockets=[listener])
