"""The coordinator's key: made once, named by the plan, needed to run it."""

from __future__ import annotations

import json
import stat

import pytest

from fedloom.privacy.keys import fingerprint, generate_key, load_private_key, public_key_hex
from fedloom.privacy.plan import Plan
from tests.federation import COORDINATOR, Federation, cli, make, make_home


@pytest.fixture
def between_homes(tmp_path) -> Federation:
    """A study that names the keys of two stewards' homes and of its coordinator."""
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    keys = {name: (home.public_key(), home.exchange_public_key()) for name, home in homes.items()}
    return make(tmp_path / "study", keys=keys)


def test_keygen_makes_a_key_that_only_its_owner_reads_and_never_replaces_it(tmp_path):
    file = tmp_path / "me.key"
    first = cli("coordinator", "keygen", file, "--json")
    assert first.code == 0 and stat.S_IMODE(file.stat().st_mode) == 0o600
    key = public_key_hex(load_private_key(file))
    assert first.json == {"key": key, "fingerprint": fingerprint(key)}
    again = cli("coordinator", "keygen", file)
    assert again.out == f'[coordinator]\nkey = "{key}"  # {fingerprint(key)}\n'


def test_a_digest_without_the_coordinators_key_is_said_not_to_be_final(tmp_path, between_homes):
    final = cli("study", "check", between_homes.study)
    assert final.code == 0 and "not final" not in final.out
    between_homes.edit(f'[coordinator]\nkey = "{public_key_hex(COORDINATOR)}"\n', "")
    open_still = cli("study", "check", between_homes.study)
    assert open_still.code == 0 and "not final: the coordinator" in open_still.out
    assert cli("study", "check", between_homes.study, "--json").json["coordinator_key"] is None


def test_a_simulation_makes_a_key_and_its_plan_names_it(tmp_path):
    federation = make(tmp_path / "study")
    assert federation.simulate(tmp_path / "run").code == 0
    key = public_key_hex(load_private_key(tmp_path / "run" / "coordinator.key"))
    assert Plan.load(tmp_path / "run" / "plan.json").coordinator_key == key


def test_a_simulation_with_a_key_signs_with_that_one(tmp_path):
    federation = make(tmp_path / "study")
    key = generate_key(tmp_path / "me.key")
    run = tmp_path / "run"
    assert federation.simulate(run, "--coordinator-key", tmp_path / "me.key").code == 0
    assert Plan.load(run / "plan.json").coordinator_key == public_key_hex(key)
    assert (run / "coordinator.key").read_bytes() == (tmp_path / "me.key").read_bytes()
    assert stat.S_IMODE((run / "coordinator.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("given", ["none", "another"])
def test_a_study_that_names_a_key_is_not_run_with_another(tmp_path, between_homes, given):
    generate_key(tmp_path / "another.key")
    words = ["simulate", between_homes.study, *between_homes.pairs(), "--out", tmp_path / "run"]
    if given == "another":
        words += ["--coordinator-key", tmp_path / "another.key"]
    refused = cli(*words)
    assert refused.code == 2 and "coordinator" in refused.err
    assert not (tmp_path / "run").exists()


def test_a_run_whose_key_was_exchanged_does_not_go_on(tmp_path):
    federation = make(tmp_path / "study")
    run = tmp_path / "run"
    assert federation.simulate(run).code == 0
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**state, "state": "running"}))
    (run / "coordinator.key").unlink()
    generate_key(run / "coordinator.key")
    refused = federation.simulate(run, "--resume")
    assert refused.code == 2 and "coordinator" in refused.err


def test_a_plan_without_the_coordinators_key_is_not_approved(tmp_path, between_homes):
    home = tmp_path / "north"
    between_homes.edit(f'[coordinator]\nkey = "{public_key_hex(COORDINATOR)}"\n', "")
    plan = tmp_path / "plan.json"
    assert cli("study", "check", between_homes.study, "--out", plan).code == 0
    (home / "site.toml").write_text(
        f'[site]\nname = "north"\n[source]\npath = "{between_homes.data("north")}"\n'
        "[policy]\nepsilon = 8.0\ndelta = 1e-3\n"
    )
    for document in (plan, between_homes.study):
        refused = cli("site", "approve", document, "--home", home, "--yes")
        assert refused.code == 2 and "coordinator keygen" in refused.err
