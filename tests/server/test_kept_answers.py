"""What a run keeps of its sites' answers: every round's sum and parts, whole, private, once."""

from __future__ import annotations

import stat

import numpy as np
import pytest

import fedloom.server.coordinate as coordinate_module
from fedloom.client.vault import Vault
from fedloom.common.errors import IncompleteError, QuorumError
from fedloom.common.study import load_study
from fedloom.privacy.answers.files import PARTS, part_path, read_part
from fedloom.privacy.answers.opened import OpenedRound, answer_path, spread_of
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.release.account import account_of
from fedloom.privacy.secure_sum import open_sum
from fedloom.server.coordinate import coordinate
from fedloom.server.kept_answers import KeptAnswers
from fedloom.simulation import prepare
from tests.federation import make
from tests.server.test_sums import DirectLink

SITES = ("east", "north", "south", "west")
HELD_BACK = "[evaluation]\nshare = 0.1\nhold_back = 0.2\n"


class Made:
    """A prepared run with its vaults open."""

    def __init__(self, folder, model, trust, more=""):
        federation = make(folder / "study", model, sites=SITES, trust=trust, rows=300, more=more)
        study, schema = load_study(federation.study)
        tables = {name: federation.data(name) for name in SITES}
        self.run = prepare(study, schema, tables, out=folder / "run", homes={})
        self.plan = self.run.plan()
        self.vaults = {n: Vault.open(self.run.path / "sites" / n) for n in SITES}

    def coordinate(self, silent=lambda site, request: False):
        link = DirectLink(self.vaults, silent)
        coordinate(self.run.path, link)
        return link

    def account(self, site):
        view = read_ledger(self.run.path / "sites" / site)
        run = str(self.run.state()["run"])
        extract = self.vaults[site]._ledger.extract(self.plan.digest(), run)
        return account_of({"public_key": view.public_key, "entries": extract}, self.plan, run, site)

    def part(self, number, site):
        path = part_path(self.run.path / PARTS, number, site)
        return read_part(path, site=site, key=self.plan.site(site).key)

    def opened(self, number):
        return OpenedRound.load(self.run.path / answer_path(number))


@pytest.fixture
def made(request, tmp_path):
    settings = getattr(request, "param", ("gradients", "secure-sum", HELD_BACK))
    it = Made(tmp_path, *settings)
    yield it
    for vault in it.vaults.values():
        vault.close()


@pytest.mark.parametrize(
    "made",
    [
        ("gradients", "secure-sum", HELD_BACK),
        ("mixture", "secure-sum"),
        ("mixture", "per-site", HELD_BACK),
        ("weights", "per-site"),
    ],
    indirect=True,
)
def test_every_round_keeps_the_parts_that_the_ledgers_committed_to(made):
    made.coordinate()
    local = made.plan.colluding is None
    for asked in made.plan.rounds:
        folder = part_path(made.run.path / PARTS, asked.round, "-").parent
        assert {path.stem for path in folder.glob("*.safetensors")} == set(SITES)
        parts = {site: made.part(asked.round, site) for site in SITES}
        for site in SITES:
            (line,) = [a for a in made.account(site).answered if a.round == asked.round]
            assert parts[site].header.arrays_digest == line.answer_digest
            assert parts[site].header.request_digest == line.request_digest
        if asked.query in ("gradient", "train"):
            assert not (made.run.path / answer_path(asked.round)).exists()
            continue
        opened = made.opened(asked.round)
        assert opened.request(made.plan.study_digest).digest() == line.request_digest
        assert opened.roster == opened.sites == SITES
        shares = {site: parts[site].arrays["sum"] for site in SITES}
        assert np.array_equal(opened.total, open_sum(shares, roster=SITES))
        assert set(opened.own) == (set(SITES) if local else set())
        assert all(np.array_equal(opened.own[site], shares[site]) for site in opened.own)


def test_what_is_kept_is_for_its_owner_alone(made):
    made.coordinate()
    folder = made.run.path / "answers"
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600)


def test_parts_of_an_attempt_that_did_not_open_are_not_kept(made):
    made.coordinate(lambda site, request: (site, request.round) == ("north", 2))
    folder = part_path(made.run.path / PARTS, 2, "-").parent
    assert {path.stem for path in folder.glob("*.safetensors")} == set(SITES) - {"north"}
    lines = [a for a in made.account("east").answered if a.round == 2]
    assert [line.attempt for line in lines] == [1, 2]
    assert made.part(2, "east").header.arrays_digest == lines[1].answer_digest


def test_a_round_that_was_opened_is_not_asked_again_after_a_crash(made, monkeypatch):
    """Killed after the look was opened and before its checkpoint: the answers are all there."""
    real = coordinate_module.opened_statistics

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(coordinate_module, "opened_statistics", die)
    with pytest.raises(KeyboardInterrupt):
        made.coordinate()
    monkeypatch.setattr(coordinate_module, "opened_statistics", real)
    before = {site: made.part(1, site).signature for site in SITES}
    link = made.coordinate()
    assert made.run.done()
    assert {request.round for _, request in link.requests} == {0, 2, 3, 4, 5}
    assert {site: made.part(1, site).signature for site in SITES} == before


def test_a_run_that_died_before_its_evaluation_looks_who_is_there(made):
    away = set()

    def stop(site, request):
        if request.query == "evaluate":
            away.update(SITES)
        return site in away

    with pytest.raises((QuorumError, IncompleteError)):
        made.coordinate(stop)
    made.run.update_state(attempts=None)  # as if it died before it wrote down whom to ask
    made.coordinate()
    assert made.run.done() and made.opened(5).query == "evaluate"


def test_a_kept_part_that_was_changed_stops_the_run_and_says_what_to_do(made):
    with pytest.raises((QuorumError, IncompleteError)):
        made.coordinate(lambda site, request: request.round >= 2 or request.query == "finish")
    path = part_path(made.run.path / PARTS, 1, "north")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IncompleteError, match="delete this folder"):
        KeptAnswers(made.run.path, made.plan).parts(1, made.opened(1).request_digest)


@pytest.mark.parametrize("made", [("mixture", "per-site")], indirect=True)
def test_in_local_trust_a_site_that_is_not_there_is_not_on_the_roster(made):
    link = made.coordinate(lambda site, request: site == "west" and request.query != "finish")
    rest = SITES[:3]
    asked = [request for _, request in link.requests if request.round]
    assert {request.roster for request in asked} == {rest}
    opened = made.opened(1)
    assert opened.roster == opened.sites == rest
    assert opened.sums[0].std == pytest.approx(
        made.plan.rounds[0].params["noise_multiplier"]
        * made.plan.rounds[0].params["l2_norm"]
        * spread_of(made.plan, 3)
    )


@pytest.mark.parametrize("made", [("mixture", "per-site")], indirect=True)
def test_in_local_trust_a_site_that_falls_silent_is_on_the_roster_and_not_in_the_sum(made):
    made.coordinate(lambda site, request: site == "west" and request.round == 2)
    opened = made.opened(2)
    assert opened.roster == SITES and opened.sites == SITES[:3]
    assert set(opened.own) == set(SITES[:3])


@pytest.mark.parametrize("made", [("mixture", "per-site")], indirect=True)
def test_in_local_trust_whoever_was_asked_must_send_its_ledger(made):
    """West is on the rosters and answers nothing: a release without its ledger proves nothing."""
    away = {"west"}

    def silent(site, request):
        return site in away and (request.round > 0 or request.query == "finish")

    with pytest.raises(IncompleteError, match="west"):
        made.coordinate(silent)
    assert not made.run.done()
    away.clear()
    made.coordinate(silent)
    assert made.run.done() and made.account("west").answered == ()
    assert made.opened(1).sites == SITES[:3]
