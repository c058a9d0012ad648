"""The Helm chart: linted and rendered by Helm's own library, checked against Kubernetes' schemas.

Needs `pip install -e '.[helm]'` (400 MB); skipped without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

helm = pytest.importorskip("helm_python", reason="needs the extra 'helm'")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs the extra 'helm'")
yaml = pytest.importorskip("yaml")

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm"
SITE = {"site": {"coordinator": {"cidr": "192.0.2.7/32"}}}
VALUES = {
    "site": SITE,
    "site with files": {"site": {**SITE["site"], "recordsClaim": "records"}},
    "site in setup": {**SITE, "setup": True},
    "coordinator": {"role": "coordinator", "coordinator": {"port": 9443}},
    "coordinator in setup": {"role": "coordinator", "setup": True},
}


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    texts = helm.Chart.load(CHART).render(values=values, name="north")
    parts = [
        part
        for name, text in texts.items()
        if name.endswith(".yaml")
        for part in yaml.safe_load_all(text)
    ]
    return [part for part in parts if part]


def pod(parts: list[dict[str, Any]]) -> dict[str, Any]:
    (stateful,) = [part for part in parts if part["kind"] == "StatefulSet"]
    assert stateful["spec"]["replicas"] == 1
    return stateful["spec"]["template"]["spec"]


def test_helm_finds_no_fault_with_the_chart():
    found = helm.lint(CHART, values=SITE, strict=True)
    assert found["total_charts_linted"] == 1 and found["errors"] == []
    assert [each for each in found["messages"] if each["error"] != "icon is recommended"] == []


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("version", ["1.29", "1.33"])
def test_what_it_makes_is_what_kubernetes_takes(values, version):
    parts = rendered(values)
    assert {"StatefulSet", "NetworkPolicy"} <= {part["kind"] for part in parts}
    for part in parts:
        kubernetes_validate.validate(part, version, strict=True)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_container_is_confined(values):
    spec = pod(rendered(values))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        confined = container["securityContext"]
        assert confined["readOnlyRootFilesystem"] and not confined["allowPrivilegeEscalation"]
        assert confined["capabilities"] == {"drop": ["ALL"]}


def test_the_node_sees_neither_home_nor_records():
    spec = pod(rendered(VALUES["site with files"]))
    mounted = {
        each["name"]: {mount["name"] for mount in each["volumeMounts"]}
        for each in spec["containers"]
    }
    assert {"home", "records"} <= mounted["vault"]
    assert not {"home", "records", "vault-tmp"} & mounted["node"]
    assert "secret" not in mounted["vault"]


def test_a_site_reaches_its_coordinator_and_the_name_service_alone():
    (policy,) = [part for part in rendered(SITE) if part["kind"] == "NetworkPolicy"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy["spec"]
    names, gateway = policy["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert gateway["to"] == [{"ipBlock": {"cidr": "192.0.2.7/32"}}]
    assert gateway["ports"] == [{"port": 8443, "protocol": "TCP"}]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"role": "both"},
        {**SITE, "replicas": 2},
        {**SITE, "storage": {"accessMode": "ReadWriteMany"}},
    ],
    ids=["no coordinator", "two roles", "two vaults", "a shared home"],
)
def test_what_would_break_a_site_is_refused(values):
    with pytest.raises(helm.HelmError):
        rendered(values)
