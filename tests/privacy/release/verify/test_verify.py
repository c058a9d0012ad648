"""Verification of releases through the command line: whatever was altered, exit code 4."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest

import fedloom
from fedloom.cli.main import main
from fedloom.common.digest import digest
from fedloom.common.errors import ReleaseError
from fedloom.privacy.keys import fingerprint, generate_key, public_key_hex, sign
from fedloom.privacy.release.verify import verify_release
from tests.tampering import edit, failed, sign_again, verify

FILES = (
    "answers/marginals.parquet answers/round-0001.safetensors answers/round-0002.safetensors "
    "DATASHEET.md LICENSE README.md codebook.json codebook.md data/synthetic.csv "
    "data/synthetic.parquet dp_statement.json generator/config.json generator/model.safetensors "
    "ledger/north.json ledger/south.json manifest.json manifest.sig plan.json report.html "
    "schema.json"
).split()


def test_an_honest_release_verifies_and_says_who_signed(built, capsys):
    assert verify(built.release, "--key", built.public_key) == 0
    out = capsys.readouterr().out
    assert "signed by the key that you gave" in out and "covers this run alone" in out
    assert verify(built.release) == 0
    out = capsys.readouterr().out
    assert "nchanged since signing; signer not checked" in out
    assert "fingerprint" in out and built.public_key in out


def test_json_names_every_check_and_its_result(built, capsys):
    assert verify(built.release, "--json", "--key", built.public_key) == 0
    result = json.loads(capsys.readouterr().out)
    names = [check["name"] for check in result["checks"]]
    expected = (
        "manifest signer files plan statement schema data price epsilon codebook generator".split()
    )
    assert set(expected) <= set(names) and {"ledger north", "ledger south"} <= set(names)
    assert all(check["detail"] for check in result["checks"])
    undone = [check["name"] for check in result["checks"] if check["ok"] is None]
    assert undone == ["evidence", "refit", "texts"]
    assert (result["checks"][-1]["name"], result["checks"][-1]["ok"]) == ("texts", None)
    assert result["signer"]["checked"] is True
    assert result["epsilon"] == built.plan.price().epsilon


def test_the_listed_files_are_all_there_are(built):
    found = {p.relative_to(built.release).as_posix() for p in built.release.rglob("*.*")}
    found |= {p.name for p in built.release.iterdir() if p.is_file()}
    assert found == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_one_byte_altered_in_any_file_is_seen(built, name):
    path = built.release / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert verify(built.release) == 4


def test_a_byte_appended_to_the_manifest_or_its_signature_is_seen(built):
    for name in ("manifest.json", "manifest.sig"):
        path = built.release / name
        data = path.read_bytes()
        path.write_bytes(data + b"\n")
        assert verify(built.release) == 4
        path.write_bytes(data)
    assert verify(built.release) == 0


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_seen(built, name):
    (built.release / name).unlink()
    assert verify(built.release) == 4


@pytest.mark.parametrize("name", ["extra.txt", "data/extra.csv", "generator/model.pkl"])
def test_an_added_file_is_seen(built, capsys, name):
    (built.release / name).write_text("more", encoding="utf-8")
    assert failed(capsys, built.release) == {"files"}


def test_a_link_in_place_of_a_file_is_seen(built, capsys, tmp_path):
    path = built.release / "README.md"
    shutil.move(path, tmp_path / "elsewhere.md")
    path.symlink_to(tmp_path / "elsewhere.md")
    assert failed(capsys, built.release) == {"files"}


def test_another_key_is_seen(built, capsys, tmp_path):
    other = generate_key(tmp_path / "other.pem")
    assert failed(capsys, built.release, "--key", public_key_hex(other)) == {"signer"}
    sign_again(built.release, other)
    assert failed(capsys, built.release, "--key", built.public_key) == {"signer", "publisher"}
    readme, theirs = built.release / "README.md", public_key_hex(other)
    text = readme.read_text("utf-8").replace(built.public_key, theirs)
    text = text.replace(fingerprint(built.public_key), fingerprint(theirs))
    readme.write_text(text, "utf-8")
    sign_again(built.release, other)
    assert failed(capsys, built.release, "--key", built.public_key) == {"signer", "publisher"}
    assert failed(capsys, built.release) == {"publisher"}, "the plan names the key"


@pytest.mark.parametrize("key", ["", "abc", "z" * 64])
def test_what_is_no_key_is_unusable_input(built, key):
    assert verify(built.release, "--key", key) == 2


def test_a_folder_that_is_no_release(built, tmp_path):
    (tmp_path / "empty").mkdir()
    assert verify(tmp_path / "empty") == 4
    assert verify(tmp_path / "nothing") == 2


def test_lowered_epsilon_signed_by_another_key_is_seen(built, capsys, tmp_path):
    edit(built.release / "dp_statement.json", lambda s: s.update(epsilon=0.5))
    sign_again(built.release, generate_key(tmp_path / "other.pem"))
    assert failed(capsys, built.release, "--key", built.public_key) == {
        "signer",
        "publisher",
        "epsilon",
    }


def test_lowered_epsilon_signed_by_the_same_key_is_seen_by_computing_it_again(built, capsys):
    edit(built.release / "dp_statement.json", lambda s: s.update(epsilon=s["epsilon"] * 0.999))
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release, "--key", built.public_key) == {"epsilon"}


def _site(statement: dict[str, Any]) -> dict[str, Any]:
    return statement["sites"]["north"]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(claim="(0.01, 1e-09)-differential privacy for the unit 'person'"),
        lambda s: s["claim"].update(epsilon=0.01),
        lambda s: s["claim"].update(void=True),
        lambda s: s["claim"].update(place="coordinator"),
        lambda s: s["claim"].update(text=None),
        lambda s: s["claim"].update(more="epsilon is 0.01"),
        lambda s: s["assumptions"][0].update(code="none"),
        lambda s: s.update(not_covered=[]),
        lambda s: s["assumptions"].pop(),
        lambda s: s.update(epsilon_total=0.01),
        lambda s: s.pop("failure_and_retry"),
        lambda s: s["composition"].update(within_a_site="parallel: epsilon does not add"),
        lambda s: s["unit_of_privacy"].update(meaning="one person, everywhere"),
        lambda s: s["unit_of_privacy"].pop("text"),
        lambda s: s["mechanisms"][0].update(where="at the server"),
        lambda s: s["accountant"].update(interval=1e-9),
        lambda s: s["randomness"].update(floating_point_hardened=True),
        lambda s: s["hyperparameter_tuning"].update(on_private_data=0),
        lambda s: s.update(delta=1e-6),
        lambda s: s["towards"]["public"].update(epsilon=1.0),
        lambda s: s["towards"]["coordinator"].update(epsilon=0.0),
        lambda s: s["towards"]["fellow_site"].update(noise=1.5),
        lambda s: s["overlap"].update(sites_per_unit=2),
        lambda s: s["overlap"].update(epsilon_at_every_site=1.0),
        lambda s: s["trust_model"].update(mode="secure-sum"),
        lambda s: s["failure_and_retry"]["void_attempts"].append({"round": 1}),
        lambda s: s["held_back"].update(chance=0.5),
        lambda s: _site(s).update(epsilon=0.1),
        lambda s: _site(s).update(epsilon_of_commits=0.1),
        lambda s: _site(s).update(rounds_answered=0),
        lambda s: _site(s).update(attempts_charged=1),
        lambda s: _site(s).update(exchange_key="0" * 64),
        lambda s: _site(s).update(rehearsal=False),
        lambda s: _site(s)["lifetime"].update(epsilon_limit=1.0),
        lambda s: s["sites"].pop("north"),
        lambda s: s["mechanisms"][0].update(noise_multiplier=9.0),
        lambda s: s["mechanisms"].clear(),
        lambda s: s["rehearsal"].update(sites=[]),
        lambda s: s["unit_of_privacy"].update(unit="person"),
        lambda s: s["neighbouring"].update(relation="substitute-one"),
        lambda s: s["accountant"]["cross_check"].update(epsilon="none"),
        lambda s: s.pop("epsilon"),
        lambda s: s.update(epsilon=True),
        lambda s: s.update(towards=None),
    ],
)
def test_whatever_else_the_statement_says_is_written_again(built, capsys, change):
    edit(built.release / "dp_statement.json", change)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"epsilon"}


def test_a_cheaper_plan_in_place_of_the_signed_one_is_seen(built, capsys):
    def cheaper(plan: dict[str, Any]) -> None:
        plan["price"]["epsilon"] = 0.1

    edit(built.release / "plan.json", cheaper)
    edit(built.release / "dp_statement.json", lambda s: s.update(epsilon=0.1))
    plan = json.loads((built.release / "plan.json").read_text("utf-8"))
    sign_again(built.release, built.coordinator, plan=digest(plan))
    assert failed(capsys, built.release) == {"plan"}


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["statistics"].update(l2_norm=1e-6),
        lambda p: p["statistics"].update(length=1),
        lambda p: p.update(schema_digest="0" * 64),
        lambda p: p["privacy"].update(neighbouring="substitute-one"),
        lambda p: p["model"].update(hidden=7),
        lambda p: p["schema"].clear(),
    ],
)
def test_a_plan_that_lies_about_itself_is_seen(built, capsys, change):
    edit(built.release / "plan.json", change)
    plan = json.loads((built.release / "plan.json").read_text("utf-8"))
    sign_again(built.release, built.coordinator, plan=digest(plan))
    assert failed(capsys, built.release) == {"plan"}


_BROKEN = {
    "a key twice": lambda text: '{"epsilon": 0.01, "format": 1,' + text.lstrip()[1:],
    "a number of 400 digits": lambda text: f'{{"x": 1{"0" * 400},' + text.lstrip()[1:],
    "a float beyond all": lambda text: '{"x": 1e999,' + text.lstrip()[1:],
    "NaN": lambda text: '{"x": NaN,' + text.lstrip()[1:],
    "infinity": lambda text: '{"x": -Infinity,' + text.lstrip()[1:],
    "100000 levels": lambda text: "[" * 100_000,
    "no object": lambda text: "[]",
    "no JSON": lambda text: text[:-3],
    "no UTF-8": lambda text: "\x00" + text,
}


@pytest.mark.parametrize(
    "name, broken",
    [("dp_statement.json", broken) for broken in _BROKEN]
    + [
        (name, broken)
        for name in ("plan.json", "schema.json", "ledger/north.json")
        for broken in ("a key twice", "NaN", "a number of 400 digits", "100000 levels")
    ],
)
def test_json_that_does_not_mean_one_thing_is_seen(built, capsys, name, broken):
    path = built.release / name
    path.write_text(_BROKEN[broken](path.read_text("utf-8")), "utf-8")
    sign_again(built.release, built.coordinator)
    check = {"dp_statement": "statement", "north": "ledger north"}.get(path.stem, path.stem)
    assert check in failed(capsys, built.release)


@pytest.mark.parametrize("digits", [400, 5000])
def test_an_epsilon_of_many_digits_is_seen(built, capsys, digits):
    path = built.release / "dp_statement.json"
    huge = f'"epsilon": 1{"0" * digits}, "epsilon_was": '
    path.write_text(path.read_text("utf-8").replace('"epsilon": ', huge, 1), "utf-8")
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"statement"}


@pytest.mark.parametrize("broken", _BROKEN)
def test_a_manifest_that_does_not_mean_one_thing_is_seen(built, capsys, broken):
    path = built.release / "manifest.json"
    data = _BROKEN[broken](path.read_text("utf-8")).encode()
    path.write_bytes(data)
    signature = sign(built.coordinator, b"fedloom release manifest\n" + data)
    (built.release / "manifest.sig").write_text(signature + "\n", "ascii")
    assert failed(capsys, built.release) == {"manifest"}


@pytest.mark.parametrize(
    "changes",
    [
        {"ledgers": {"north": {}}},
        {"ledgers": {"north": None, "south": None}},
        {"ledgers": []},
        {"versions": None},
        {"run": 7},
    ],
)
def test_a_signed_manifest_of_another_form_is_seen(built, capsys, changes):
    sign_again(built.release, built.coordinator, **changes)
    assert failed(capsys, built.release) == {"manifest"}
    home = str(built.homes / "north")
    assert main(["ledger", "verify", home, "--release", str(built.release)]) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["columns"][0].update(max=120),
        lambda c: c["columns"][1]["values"].pop(),
        lambda c: c["columns"].pop(),
        lambda c: c.update(target=None),
    ],
)
def test_a_codebook_of_another_schema_is_seen(built, capsys, change):
    edit(built.release / "codebook.json", change)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"codebook"}


@pytest.mark.parametrize(
    "check, changes", [("plan", {"name": "x"}), ("manifest", {"created": "2026. epsilon = 0.01"})]
)
def test_name_and_time_of_the_manifest_are_held_to_their_form(built, capsys, check, changes):
    sign_again(built.release, built.coordinator, **changes)
    assert check in failed(capsys, built.release)


@pytest.mark.parametrize(
    "column, value",
    [("age", 91), ("age", None), ("sex", "unknown"), ("income", -1.0), ("income", None)],
)
def test_data_outside_the_schema_are_seen(built, capsys, column, value):
    for name in ("synthetic.csv", "synthetic.parquet"):
        path = built.release / "data" / name
        frame = pd.read_parquet(built.release / "data" / "synthetic.parquet")
        frame[column] = frame[column].astype(object)
        frame.loc[3, column] = value
        if name.endswith(".csv"):
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"data"}


def test_csv_and_parquet_that_differ_are_seen(built, capsys):
    path = built.release / "data" / "synthetic.csv"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), "utf-8")
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"data"}


def test_missing_values_survive_both_files(built):
    typed = pd.read_parquet(built.release / "data" / "synthetic.parquet")
    text = (built.release / "data" / "synthetic.csv").read_text("utf-8")
    empty = sum(line.split(",")[4] == "" for line in text.splitlines()[1:])
    assert typed["town"].isna().sum() == empty > 0


def test_from_python_a_bad_release_raises(built):
    assert fedloom.verify(built.release, key=built.public_key).signer_checked
    (built.release / "README.md").write_text("other", "utf-8")
    with pytest.raises(ReleaseError, match="README.md was changed"):
        verify_release(built.release)


def test_verification_opens_no_socket(built, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("verification must work offline")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert verify(built.release, "--key", built.public_key) == 0


def test_verification_needs_no_torch(built):
    code = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{"torch", "flwr", "opacus", "grpc", "sklearn"}}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from fedloom.cli.main import main
sys.exit(main(["release", "verify", {str(built.release)!r}]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
