"""`fedloom ledger verify`: whole, damaged, cut, and held against a release."""

from __future__ import annotations

import json
import shutil

from fedloom.cli.main import main


def test_a_whole_ledger_verifies_alone_and_against_its_release(built, capsys):
    home = str(built.homes / "north")
    assert main(["ledger", "verify", home]) == 0
    assert "is whole" in capsys.readouterr().out
    assert main(["ledger", "verify", home, "--release", str(built.release), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] and shown["site"] == "north"
    assert shown["releases"][0]["hash"] == shown["head"]["hash"]


def test_a_byte_altered_is_seen(built, capsys):
    path = built.homes / "north" / "ledger.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert main(["ledger", "verify", str(path.parent)]) == 4
    assert "restore" in capsys.readouterr().err


def test_a_ledger_begun_anew_no_longer_holds_the_released_head(built, capsys, fake):
    """The chain is sound in itself; only the release remembers the one before."""
    home = built.homes / "north"
    shutil.rmtree(home)
    fake.make_extract(built.keys["north"], built.plan, "north", home=home)
    assert main(["ledger", "verify", str(home)]) == 0
    assert main(["ledger", "verify", str(home), "--release", str(built.release)]) == 4
    assert "cut or replaced" in capsys.readouterr().err


def test_the_release_of_others_and_a_damaged_release(built, capsys, fake, tmp_path):
    home = tmp_path / "west"
    fake.make_extract(built.keys["north"], built.plan, "west", home=home)
    assert main(["ledger", "verify", str(home), "--release", str(built.release)]) == 4
    assert "holds no ledger of west" in capsys.readouterr().err
    manifest = built.release / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"toy", b"boy"))
    home = built.homes / "north"
    assert main(["ledger", "verify", str(home), "--release", str(built.release)]) == 4
