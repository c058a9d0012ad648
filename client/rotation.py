"""New keys for a site, without losing its ledger: made, handed on by the old ones, put in place.

The old signing key signs the entry that names the new keys, and is gone afterwards. Limits, losses
and heads stay those of the one ledger, so that nothing is gained by changing keys. A plan names
the keys of its sites: whatever was approved under the old ones ends.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from fedloom.client.decisions import decided_ledger
from fedloom.client.home import Home
from fedloom.client.key_files import (
    EXCHANGE,
    KEY,
    NODE,
    changing_keys,
    put_in_place,
    staged,
)
from fedloom.common.errors import RefusedError
from fedloom.common.files import sync_folder
from fedloom.privacy.keys import (
    generate_exchange_key,
    generate_key,
    load_exchange_key,
    load_private_key,
    public_key_hex,
)
from fedloom.privacy.ledger import Ledger, SiteKeys, read_ledger
from fedloom.privacy.node_key import generate_node_key, load_node_key, node_key_hex

__all__ = ["plans_that_end", "public_keys", "rotate"]


def public_keys(home: Home) -> SiteKeys:
    """Returns the public halves of a home's keys.

    Raises:
      ConfigError: one is missing or cannot be read.
    """
    return SiteKeys(
        key=home.public_key(),
        exchange_key=home.exchange_public_key(),
        node_key=node_key_hex(load_node_key(home.node_key_path)),
    )


def plans_that_end(home: Home, which: Collection[str]) -> dict[str, str]:
    """Returns the approved plans that no longer run once keys have changed: digest and name.

    Args:
      home: the home.
      which: file names of the keys that are to change; the node's stands in no plan.
    """
    if not {KEY, EXCHANGE} & set(which):
        return {}
    return dict(read_ledger(home.path).open_plans)


def rotate(home: Home, which: Collection[str]) -> SiteKeys:
    """Makes new keys, has the ledger hand itself on to them, and puts them in their place.

    Approvals that name a key which changes end before it does, their frozen records are deleted. A
    crash at any point leaves the old keys or, once the ledger has the entry, the new ones; the next
    command or vault that opens the home settles which (`fedloom.client.key_files`).

    Args:
      home: the home; no vault may hold it.
      which: file names of the keys that change, of `KEY`, `EXCHANGE`, `NODE`.

    Returns:
      The public keys from now on.

    Raises:
      RefusedError: a run is under way.
      HomeInUseError: a vault holds the home.
      IncompleteError: the disk did not take the ledger's entry; the keys are the old ones.
    """
    with changing_keys(home.path):
        try:
            with decided_ledger(home) as ledger:
                _refuse_while_running(ledger)
                _stage(home, which)  # before approvals end: a full disk ends none
                _end_approvals(home, ledger, which)
                old, new = public_keys(home), _coming(home)
                signing = _file(home.key_path)
                ledger.rotate(old, new, load_private_key(signing))
        finally:
            put_in_place(home.path)
    return new


def _refuse_while_running(ledger: Ledger) -> None:
    for plan in ledger.open_plans:
        unfinished = ledger.grants(plan)[-1].unfinished
        if unfinished:
            raise RefusedError(
                f"run {unfinished[0].run} of plan {plan[:12]} is under way here, and a site's keys "
                "change between runs; let it end, or end it with `fedloom site revoke PLAN`"
            )


def _end_approvals(home: Home, ledger: Ledger, which: Collection[str]) -> None:
    if {KEY, EXCHANGE} & set(which):
        for plan in ledger.open_plans:
            home.forget_plan(plan)
            ledger.revoke(plan)


def _stage(home: Home, which: Collection[str]) -> None:
    makers = {
        KEY: (home.key_path, generate_key),
        EXCHANGE: (home.exchange_key_path, generate_exchange_key),
        NODE: (home.node_key_path, generate_node_key),
    }
    for name in which:
        path, make = makers[name]
        make(staged(path))
    sync_folder(home.path)


def _coming(home: Home) -> SiteKeys:
    """Returns the public keys once what is staged has taken its place."""
    return SiteKeys(
        key=public_key_hex(load_private_key(_file(home.key_path))),
        exchange_key=public_key_hex(load_exchange_key(_file(home.exchange_key_path))),
        node_key=node_key_hex(load_node_key(_file(home.node_key_path))),
    )


def _file(path: Path) -> Path:
    waiting = staged(path)
    return waiting if waiting.exists() else path
