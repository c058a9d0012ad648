"""What runs on a coordinator's machine, and how it is started.

Flower's SuperLink listens on the loopback alone, with TLS, nodes' keys, and a secret for the
process that starts its apps; it sends nothing to anybody and installs nothing. The gateway is
what institutions reach.
"""

from __future__ import annotations

import sys

from fedloom.client.flower_environment import flower_environment, program
from fedloom.common.event_log import chosen_words
from fedloom.deployment.supervisor import Program
from fedloom.privacy.node_key import node_key_pem
from fedloom.server.flower_control import FlowerControl
from fedloom.server.provision.coordinator_home import CoordinatorHome

__all__ = ["control_of", "coordinator_programs", "register_institutions"]


def coordinator_programs(home: CoordinatorHome, *, gateway: bool = True) -> list[Program]:
    """Returns the SuperLink, what starts its apps, the gateway, and what gives metrics out.

    There is no gateway where another proxy is used, and no metrics without [monitoring].
    """
    path = home.path.resolve()
    resolved = CoordinatorHome(path)
    settings = resolved.settings()
    host, _, port = settings.superlink.rpartition(":")
    authority, secret = str(resolved.authority.certificate), str(resolved.secret_path)
    superlink = [
        program("flower-superlink"),
        *("--host", host, "--port", port),
        *("--ssl-ca-certfile", authority),
        *("--ssl-certfile", str(resolved.server_certificate)),
        *("--ssl-keyfile", str(resolved.server_key)),
        "--enable-supernode-auth",
        *("--database", str(resolved.database)),
        *("--isolation", "process", "--superexec-auth-secret-file", secret),
        "--disable-runtime-dependency-installation",
    ]
    superexec = [
        program("flower-superexec"),
        *("--runtime-api-address", settings.superlink),
        *("--root-certificates", authority),
        *("--superexec-auth-secret-file", secret),
    ]
    fedloom = [sys.executable, "-m", "fedloom", *chosen_words(), "coordinator"]
    door = [*fedloom, "gateway", "--coordinator", str(path)]
    commands = {"superlink": superlink, "superexec": superexec, "gateway": door}
    if not gateway:
        del commands["gateway"]
    if settings.monitoring.wanted:
        commands["metrics"] = [*fedloom, "metrics", "--coordinator", str(path)]
    environment = flower_environment(resolved.flower)
    return [
        Program(name=name, command=command, environment=environment, folder=resolved.flower)
        for name, command in commands.items()
    ]


def control_of(home: CoordinatorHome) -> FlowerControl:
    """Returns a client for the home's SuperLink."""
    return FlowerControl(home.settings().superlink, home.authority.certificate)


def register_institutions(home: CoordinatorHome) -> list[str]:
    """Lets the nodes of all invited sites take part, and no other; returns who was added.

    A node whose site has a new key, or is invited no longer, is struck off.
    """
    wanted = {card.name: node_key_pem(card.node_key) for card in home.cards()}
    with control_of(home) as control:
        if not control.healthy():
            return []
        there = control.nodes()
        for node in there:
            if wanted.get(node.name) != node.public_key:
                control.unregister(node)
        known = {node.name for node in there if wanted.get(node.name) == node.public_key}
        added = sorted(set(wanted) - known)
        for name in added:
            control.register(name, wanted[name])
    return added
