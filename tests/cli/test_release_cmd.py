"""`fedloom release` as people call it; what verification finds is tested with the verifier."""

from __future__ import annotations

import json

from fedloom.cli.main import main


def test_build_says_where_everything_is_and_what_it_built_verifies(built, capsys, tmp_path):
    out = tmp_path / "again"
    assert main(["release", "build", str(built.run), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert str(out / "report.html") in text and f"--key {built.public_key}" in text
    assert main(["release", "verify", str(out), "--key", built.public_key]) == 0


def test_build_refuses_what_it_cannot_use(built, capsys, tmp_path):
    assert main(["release", "build", str(tmp_path / "none"), "--out", str(tmp_path / "o")]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert main(["release", "build", str(built.run), "--out", str(built.release)]) == 2
    assert "choose another folder" in capsys.readouterr().err
    state = json.loads((built.run / "run.json").read_text("utf-8"))
    (built.run / "run.json").write_text(json.dumps({**state, "state": "running"}), "utf-8")
    assert main(["release", "build", str(built.run), "--out", str(tmp_path / "o")]) == 2
    assert "--resume" in capsys.readouterr().err


def test_build_from_a_damaged_extract_is_a_failed_verification(built, tmp_path):
    path = built.run / "extracts" / "north.json"
    path.write_text(path.read_text("utf-8").replace("north", "morth"), "utf-8")
    assert main(["release", "build", str(built.run), "--out", str(tmp_path / "o")]) == 4
    assert not (tmp_path / "o").exists()
