"""A site's metrics: which there are, what they count, and that no record moves one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fedloom.client.home import Home
from fedloom.client.message_audit import MessageAudit
from fedloom.client.site_config import template
from fedloom.client.vault import Vault
from fedloom.common.audit_log import AuditLog
from fedloom.monitoring import site_metrics
from fedloom.monitoring.catalogue import COORDINATOR, SITE, Families
from fedloom.monitoring.exporter import exposition
from fedloom.monitoring.site_metrics import SiteCollector
from fedloom.privacy.keys import generate_key
from fedloom.privacy.ledger import read_ledger
from fedloom.server.provision.certificates import Authority, make_authority
from tests.federation import (
    approve_at,
    ask,
    cli,
    make_home,
    make_plan,
    request,
    signed,
    table,
)


def serve_run(home: Home, plan, stranger) -> None:
    """One whole run, with a repeated question, a refused one and a stranger's."""
    audit = MessageAudit(AuditLog(home.path))
    with Vault(home, note=audit) as vault:
        assert ask(vault, request(plan)).ok
        assert ask(vault, request(plan, "statistic", 1)).ok
        assert ask(vault, request(plan, "statistic", 1)).header.stored
        ask(vault, request(plan, "statistic", 1, params={}))
        vault.handle(signed(request(plan), stranger))
        assert ask(vault, request(plan, "finish")).ok


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> dict[str, Home]:
    """Homes with one record more and with all other records, each after the same run."""
    folder = tmp_path_factory.mktemp("served")
    stranger = generate_key(folder / "stranger.key")
    homes = {name: make_home(folder / name, name) for name in ("north", "south")}
    plan = make_plan(folder / "study", homes)
    for name in ("north", "south"):
        config = template(name=name, source='path = "r.csv"', epsilon=8.0, delta=1e-3)
        (folder / name / "site.toml").write_text(config)
    make_authority(
        Authority(key=folder / "a.key", certificate=homes["north"].authority_path), host="a"
    )
    # The same home, keys and ledger each time: only the records differ.
    tables = {"given": table(60), "one-more": table(61), "others": table(500, seed=9)}
    found = {}
    for case, frame in tables.items():
        shutil.copytree(folder / "north", folder / case)
        found[case] = Home.open(folder / case)
        approve_at(found[case], plan, frame)
        serve_run(found[case], plan, stranger)
    return found


def values(home: Home) -> dict[str, float]:
    text = exposition(SiteCollector(home)).decode()
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_of_the_catalogue_has_a_reason_and_no_other_can_be_given_out(served):
    seen = {metric.name for metric in SiteCollector(served["given"]).collect()}
    assert seen == set(SITE)
    for name, described in {**SITE, **COORDINATOR}.items():
        assert len(described.why) > 10 and described.help.endswith("."), name
    with pytest.raises(KeyError):
        Families(SITE).add("fedloom_site_rows", 7)
    with pytest.raises(KeyError):
        Families(SITE).add("fedloom_site_paused", 1, column="age")


def test_a_site_has_no_metric_of_how_long_anything_took_nor_of_how_many_records():
    for name, described in SITE.items():
        assert not re.search(r"record|row|person|batch|loss|norm", name), name
        assert "seconds" not in name or name.endswith("_timestamp_seconds"), name
        assert described.kind != "histogram"
        assert not set(described.labels) & {"column", "value", "round", "run"}


@pytest.mark.parametrize("case", ["one-more", "others"])
def test_metrics_of_other_records_and_the_same_run_are_equal(served, case, monkeypatch):
    monkeypatch.setattr(site_metrics, "_HOUR_S", 10**9)  # times differ, not by records
    assert values(served[case]) == values(served["given"])


def test_a_metric_made_of_the_records_would_be_caught(served, monkeypatch):
    """The twin: the size of what is frozen, as an exact number of bytes left would show it."""
    add = Families.add

    def leaking(self, name, value, **labels):
        if name == "fedloom_site_disk_free_bytes":
            value = sum(p.stat().st_size for p in HOME[0].snapshots.glob("*"))
        add(self, name, value, **labels)

    monkeypatch.setattr(Families, "add", leaking)
    plan = next(served["given"].approved.glob("*.json")).stem
    found = []
    for case, size in (("given", 100), ("others", 900)):
        HOME[0] = served[case]
        served[case].snapshots.mkdir(exist_ok=True)
        (served[case].snapshots / f"{plan}.npz").write_bytes(b"x" * size)
        found.append(values(served[case]))
        (served[case].snapshots / f"{plan}.npz").unlink()
    assert found[0] != found[1]


HOME: list[Home] = [Home(Path())]


def test_messages_are_counted_as_they_ended(served):
    found = values(served["given"])
    assert found['fedloom_site_answers_total{"query": "statistic"}'] == 1
    assert found['fedloom_site_refusals_total{"code": "outside-plan"}'] == 1
    assert found['fedloom_site_refusals_total{"code": "unsigned"}'] == 1
    assert found["fedloom_site_rounds_total{}"] == 1
    assert found["fedloom_site_open_runs{}"] == 0
    assert found["fedloom_site_vault_up{}"] == 0


def test_counts_go_on_in_another_process_and_as_the_log_grows(served):
    home = served["given"]
    collector = SiteCollector(home)
    first = exposition(collector)
    assert exposition(collector) == first == exposition(SiteCollector(home))
    with Vault(home, note=MessageAudit(AuditLog(home.path))) as vault:
        vault.handle(b"no message")
        (up,) = (m for m in collector.collect() if m.name == "fedloom_site_vault_up")
        assert up.samples[0].value == 1
    assert b'refusals_total{code="malformed"} 1.0' in exposition(collector)


def test_the_budget_is_the_ledgers_own(served):
    home = served["others"]
    found, budget = values(home), read_ledger(home.path).budget()
    for name in ("spent", "reserved", "lifetime"):
        assert found[f"fedloom_site_epsilon_{name}{{}}"] == pytest.approx(
            budget[f"epsilon_{name}"], rel=0.02
        )
        assert found[f"fedloom_site_epsilon_{name}{{}}"] >= budget[f"epsilon_{name}"] - 1e-9
    assert found["fedloom_site_epsilon_left{}"] == pytest.approx(
        max(0.0, 8.0 - budget["epsilon_lifetime"])
    )


def test_a_ledger_that_has_not_grown_is_not_read_again(served, monkeypatch):
    collector = SiteCollector(served["others"])
    first = exposition(collector)
    monkeypatch.setattr(site_metrics, "read_ledger", None)
    assert exposition(collector) == first


def test_an_audit_log_with_a_line_removed_shows(served):
    home = served["one-more"]
    path = AuditLog(home.path).path
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert values(home)["fedloom_site_audit_log_whole{}"] == 0
    path.write_bytes(before)
    assert values(home)["fedloom_site_audit_log_whole{}"] == 1


def test_health_says_why_a_site_is_not_ready(served):
    home = served["given"].path
    assert cli("site", "health", "--home", home).code == 5
    with Vault(Home.open(home)):
        assert cli("site", "health", "--home", home).code == 0
        (home / "paused").touch()
        shown = cli("site", "health", "--home", home, "--json")
        (home / "paused").unlink()
    assert shown.code == 5 and len(shown.json["reasons"]) == 1


def test_metrics_are_printed_once_on_demand_and_need_a_place_otherwise(served):
    home = served["given"].path
    done = cli("site", "metrics", "--home", home, "--once")
    assert done.code == 0 and done.out.count("# TYPE") == len(SITE)
    assert cli("site", "metrics", "--home", home).code == 2
