"""A coordinator that writes a key of its own beside the name of another site."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedloom.client import approval, peers
from tests.federation import Outcome, cli
from tests.stewards import Stewards, init, keys_of, stewards

SITES = ("east", "north", "south")


@pytest.fixture
def consortium(tmp_path: Path) -> Stewards:
    """Three stewards of a secure sum; north has pinned what the other two told it."""
    made = stewards(tmp_path, sites=SITES, trust="secure-sum")
    pins = ""
    for name in ("east", "south"):
        key, exchange = keys_of(made.homes[name])
        pins += f'\n[peers.{name}]\nkey = "{key}"\nexchange-key = "{exchange}"\n'
    config = made.homes["north"] / "site.toml"
    config.write_text(config.read_text() + pins)
    return made


def swap(consortium: Stewards, tmp_path: Path, which: int) -> None:
    """Writes a key of the coordinator's own into the study, in place of south's."""
    own = keys_of(init(tmp_path / "coordinator", "south"))
    consortium.federation.edit(keys_of(consortium.homes["south"])[which], own[which])


def approve(consortium: Stewards) -> Outcome:
    study, home = consortium.federation.study, consortium.homes["north"]
    return cli("site", "approve", study, "--home", home, "--yes")


@pytest.mark.parametrize("which", [0, 1], ids=["key", "exchange-key"])
def test_a_plan_with_a_key_that_is_not_the_pinned_one_is_not_approved(
    consortium: Stewards, tmp_path: Path, which: int
) -> None:
    swap(consortium, tmp_path, which)
    refused = approve(consortium)
    assert refused.code == 3 and "south" in refused.err
    assert consortium.kinds("north") == ["genesis"]
    assert not list((consortium.homes["north"] / "snapshots").iterdir())


def test_the_plan_with_the_pinned_keys_is_approved(consortium: Stewards) -> None:
    assert approve(consortium).code == 0
    assert consortium.kinds("north") == ["genesis", "approve"]


def test_an_approval_that_does_not_look_at_the_pins_would_be_found(
    consortium: Stewards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: nothing else stands between the steward and the coordinator's key."""
    swap(consortium, tmp_path, 1)
    for module in (approval, peers):  # the command looks before it asks, the approval once more
        monkeypatch.setattr(module, "check_peers", lambda *_, **__: None)
    assert approve(consortium).code == 0
    assert consortium.kinds("north") == ["genesis", "approve"]
