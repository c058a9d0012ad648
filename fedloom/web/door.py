"""Who may see the pages: whoever reads the terminal that serves them.

The command prints a link with a token. The first browser that follows it gets a session: a random
cookie, which scripts cannot read and which no other site's page can have sent. The token is then
used up. There is one session at a time; it ends after half an hour without a page that somebody
asked for, after twelve hours, or by hand. Then the terminal prints a new link as soon as a browser
asks.

Browsers send cookies to every port of a host. So all pages lie under a random path, to which the
cookie is bound: another program of this machine, on another port, does not get it.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

__all__ = ["COOKIE", "Door", "Session"]

COOKIE = "fedloom"
_IDLE_S = 30 * 60.0
_LONGEST_S = 12 * 3600.0
_LINK_S = 10 * 60.0
_BYTES = 32


@dataclass(slots=True, kw_only=True)
class Session:
    """One browser that was let in.

    Attributes:
      cookie: its secret.
      form_token: stands in every form of the pages, and in no other site's.
      begun: when, by the door's clock.
      seen: when somebody last asked for a page.
    """

    cookie: str
    form_token: str
    begun: float
    seen: float


class Door:
    """Hands out one link, and one session for it.

    Args:
      announce: told the path of a new link, below the address; prints it on the terminal.
      entering: called before a browser is let in; nobody is if it raises.
      clock: seconds that only grow.
    """

    def __init__(
        self,
        announce: Callable[[str], None],
        *,
        entering: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base = f"/{secrets.token_urlsafe(12)}"
        self._announce, self._entering, self._clock = announce, entering, clock
        self._lock = Lock()
        self._token, self._token_made = "", 0.0
        self._session: Session | None = None

    def knock(self) -> None:
        """Has a link printed, unless one can still be used or somebody is in."""
        with self._lock:
            now = self._clock()
            if self._alive(now) or (self._token and now - self._token_made < _LINK_S):
                return
            self._token, self._token_made = secrets.token_urlsafe(_BYTES), now
            path = f"{self.base}/enter?token={self._token}"
        self._announce(path)

    def enter(self, token: str) -> Session | None:
        """Exchanges a link's token for a session; None if it is wrong, old or used up.

        Raises:
          FedloomError: it could not be noted; the link can still be used.
        """
        with self._lock:
            now = self._clock()
            fresh = bool(self._token) and now - self._token_made < _LINK_S
            if not (hmac.compare_digest(token.encode(), self._token.encode()) and fresh):
                return None
            self._entering()
            self._token = ""
            self._session = Session(
                cookie=secrets.token_urlsafe(_BYTES),
                form_token=secrets.token_urlsafe(_BYTES),
                begun=now,
                seen=now,
            )
            return self._session

    def session(self, cookie: str, *, asked: bool) -> Session | None:
        """Returns the session of a cookie, or None.

        Args:
          cookie: as the browser sent it.
          asked: somebody asked for a page; a page that refreshes itself keeps no session alive.
        """
        with self._lock:
            now = self._clock()
            held = self._session if self._alive(now) else None
            if held is None or not hmac.compare_digest(cookie.encode(), held.cookie.encode()):
                return None
            if asked:
                held.seen = now
            return held

    def leave(self) -> None:
        """Ends the session."""
        with self._lock:
            self._session = None

    def _alive(self, now: float) -> bool:
        held = self._session
        return held is not None and now - held.seen < _IDLE_S and now - held.begun < _LONGEST_S
