"""How the coordinator reaches sites: one method, whatever carries the bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

__all__ = ["Link", "Progress"]

Progress = Callable[[str], None]


class Link(Protocol):
    """Carries requests to sites and their answers back."""

    def ask(
        self,
        requests: Mapping[str, bytes],
        timeout_s: float,
        progress: Progress | None = None,
    ) -> dict[str, bytes]:
        """Asks sites and waits for their answers, never longer than `timeout_s`.

        The link knows a site by what its answer to a `prepare` or `finish` says, so the first ask
        must be one of them; it costs no second message if all sites are asked the same bytes.

        Args:
          requests: a packed request for each site that is asked.
          timeout_s: longest wait; sites that have not answered by then are absent.
          progress: called with a site's name when its answer has come.

        Returns:
          The answers' bytes by site. A site that was silent, cannot be reached or is late is
          absent; an answer to an earlier ask is never among them. What an answer claims is not
          checked here: hold its signature against the site's key.

        Raises:
          IncompleteError: the carrier itself is gone.
        """
        ...
