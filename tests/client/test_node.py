from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.cli.build import build_fab_from_disk
from flwr.supercore.fab import Fab
from flwr.supercore.run import Run
from flwr.supernode import start_client_internal

from fedloom.client.node import NodeOptions, check_flower, guarded
from fedloom.common.errors import ConfigError
from fedloom.common.resources import resource_path

BUNDLE = resource_path("deploy/bundle")
KEY = Ed25519PrivateKey.generate()
TRUSTED = {
    "fpk_fedloom": KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
}


def built(folder: Path) -> Fab:
    content = build_fab_from_disk(folder)
    return Fab(hashlib.sha256(content).hexdigest(), content, {"valid_license": "yes"})


def described(fab: Fab, **changes: object) -> Run:
    run = replace(
        Run.create_empty(5), fab_id="fedloom/fedloom", fab_version="1.0.0", fab_hash=fab.hash_str
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def through_the_gate(run: Run, fab: Fab, *, ask_run: bool = True) -> tuple[Run | None, Fab]:
    def receive(): ...
    def send(): ...
    def get_run(run_id):
        return run

    def get_fab(fab_hash, run_id):
        return fab

    def pull_object(): ...
    def push_object(): ...
    def confirm_message_received(): ...

    @contextmanager
    def connect(*args, **kwargs):
        yield (
            1, receive, send, get_run, get_fab, pull_object, push_object, confirm_message_received
        )  # fmt: skip

    with guarded(connect, KEY, poll_s=3.0)("address") as connection:
        seen = connection[3](5) if ask_run else None
        return seen, connection[4](run.fab_hash, 5)


def is_run_by_flower(fab: Fab) -> bool:
    """Flower's own two conditions, in `_pull_and_store_message`."""
    licensed = bool(fab.verifications.get("valid_license", ""))
    return licensed and start_client_internal._verify_fab(fab, TRUSTED)


def test_flowers_internals_are_those_that_the_launcher_was_written_for():
    check_flower()


def test_another_flower_is_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr("flwr.__version__", "1.43.0")
    with pytest.raises(ConfigError, match=r"flwr>=1\.41,<1\.43"):
        check_flower()


def test_our_bundle_is_run_and_the_runs_settings_do_not_come_through():
    fab = built(BUNDLE)
    run, passed = through_the_gate(described(fab, override_config={"run-dir": "/x"}), fab)
    assert is_run_by_flower(passed)
    assert run is not None and run.override_config == {}


def test_code_from_the_coordinator_is_refused_whatever_it_claims(tmp_path, capsys):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "pyproject.toml").write_bytes((BUNDLE / "pyproject.toml").read_bytes())
    (folder / "sitecustomize.py").write_text("import os")
    fab = built(folder)
    _, refused = through_the_gate(described(fab), fab)
    assert not is_run_by_flower(refused)
    assert "refused run 5" in capsys.readouterr().err
    # Nor does a signature that the coordinator sends along help.
    _, good = through_the_gate(described(built(BUNDLE)), built(BUNDLE))
    forged = replace(fab, verifications=good.verifications)
    assert not is_run_by_flower(forged)
    _, refused = through_the_gate(described(fab), forged)
    assert not is_run_by_flower(refused)


@pytest.mark.parametrize(
    "changes",
    [
        {"fab_id": "../../x/y"},
        {"fab_id": "fedloom/other"},
        {"fab_version": "1.0.1"},
        {"fab_hash": "0" * 64},
        {"primary_task_type": "flwr-agentapp"},
    ],
)
def test_a_run_that_is_described_as_another_is_refused(changes):
    fab = built(BUNDLE)
    _, refused = through_the_gate(described(fab, **changes), fab)
    assert not is_run_by_flower(refused)


def test_a_bundle_whose_run_was_never_described_is_refused():
    fab = built(BUNDLE)
    _, refused = through_the_gate(described(fab), fab, ask_run=False)
    assert not is_run_by_flower(refused)


def test_a_bundle_under_a_false_hash_is_refused():
    fab = replace(built(BUNDLE), hash_str="0" * 64)
    _, refused = through_the_gate(described(fab), fab)
    assert not is_run_by_flower(refused)


def test_a_bundle_that_did_not_pass_the_gate_is_unsigned_and_refused():
    assert not is_run_by_flower(built(BUNDLE))


def test_a_connection_of_another_shape_stops_the_node():
    @contextmanager
    def connect():
        yield (1, lambda: None)

    with (
        pytest.raises(ConfigError, match="not the one known here"),
        guarded(connect, KEY, poll_s=3.0)(),
    ):
        pass


def test_going_without_tls_is_for_this_machine_only(tmp_path):
    options = {"vault": "unix:/v.sock", "flwr_home": tmp_path, "port": 1, "insecure": True}
    NodeOptions(superlink="127.0.0.1:8000", **options)
    with pytest.raises(ConfigError, match="--root-certificates"):
        NodeOptions(superlink="10.0.0.7:8000", **options)


# Flower's node with its own handlers, which gets a signal as if from itself or from outside.
_NODE = """
import os, signal, sys, time
from pathlib import Path
from flwr.common import EventType
from flwr.supernode import start_client_internal as internals
import flwr.supernode.cli.flower_supernode
from fedloom.client.node import NodeOptions, run_node
number = signal.Signals[sys.argv[2]]
def node():
    internals.register_signal_handlers(event_type=EventType.RUN_SUPERNODE_LEAVE, exit_message="x")
    os.kill(os.getpid(), number)
    time.sleep(30)
sys.modules["flwr.supernode.cli.flower_supernode"].flower_supernode = node
try:
    run_node(NodeOptions(superlink="127.0.0.1:1", vault="unix:/v.sock", insecure=True, port=1,
                         flwr_home=Path(sys.argv[1])))
except BaseException as end:
    print(type(end).__name__, end)
"""


@pytest.mark.parametrize(
    "number, said", [("SIGINT", "IncompleteError Flower's node inter"), ("SIGTERM", "SystemExit 0")]
)
def test_a_node_that_is_not_let_in_says_so_and_one_that_is_ended_does_not(tmp_path, number, said):
    words = [sys.executable, "-c", _NODE, str(tmp_path / "flower"), number]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    assert said in done.stdout, done.stderr
