"""The other sites' keys, as their stewards told them: what no plan can change.

    [peers.south]                # in site.toml, one for each other site of a study
    key = "…"                    # the two lines that `fedloom site keygen` prints there
    exchange-key = "…"
    former-keys = ["…"]          # written by `site join` when the site's keys have changed

The coordinator writes the plan. If it puts exchange keys of its own under the names of all other
sites, it can take off every mask of this site's part of a sum, and sees it with this site's small
share of the noise alone. A plan that names this site's own keys rightly tells nothing of that; the
other sites' keys have to come from their stewards.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from fedloom.common.errors import PolicyError
from fedloom.common.typed import PublicKey, Section, read_typed
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.plan import Plan

__all__ = ["Peer", "check_peers", "read_peers", "without_peer"]

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


class Peer(Section, frozen=True, kw_only=True, rename="kebab"):
    """Public keys of another site.

    Attributes:
      key: signs its answers and its heads.
      exchange_key: masks its parts of secure sums.
      former_keys: that signed before, and have handed its ledger on to `key`: what was seen of the
        ledger under them still holds.
    """

    key: PublicKey
    exchange_key: PublicKey
    former_keys: tuple[PublicKey, ...] = ()


def read_peers(table: dict[str, Any], *, where: str) -> dict[str, Peer]:
    """Reads `[peers]` of a `site.toml`.

    Args:
      table: by site.
      where: names the file in messages.

    Raises:
      ConfigError: a site lacks a key, has another, or one that is no public key.
    """
    return {
        name: read_typed(pins, Peer, where=f"{where}: [peers.{name}]")
        for name, pins in table.items()
    }


def check_peers(peers: Mapping[str, Peer], plan: Plan, *, site: str) -> None:
    """Holds the keys that a plan names for other sites against those that their stewards told.

    With a secure sum every other site must be pinned; in per-site trust, where nothing is masked,
    only the pins that exist are compared.

    Args:
      peers: the pins of `site.toml`, by site.
      plan: the plan.
      site: this site, whose own keys are compared with its home.

    Raises:
      PolicyError: a site has no pin, with the lines that would pin what the plan says; or the
        plan names another key than the pin.
    """
    others = [entry for entry in plan.sites if entry.name != site]
    for entry in others:
        peer = peers.get(entry.name)
        if peer is None:
            continue
        if entry.key in peer.former_keys:
            raise PolicyError(
                f"the plan names the key that {entry.name!r} had before its keys changed, so it no "
                "longer runs; have the coordinator resolve the study again with the new keys, and "
                "approve the new plan"
            )
        pairs = [("key", entry.key, peer.key)]
        if plan.colluding is not None or entry.exchange_key is not None:
            pairs.append(("exchange-key", entry.exchange_key, peer.exchange_key))
        for name, named, pinned in pairs:
            if named != pinned:
                raise PolicyError(
                    f"the plan names the {name} {_short(named)} for {entry.name!r}, site.toml pins "
                    f"{_short(pinned)} (fingerprints). Whoever wrote the plan may want to read "
                    f"this site's answers: ask the steward of {entry.name!r}, and not through the "
                    "coordinator, which key is theirs"
                )
    bare = [entry for entry in others if entry.name not in peers]
    if plan.colluding is None or not bare:
        return
    lines = "\n".join(
        f'[peers.{_toml_key(entry.name)}]\nkey = "{entry.key}"\n'
        f'exchange-key = "{entry.exchange_key}"'
        for entry in bare
    )
    raise PolicyError(
        "masks hide this site's part of a sum only if the other sites' keys are theirs, and "
        f"site.toml does not pin those of {', '.join(entry.name for entry in bare)}. The plan says"
        f"\n\n{lines}\n\nCompare these with the other stewards by telephone or signed mail, not "
        "through the coordinator, who could have put its own in their place; then write the lines "
        "into site.toml"
    )


def without_peer(text: str, name: str) -> str:
    r"""Returns a `site.toml` without the section of one peer; other lines and comments stay.

    >>> without_peer('[peers.a]\nkey = "1"\n# of b\n[peers.b]\nkey = "2"\n', "a")
    '# of b\n[peers.b]\nkey = "2"\n'
    """
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        if stripped.startswith("["):
            inside = _names_peer(stripped, name)
        if not inside or stripped.startswith("#"):
            kept.append(line)
    return "".join(kept)


def _names_peer(header: str, name: str) -> bool:
    """Whether a section's header line is that of a peer."""
    try:
        found = tomllib.loads(header)
    except tomllib.TOMLDecodeError:
        return False
    return list(found.get("peers", ())) == [name]


def _short(key: str | None) -> str:
    return "none" if key is None else fingerprint(key)


def _toml_key(name: str) -> str:
    return name if _BARE.match(name) else json.dumps(name)
