"""The steward's `site.toml` as it stands now: read again before every answer.

A steward who lowers a limit means it at once, as with pause and revoke. A file that is gone or
cannot be read says nothing about what is allowed, so nothing is.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedloom.client.home import Home
from fedloom.client.peers import Peer, check_peers
from fedloom.client.site_config import SiteConfig
from fedloom.common.errors import ConfigError
from fedloom.privacy.ledger import Limits
from fedloom.privacy.plan import Plan
from fedloom.privacy.policy import Policy

__all__ = ["SiteRules"]


class SiteRules:
    """Policy and peers of one home; a rehearsal's home has none.

    Args:
      home: the site's home.

    Raises:
      ConfigError: the file is there and cannot be used.
    """

    def __init__(self, home: Home) -> None:
        self._path = home.config_path
        self._text: bytes | None = None
        self._policy: Policy | None = None
        self._peers: Mapping[str, Peer] | None = None
        self.read()

    def read(self) -> bool:
        """Reads the file again.

        Returns:
          Whether it says something else than before.

        Raises:
          ConfigError: it is gone, or cannot be used; what it said before no longer holds.
        """
        if self._text is None and not self._path.exists():
            return False
        try:
            text = self._path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{self._path}: cannot be read ({error.strerror}), and the site answers nothing "
                "without its rules; restore it"
            ) from error
        if text == self._text:
            return False
        try:
            config = SiteConfig.load(self._path)
        except ConfigError as error:
            raise ConfigError(f"{self._path} cannot be used: {error}") from error
        self._policy, self._peers, self._text = config.policy, config.peers, text
        return True

    @property
    def limits(self) -> Limits | None:
        """What the policy allows over the life of the records."""
        return None if self._policy is None else self._policy.limits

    @property
    def former_keys(self) -> dict[str, tuple[str, ...]]:
        """Signing keys that other sites had before, by site, as the pins say."""
        return {name: peer.former_keys for name, peer in (self._peers or {}).items()}

    def check(self, plan: Plan, runs: int, *, site: str) -> None:
        """Holds so many runs of a plan against policy and peers.

        Raises:
          PolicyError: the plan goes beyond the policy, or names keys that are not pinned.
        """
        if self._policy is not None:
            self._policy.check(plan, runs)
        if self._peers is not None:
            check_peers(self._peers, plan, site=site)
