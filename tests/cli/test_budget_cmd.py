"""`fedloom budget show`: one home, several homes, words and JSON."""

from __future__ import annotations

import json

import pytest

from fedloom.cli.main import main
from fedloom.privacy.accounting import epsilon_pld


def test_json_of_one_home_has_the_promised_keys(built, capsys):
    assert main(["budget", "show", str(built.homes / "north"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {"site", "delta", "epsilon_spent", "epsilon_limit", "studies"} <= set(shown)
    assert shown["site"] == "north" and shown["epsilon_limit"] == 40.0
    assert shown["epsilon_spent"] == pytest.approx(built.plan.price().epsilon)
    assert shown["studies"][0]["plan"] == built.plan.digest()


def test_several_homes_are_composed(built, capsys):
    homes = [str(built.homes / name) for name in ("north", "south")]
    assert main(["budget", "show", *homes, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [home["site"] for home in shown["homes"]] == ["north", "south"]
    both = epsilon_pld([built.plan.event()] * 2, 1e-5)
    assert shown["together"]["epsilon_spent"] == pytest.approx(both)
    assert both > shown["homes"][0]["epsilon_spent"]


def test_words_name_site_study_and_rehearsal(built, capsys):
    assert main(["budget", "show", *map(str, sorted(built.homes.iterdir()))]) == 0
    out = capsys.readouterr().out
    for word in ("north", "south", "toy", "rehearsal", "of 40", "Together"):
        assert word in out
    assert "a running total; the guarantee over the life" in " ".join(out.split())


def test_a_folder_without_a_ledger_and_a_damaged_one(built, capsys, tmp_path):
    for wrong in (tmp_path / "none", built.release, built.homes / "north" / "ledger.db"):
        for words in (["budget", "show"], ["ledger", "verify"]):
            assert main([*words, str(wrong)]) == 2
            assert "name the home of a site" in capsys.readouterr().err
    path = built.homes / "north" / "ledger.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert main(["budget", "show", str(path.parent)]) == 4
    assert "restore" in capsys.readouterr().err
