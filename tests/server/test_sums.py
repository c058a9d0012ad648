"""Sums over sites that fall silent, come back late or ask twice, with real vaults behind."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.client.vault import Vault
from fedloom.common.errors import IncompleteError, QuorumError
from fedloom.common.marginals import OneWayMarginals
from fedloom.common.messages import Answer, Request
from fedloom.common.study import load_study
from fedloom.privacy.ledger import read_ledger
from fedloom.server.coordinate import coordinate
from fedloom.server.run_folder import RunFolder
from fedloom.simulation import prepare
from tests.federation import make, table

SITES = ("east", "north", "south", "west")


class DirectLink:
    """Calls the vaults, unless `silent` says that a site does not answer a request."""

    def __init__(self, vaults, silent=lambda site, request: False):
        self.vaults, self.silent = vaults, silent
        self.requests: list[tuple[str, Request]] = []

    def ask(self, requests, timeout_s, progress=None):
        replies = {}
        for site, data in requests.items():
            request = Request.unpack(data)
            self.requests.append((site, request))
            replies[site] = b"" if self.silent(site, request) else self.vaults[site].handle(data)
        return replies


def prepared_run(tmp_path, model="gradients", more=""):
    federation = make(
        tmp_path / "study", model, sites=SITES, trust="secure-sum", rows=300, more=more
    )
    study, schema = load_study(federation.study)
    tables = {name: federation.data(name) for name in SITES}
    return prepare(study, schema, tables, out=tmp_path / "run", homes={})


@pytest.fixture
def prepared(tmp_path):
    return prepared_run(tmp_path)


@pytest.fixture
def vaults(prepared):
    opened = {name: Vault.open(prepared.path / "sites" / name) for name in SITES}
    yield opened
    for vault in opened.values():
        vault.close()


def commits(folder: RunFolder, site: str) -> int:
    entries = read_ledger(folder.path / "sites" / site).entries
    return [entry.read().kind for entry in entries].count("commit")


def test_all_answer_and_nothing_about_one_site_is_kept(prepared, vaults):
    link = DirectLink(vaults)
    coordinate(prepared.path, link)
    assert prepared.done()
    assert [line["sites"] for line in prepared.metrics()] == [list(SITES)] * 4
    assert prepared.statistics().site_totals == {}
    assert [commits(prepared, site) for site in SITES] == [4] * 4


def test_the_sum_is_that_of_all_records_up_to_the_planned_noise(prepared, vaults):
    """Noise of 4 sites of which 1 may collude: variance 4/3 of the plan's; false alarm 1e-6."""
    coordinate(prepared.path, DirectLink(vaults))
    plan, statistics = prepared.plan(), prepared.statistics()
    encoding, asked = plan.encoding, plan.rounds[0]
    codes = np.concatenate(
        [encoding.encode(table(300 + n, seed=n)).codes for n in range(len(SITES))]
    )
    truth = OneWayMarginals(encoding).sum(encoding.feature_codes(codes), encoding.classes(codes))
    std = asked.params["noise_multiplier"] * asked.params["l2_norm"] * np.sqrt(4 / 3)
    assert statistics.look_std == pytest.approx(std)
    scaled = (statistics.look - truth) / std
    assert np.abs(scaled).max() < 5.5 and 0.5 < scaled.std() < 1.6


def test_a_site_that_stays_away_voids_one_attempt_and_the_rest_go_on(prepared, vaults):
    link = DirectLink(vaults, lambda site, request: site == "north" and request.round == 2)
    events = []
    coordinate(prepared.path, link, on_event=events.append)
    assert prepared.done()
    rest = ["east", "south", "west"]
    assert [line["sites"] for line in prepared.metrics()] == [list(SITES), rest, rest, rest]
    (void,) = [event for event in events if event["event"] == "void"]
    assert (void["round"], void["attempt"], void["sites"]) == (2, 1, rest)
    assert prepared.state()["void"][0]["sites"] == rest
    # The spare round paid for what was answered to the void attempt.
    assert [commits(prepared, site) for site in rest] == [5] * 3
    for site in rest:
        budget = read_ledger(prepared.path / "sites" / site).budget()
        assert budget["epsilon_spent"] == pytest.approx(
            prepared.plan().stated_price.epsilon, rel=1e-6
        )


def test_a_site_that_never_heard_of_a_void_attempt_takes_part_in_the_next(tmp_path):
    """North misses the first attempt, west the second; the third is of those that are there."""
    prepared = prepared_run(tmp_path, more="spare_rounds = 2\n")
    vaults = {name: Vault.open(prepared.path / "sites" / name) for name in SITES}
    away = {1: "north", 2: "west"}
    link = DirectLink(
        vaults, lambda site, request: request.round == 2 and away.get(request.attempt) == site
    )
    coordinate(prepared.path, link)
    for vault in vaults.values():
        vault.close()
    assert prepared.done()
    assert prepared.metrics()[1]["sites"] == ["east", "north", "south"]
    entries = [e.read() for e in read_ledger(prepared.path / "sites" / "north").entries]
    (opened,) = [e.data for e in entries if e.kind == "open" and e.data["round"] == 2]
    assert opened["attempt"] == 3
    assert opened["void"] == [list(SITES), ["east", "south", "west"]]


def test_a_void_attempt_is_asked_again_with_fresh_noise_and_masks(prepared, vaults):
    given = {}

    class Listening(DirectLink):
        def ask(self, requests, timeout_s, progress=None):
            replies = super().ask(requests, timeout_s)
            for site, data in requests.items():
                request = Request.unpack(data)
                if request.round == 2 and replies[site]:
                    answer = Answer.unpack(replies[site])
                    given.setdefault((site, request.attempt), []).append(answer.arrays["sum"])
            return replies

    coordinate(
        prepared.path,
        Listening(vaults, lambda site, request: (site, request.round) == ("north", 2)),
    )
    first, second = given["east", 1], given["east", 2]
    assert len(first) == 2 and np.array_equal(first[0], first[1])  # the same request, stored
    assert not np.array_equal(first[0], second[0])
    # Neither attempt opens with the other's answers.
    mixed = sum(given[site, 1][0].view(np.uint64) for site in ("east", "south"))
    mixed = (mixed + given["west", 2][0].view(np.uint64)).view(np.int64)
    assert np.abs(mixed.astype(float)).mean() > 2.0**60


def test_a_site_that_was_only_late_costs_no_spare_round(prepared, vaults):
    calls = []

    def once(site, request):
        if site == "north" and request.round == 3:
            calls.append(request.attempt)
            return len(calls) == 1
        return False

    coordinate(prepared.path, DirectLink(vaults, once))
    assert calls == [1, 1] and "void" not in prepared.state()
    assert [commits(prepared, site) for site in SITES] == [4] * 4


def test_without_a_spare_round_the_run_stays_incomplete_and_goes_on_when_the_site_is_back(
    prepared, vaults
):
    away = {"north"}
    link = DirectLink(vaults, lambda site, request: site in away and request.round == 1)
    with pytest.raises(IncompleteError, match=r"round 1: .*north: silence.*resume.*at epsilon"):
        coordinate(prepared.path, link)
    assert [commits(prepared, site) for site in SITES] == [1, 0, 1, 1]
    away.clear()
    coordinate(prepared.path, link)
    assert prepared.done()
    assert [commits(prepared, site) for site in SITES] == [4] * 4


def test_too_few_sites_open_nothing(prepared, vaults):
    away = {"north", "west"}
    link = DirectLink(vaults, lambda site, request: site in away)
    with pytest.raises(QuorumError, match="2 of 4 .* needs 3"):
        coordinate(prepared.path, link)
    assert [commits(prepared, site) for site in SITES] == [0] * 4


def test_a_coordinator_that_crashed_asks_the_same_roster_again(prepared, vaults):
    """Also when a site that had been away is back: its roster was written down before."""

    class Crash(Exception):
        pass

    def crashes(site, request):
        if site == "west" and request.round == 2:
            raise Crash
        return site == "north" and request.query == "prepare"

    link = DirectLink(vaults, crashes)
    with pytest.raises(Crash):
        coordinate(prepared.path, link)
    again = DirectLink(vaults)
    coordinate(prepared.path, again)
    assert prepared.done()
    rest = ["east", "south", "west"]
    rosters = {tuple(request.roster) for _, request in again.requests if request.round == 2}
    assert rosters == {tuple(rest)}
    assert [commits(prepared, site) for site in ("east", "south", "west")] == [4] * 3


def test_pairs_go_on_from_the_look_that_was_kept(tmp_path):
    prepared = prepared_run(tmp_path, "mixture")
    vaults = {name: Vault.open(prepared.path / "sites" / name) for name in SITES}
    away = {"south"}
    link = DirectLink(vaults, lambda site, request: site in away and request.round == 2)
    with pytest.raises(IncompleteError, match="round 2"):
        coordinate(prepared.path, link)
    look = prepared.statistics().look
    away.clear()
    again = DirectLink(vaults)
    coordinate(prepared.path, again)
    for vault in vaults.values():
        vault.close()
    assert np.array_equal(prepared.statistics().look, look) and prepared.statistics().has_pairs
    assert {request.round for _, request in again.requests} == {0, 2}
    assert [commits(prepared, site) for site in SITES] == [2] * 4
    assert [line["round"] for line in prepared.metrics()] == [1, 2]
