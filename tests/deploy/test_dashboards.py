"""Alert rules and dashboard ask for metrics and labels that there are, in PromQL that parses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from fedloom.monitoring.catalogue import COORDINATOR, SITE, Described

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "fedloom.json").read_text())
GROUPS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
_BY_PROMETHEUS = {"instance", "job", "le"}


def exposed() -> dict[str, Described]:
    """Metrics by the names of their samples."""
    found: dict[str, Described] = {}
    for name, described in {**SITE, **COORDINATOR}.items():
        match described.kind:
            case "counter":
                found[f"{name}_total"] = described
            case "histogram":
                found |= {f"{name}_{end}": described for end in ("bucket", "sum", "count")}
            case _:
                found[name] = described
    return found


EXPOSED = exposed()


def wrong(expression: str) -> list[str]:
    """Returns what an expression names that there is not."""
    promql_parser.parse(expression)
    asked = re.findall(r"\b(?:fedloom_\w+|up)\b(?:\{([^}]*)\})?", expression)
    names = re.findall(r"\b(fedloom_\w+|up)\b", expression)
    found = [name for name in names if name != "up" and name not in EXPOSED]
    labels = {label for name in names if name in EXPOSED for label in EXPOSED[name].labels}
    for selectors in asked:
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors):
            if label not in labels | _BY_PROMETHEUS:
                found.append(label)
    for grouped in re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expression):
        found += [
            label
            for label in re.split(r"\s*,\s*", grouped.strip())
            if label not in labels | _BY_PROMETHEUS
        ]
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_metrics_that_there_are(rule):
    assert wrong(rule["expr"]) == []
    labels = {
        label for name in re.findall(r"fedloom_\w+", rule["expr"]) for label in EXPOSED[name].labels
    }
    text = rule["annotations"]["summary"] + rule["annotations"]["action"]
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels | {"instance"}


def test_a_dashboard_asks_for_metrics_that_there_are():
    assert len(expressions()) > 25
    for expression in expressions():
        assert wrong(expression.replace("$instance", ".*")) == [], expression


@pytest.mark.parametrize(
    "expression",
    [
        "fedloom_site_rows > 1",
        'fedloom_site_refusals_total{column="age"} > 1',
        "fedloom_site_refusals > 1",
        "sum by (record) (fedloom_site_answers_total)",
    ],
)
def test_a_name_that_there_is_not_would_be_caught(expression):
    assert wrong(expression) != []


def test_what_the_dashboard_does_not_show_an_alert_does():
    text = " ".join([*expressions(), *(rule["expr"] for rule in RULES)])
    unseen = {"fedloom_site_info", "fedloom_coordinator_info", "fedloom_coordinator_ready"}
    unseen |= {"fedloom_site_delta", "fedloom_site_epsilon_reserved", "fedloom_coordinator_runs"}
    for name in {**SITE, **COORDINATOR}.keys() - unseen:
        assert name in text, name


def test_the_dashboard_has_what_grafana_needs_of_each_panel():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) and DASHBOARD["schemaVersion"] >= 36
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [t["refId"] for t in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])
        assert {"defaults", "overrides"} <= set(panel["fieldConfig"])
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) <= variables


def test_every_rule_has_a_unit_test_in_which_it_fires():
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fired = {
        one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
)
def test_promtool_accepts_the_rules_and_their_unit_tests_pass(words):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, which Prometheus brings")
    done = subprocess.run([promtool, *words], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
