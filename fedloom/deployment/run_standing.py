"""How a run stands, by institution: online, approved, last answer, round, epsilon.

All of it is made of public numbers and of what the run's folder shows anyway: the rounds that a
site took part in, and their price.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedloom.common.errors import FedloomError
from fedloom.deployment.coordinator_programs import control_of
from fedloom.privacy.node_key import node_key_pem
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.server.run_folder import RunFolder
from fedloom.server.status import current_status, events_file, holder_of_run

__all__ = ["coordinator_of", "online_institutions", "run_standing"]


def coordinator_of(folder: RunFolder) -> CoordinatorHome | None:
    """Returns the coordinator's home that began a run; None for a simulation."""
    path = folder.state().get("coordinator")
    return None if path is None else CoordinatorHome.open(Path(path))


def online_institutions(home: CoordinatorHome) -> set[str] | None:
    """Returns the sites whose nodes are connected; None if the SuperLink does not say."""
    names = {node_key_pem(card.node_key): card.name for card in home.cards()}
    try:
        with control_of(home) as control:
            nodes = control.nodes()
    except FedloomError:
        return None
    return {names[node.public_key] for node in nodes if node.online and node.public_key in names}


def run_standing(folder: RunFolder, online: set[str] | None) -> dict[str, Any]:
    """Returns how a run stands.

    Args:
      folder: the run's.
      online: sites whose nodes are connected; None if that is not known.

    Returns:
      JSON-able: state, message, round, rounds, and for each site `online`, `approved` (it takes
      part in this run; None before it was asked), `last_round` and `epsilon` (None before its
      first answer).
    """
    state, plan, status = folder.state(), folder.plan(), current_status(folder.path)
    held = holder_of_run(folder.path)
    metrics = folder.metrics()
    rounds = {line["round"]: line["sites"] for line in metrics}
    epsilon: dict[str, float] = {}
    for line in metrics:
        epsilon.update(line.get("epsilon", {}))
    sites = []
    for site in plan.sites:
        known = state["sites"].get(site.name, {})
        answered = [number for number, names in rounds.items() if site.name in names]
        sites.append(
            {
                "name": site.name,
                "online": None if online is None else site.name in online,
                "approved": True if "runs" in known else None,
                "last_round": max(answered, default=None),
                "epsilon": epsilon.get(site.name),
            }
        )
    if folder.done():
        now, message = "done", ""
    elif held is not None:
        now, message = "running", ""
    elif status is None:
        now, message = str(state["state"]), ""
    else:
        now, message = status.state, status.message
    return {
        "run": str(folder.path),
        "study": plan.name,
        "plan": plan.digest(),
        "state": now,
        "message": message,
        "coordinator": None if held is None else held.in_words,
        "round": max(rounds, default=0),
        "rounds": len(plan.rounds),
        "epsilon": plan.stated_price.epsilon,
        "delta": plan.delta,
        "last_event": _last_event(folder.path),
        "sites": sites,
    }


def _last_event(run_dir: Path) -> str | None:
    """Returns the name of the coordinator's last event."""
    try:
        lines = events_file(run_dir).read_text("utf-8").splitlines()
        return str(json.loads(lines[-1])["event"]) if lines else None
    except (OSError, ValueError, KeyError):
        return None
