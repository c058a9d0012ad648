"""What audit logs, metrics and logs of a federation must tell of a run with two rounds."""

from __future__ import annotations

from fedloom.cli.local_federation import LocalFederation
from fedloom.common.audit_entries import Began, Message
from fedloom.common.audit_log import AuditLog

__all__ = ["coordinator_tells_of_the_run", "site_tells_of_the_run"]


def site_tells_of_the_run(federation: LocalFederation, site: str) -> None:
    """Holds what a site noted against the run's two rounds."""
    home = federation.home(site)
    lines = [line.entry for line in AuditLog(home).lines()]
    answers = [e for e in lines if isinstance(e, Message) and e.round and e.outcome == "ok"]
    assert {(e.round, e.stored) for e in answers} >= {(1, False), (2, False)}
    assert sum(not e.stored for e in answers) == 2
    assert all(e.sender is not None for e in answers)
    assert {"serve", "up"} <= {word for e in lines if isinstance(e, Began) for word in e.words}
    shown = federation.command(site, "site", "metrics", "--home", str(home), "--once")
    assert "fedloom_site_rounds_total 2.0" in shown.stdout
    assert federation.command(site, "site", "health", "--home", str(home)).returncode == 0


def coordinator_tells_of_the_run(federation: LocalFederation, sites: tuple[str, ...]) -> None:
    """Holds what the coordinator noted against the run's two rounds."""
    at = ("--coordinator", str(federation.coordinator))
    lines = [line.entry for line in AuditLog(federation.coordinator).lines()]
    answered = {e.site for e in lines if isinstance(e, Message) and e.outcome == "ok"}
    assert answered == set(sites)
    shown = federation.command(None, "coordinator", "metrics", *at, "--once")
    assert "fedloom_coordinator_rounds_total 2.0" in shown.stdout
    for site in sites:
        assert f'fedloom_coordinator_site_online{{site="{site}"}} 1.0' in shown.stdout
    assert federation.command(None, "coordinator", "health", *at).returncode == 0
    events = (federation.coordinator / "logs" / "coordinator.log").read_text().splitlines()
    assert any(" done run=" in line for line in events)
