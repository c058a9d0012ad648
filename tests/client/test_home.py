from __future__ import annotations

import stat

import pytest

from fedloom.client.home import Home
from fedloom.common.errors import ConfigError
from fedloom.common.files import write_whole
from fedloom.privacy.keys import public_key_hex


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_is_closed_to_others(tmp_path):
    home = Home.create(tmp_path / "home")
    home.log("clamped 3")
    write_whole(home.plan_path("a" * 64), b"{}", private=True)
    assert {mode(path) for path in (home.path, home.approved, home.snapshots)} == {0o700}
    keys = (home.key_path, home.exchange_key_path)
    files = (*keys, home.path / "private.log", home.plan_path("a" * 64))
    assert {mode(path) for path in files} == {0o600}


def test_a_home_is_made_once_and_opened_where_there_is_one(tmp_path):
    home = Home.create(tmp_path / "home")
    assert Home.open(tmp_path / "home").public_key() == home.public_key()
    with pytest.raises(ConfigError, match="already"):
        Home.create(tmp_path / "home")
    with pytest.raises(ConfigError, match="fedloom site init --home"):
        Home.open(tmp_path / "elsewhere")


def test_missing_keys_are_made_and_none_is_replaced(tmp_path):
    home = Home.create(tmp_path / "home")
    before = home.public_key(), home.exchange_public_key()
    home.make_keys()
    assert (home.public_key(), home.exchange_public_key()) == before
    assert public_key_hex(home.exchange_private_key()) == before[1]
    home.exchange_key_path.unlink()
    with pytest.raises(ConfigError, match="site keygen"):
        home.exchange_public_key()
    home.make_keys()
    assert home.public_key() == before[0] and home.exchange_public_key() != before[1]


def test_forgetting_a_plan_leaves_nothing_of_its_records(tmp_path):
    home = Home.create(tmp_path / "home")
    plan = "b" * 64
    for path in (home.plan_path(plan), home.snapshot_path(plan), home.salt_path(plan)):
        write_whole(path, b"x", private=True)
    home.forget_plan(plan)
    home.forget_plan(plan)
    assert not [*home.approved.iterdir(), *home.snapshots.iterdir()]


def test_the_log_is_appended_to(tmp_path):
    home = Home.create(tmp_path / "home")
    home.log("one")
    home.log("two")
    lines = (home.path / "private.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["one", "two"]
