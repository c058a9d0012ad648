"""`site up`: the places of its two programs, and what the node's user can reach, as root."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedloom.client.link.sockets import default_socket, prepare_socket
from fedloom.common.errors import ConfigError
from fedloom.deployment.site_programs import SitePlaces, places_of, site_programs
from fedloom.privacy.kit import Kit
from tests.federation import cli
from tests.stewards import init

_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that joined a federation, in a folder that every user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="fedloom-up-"))
    folder.chmod(0o755)
    made = init(folder, "north")
    kit, card = folder / "kit.json", folder / "card.json"
    assert cli("coordinator", "init", folder / "c", "--host", "localhost").code == 0
    assert cli("site", "card", "--home", made, "--out", card).code == 0
    done = cli("coordinator", "invite", card, "--coordinator", folder / "c", "--out", kit)
    assert done.code == 0, done.err
    told = ("--yes", "--fingerprint", Kit.load(kit).fingerprint())
    assert cli("site", "join", kit, "--home", made, *told).code == 0
    yield made
    shutil.rmtree(folder)
    shutil.rmtree(f"/run/fedloom-site-{default_socket(made).stem}", ignore_errors=True)


def as_user(user: str, act: Callable[[], object]) -> str:
    """Does something in a child process of that user; returns what went wrong, or nothing."""
    entry = pwd.getpwnam(user)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            act()
            os.write(writer, b"")
        except BaseException as error:
            os.write(writer, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read().decode()
    os.waitpid(child, 0)
    return told


def test_metrics_are_a_program_of_their_own_once_they_are_asked_for(home):
    assert [program.name for program in site_programs(places_of(home))] == ["vault", "node"]
    with (home / "site.toml").open("a") as stream:
        stream.write("\n[monitoring]\nport = 9464\n")
    programs = site_programs(places_of(home))
    assert [program.name for program in programs] == ["vault", "node", "metrics"]
    # It reads ledger and audit log, so it is the vault's user's and not the node's.
    assert programs[2].user == programs[0].user and programs[2].folder == home.resolve()


def test_a_sites_units_are_filled_in_and_metrics_reach_the_loopback_alone(home, tmp_path):
    done = cli("site", "service", "--home", home, "--out", tmp_path, "--node-user", "nobody")
    assert done.code == 0, done.err
    units = {path.name: path.read_text() for path in tmp_path.glob("*.service")}
    assert set(units) == {f"fedloom-{name}.service" for name in ("vault", "node", "metrics")}
    assert not any("@HOME@" in text or "@USER@" in text for text in units.values())
    assert "IPAddressDeny=any\nIPAddressAllow=localhost" in units["fedloom-metrics.service"]
    assert f"InaccessiblePaths={home.resolve()}/snapshots" in units["fedloom-metrics.service"]
    assert "PrivateNetwork=yes" in units["fedloom-vault.service"]


def test_both_programs_run_as_one_user_by_default(home):
    places = places_of(home)
    vault, node = site_programs(places, poll_s=0.3)
    assert places.users is None and places.node_folder == places.home
    assert (vault.name, vault.user, node.name, node.user) == ("vault", None, "node", None)
    assert f"unix:{places.socket}" in node.command and "--shared" not in vault.command


def test_a_home_that_joined_nobody_is_not_started(tmp_path):
    assert cli("site", "up", "--home", init(tmp_path, "alone")).code == 2


def test_its_units_are_hardened_and_name_two_users(home, tmp_path):
    words = ("--home", home, "--out", tmp_path, "--user", "root", "--node-user", "daemon")
    assert cli("site", "service", *words).code == 0
    units = [tmp_path / f"fedloom-{name}.service" for name in ("vault", "node", "metrics")]
    texts = [unit.read_text() for unit in units]
    assert not any(re.search(r"@[A-Z_]+@", text) for text in texts)
    assert "User=root" in texts[0] and "PrivateNetwork=yes" in texts[0]
    assert "User=daemon" in texts[1] and f"InaccessiblePaths={home}" in texts[1]
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    for unit in units:
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit)]
        assert subprocess.run(command, capture_output=True).returncode == 0


def test_status_says_what_does_not_run(home):
    shown = cli("site", "status", "--home", home)
    assert shown.code == 5
    assert cli("site", "down", "--home", home).code == 0


@_root
@pytest.mark.parametrize("user", ["root", "no such user"])
def test_the_nodes_user_must_be_another_one(home, user):
    with pytest.raises(ConfigError):
        places_of(home, user)


@_root
def test_a_home_that_others_can_read_is_not_served_by_two_users(home):
    home.chmod(0o755)
    with pytest.raises(ConfigError):
        places_of(home, "nobody")


@_root
def test_the_nodes_user_cannot_lead_root_elsewhere_by_a_link(home, tmp_path):
    secret, folder = tmp_path / "secret", home.with_name(f"{home.name}.node")
    secret.write_text("of root alone")
    secret.chmod(0o600)
    folder.mkdir()
    (folder / "kit.json").symlink_to(secret)
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, nobody, -1)
    with pytest.raises(ConfigError):
        places_of(home, "nobody")
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError):
        places_of(home, "nobody")
    folder.unlink()
    # Once root has made it, the node's user cannot put a link there.
    made = places_of(home, "nobody")
    shutil.rmtree(made.socket.parent)
    assert as_user("nobody", (folder / "link").touch) == "PermissionError"
    assert as_user("nobody", (folder / "flower" / "own").touch) == ""
    status = secret.stat()
    assert (status.st_uid, secret.read_text()) == (0, "of root alone")


@_root
def test_the_homes_owner_cannot_have_a_file_of_root_copied_for_the_node(home, tmp_path):
    for path in (home, *home.rglob("*")):
        os.chown(path, 1, 1, follow_symlinks=False)
    secret = tmp_path / "secret"
    secret.write_text("of root alone")
    (home / "kit.json").rename(home / "kept.json")
    (home / "kit.json").symlink_to(secret)
    with pytest.raises(ConfigError):
        places_of(home, "nobody")


@pytest.fixture
def places(home: Path) -> Iterator[SitePlaces]:
    made = places_of(home, "nobody")
    yield made
    shutil.rmtree(made.socket.parent)


@_root
def test_the_nodes_user_reads_its_own_files_and_nothing_of_the_home(places):
    for name in ("node.pem", "authority.crt", "kit.json"):
        assert as_user("nobody", (places.node_folder / name).read_bytes) == ""
    secret = ["ledger.db", "key.pem", "exchange.pem", "site.toml", "snapshots", "private.log"]
    for name in secret:
        assert as_user("nobody", (places.home / name).read_bytes) == "PermissionError"
    assert as_user("nobody", lambda: os.listdir(places.home)) == "PermissionError"
    # Nor can it put anything in the socket's folder, such as a vault of its own.
    assert as_user("nobody", (places.socket.parent / "x").touch) == "PermissionError"
    assert as_user("nobody", lambda: os.listdir(places.socket.parent)) == "PermissionError"


@_root
def test_the_nodes_user_and_no_other_may_call_the_vault(places):
    prepare_socket(places.socket, shared=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(places.socket))
        places.socket.chmod(0o660)
        server.listen()

        def call() -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
                caller.connect(str(places.socket))

        assert as_user("nobody", call) == ""
        assert as_user("daemon", call) == "PermissionError"
    with pytest.raises(ConfigError):
        prepare_socket(places.socket)


@_root
def test_programs_of_two_users_get_folders_of_their_own(places):
    vault, node = site_programs(places)
    assert vault.user == (0, 0) and node.user == (pwd.getpwnam("nobody").pw_uid,) * 2
    assert "--shared" in vault.command
    for program, folder in ((vault, places.home), (node, places.node_folder)):
        assert program.environment["HOME"] == str(folder)
        assert program.environment["FLWR_HOME"].startswith(f"{folder}/")
