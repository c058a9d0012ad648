"""A federation of real servers, by the commands of a real one: its run, and those who attack it.

As root on Linux each party has a network of its own; elsewhere all are on the loopback, and what
needs networks is skipped. The federation is set up once for all tests of this file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fedloom
from fedloom.cli.local_federation import LocalFederation, Records
from fedloom.client.sources import Source
from fedloom.deployment.namespaces import Namespaces
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.node_key import generate_node_key
from fedloom.server.connection_limits import ConnectionLimits
from fedloom.server.flower_control import bundle
from fedloom.server.provision.certificates import Authority, make_authority
from fedloom.server.status import holder_of_run
from tests.deploy.watched import coordinator_tells_of_the_run, site_tells_of_the_run
from tests.federation import make, table

pytestmark = pytest.mark.deploy
SITES = ("north", "south", "west")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """A coordinator and three sites whose servers are up."""
    folder = tmp_path_factory.mktemp("federation")
    made = LocalFederation(folder / "f", SITES, namespaces=Namespaces.available())
    study = make(folder / "study", sites=SITES, trust="secure-sum").study
    records = {}
    for name in SITES:
        data = folder / f"{name}.csv"
        table(100).to_csv(data, index=False)
        records[name] = Records(source=Source(path=data), epsilon=8.0, delta=1e-3)
    made.provision(study, records)
    with made.up():
        yield made


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


# What a curious administrator of an institution can type, with the certificate that it has.
_ASK = """
import http.client, ssl, sys
host, port, authority, method, path = sys.argv[1:]
link = http.client.HTTPSConnection(host, int(port), timeout=10,
                                   context=ssl.create_default_context(cafile=authority))
try:
    link.request(method, path, body=b"", headers={"content-type": "application/protobuf"})
    print(link.getresponse().status)
except OSError as error:
    print(type(error).__name__)
"""


def ask(federation: LocalFederation, party: str | None, address: str, path: str) -> str:
    home = federation.home(party) if party else federation.coordinator
    host, _, port = address.rpartition(":")
    method = "GET" if path == "/health" else "POST"
    words = [host, port, str(home / "authority.crt"), method, path]
    command = [*federation.within(party), sys.executable, "-c", _ASK, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def addresses(federation: LocalFederation) -> tuple[str, str]:
    """Of the gateway, and of the SuperLink's port on the same address."""
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    settings = CoordinatorHome.open(federation.coordinator).settings()
    return settings.address, f"{settings.host}:{settings.superlink_port}"


CONTROL = ("start-run", "list-nodes", "register-node", "list-runs", "stop-run")


def test_the_control_api_is_out_of_an_institutions_reach(federation):
    door, behind = addresses(federation)
    assert ask(federation, "north", door, "/health") == "200"
    for path in (f"/v1/control/{name}" for name in CONTROL):
        assert ask(federation, "north", door, path) == "404"
    assert ask(federation, "north", door, "/v1/runtime/acquire-task") == "404"
    assert ask(federation, None, f"localhost:{behind.rpartition(':')[2]}", "/health") == "200"


@pytest.mark.skipif(not Namespaces.available(), reason="needs root, Linux and ip of iproute2")
def test_the_superlink_itself_does_not_listen_to_institutions(federation):
    _, behind = addresses(federation)
    for address in (behind, f"127.0.0.1:{behind.rpartition(':')[2]}"):
        assert ask(federation, "north", address, "/health") == "ConnectionRefusedError"


# An institution that opens as many connections as it can, and asks without end on some more.
_FLOOD = """
import http.client, socket, ssl, sys, threading, time
host, port, authority = sys.argv[1], int(sys.argv[2]), sys.argv[3]
held = []
for _ in range(400):
    link = socket.create_connection((host, port))
    link.setblocking(False)
    held.append(link)
time.sleep(1.0)
def is_open(link):
    try:
        return link.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
print(sum(map(is_open, held)), flush=True)
for link in held[100:]:
    link.close()
def ask():
    trust = ssl.create_default_context(cafile=authority)
    while True:
        try:
            link = http.client.HTTPSConnection(host, port, timeout=10, context=trust)
            for _ in range(100):
                link.request("POST", "/v1/fleet/pull-messages", body=bytes(1000))
                link.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass
for _ in range(8):
    threading.Thread(target=ask, daemon=True).start()
sys.stdin.read()
"""


@pytest.mark.skipif(not Namespaces.available(), reason="needs root, Linux and ip of iproute2")
def test_a_flood_from_one_institution_shuts_no_other_out(federation):
    door, _ = addresses(federation)
    host, _, port = door.rpartition(":")
    authority = str(federation.home("north") / "authority.crt")
    command = [*federation.within("north"), sys.executable, "-c", _FLOOD, host, port, authority]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as flood:
        try:
            assert flood.stdout is not None
            assert 0 < int(flood.stdout.readline()) <= ConnectionLimits().per_address
            for _ in range(5):
                assert ask(federation, "south", door, "/health") == "200"
        finally:
            flood.kill()


def node_with(federation: LocalFederation, folder: Path, **files: Path) -> Path:
    """Makes a folder from which a node starts as north's does, but with other files."""
    folder.mkdir(mode=0o700)
    for name in ("node.pem", "authority.crt", "kit.json"):
        source = files.get(name.partition(".")[0], federation.home("north") / name)
        (folder / name).write_bytes(source.read_bytes())
        (folder / name).chmod(0o600)
    return folder


def test_a_node_with_an_unregistered_key_is_turned_away(federation, tmp_path):
    generate_node_key(tmp_path / "other.pem")
    home = node_with(federation, tmp_path / "stranger", node=tmp_path / "other.pem")
    socket = ("--vault", "unix:/nowhere.sock")
    done = federation.command("north", "site", "node", "--home", str(home), *socket)
    assert done.returncode == 5
    assert "site card" in done.stderr


def test_a_node_believes_no_server_of_another_authority(federation, tmp_path):
    other = Authority(key=tmp_path / "a.key", certificate=tmp_path / "a.crt")
    make_authority(other, host="localhost")
    home = node_with(federation, tmp_path / "careful", authority=other.certificate)
    assert ask_with(federation, home) == "SSLCertVerificationError"


def ask_with(federation: LocalFederation, home: Path) -> str:
    door, _ = addresses(federation)
    host, _, port = door.rpartition(":")
    words = [host, port, str(home / "authority.crt"), "GET", "/health"]
    command = [*federation.within("north"), sys.executable, "-c", _ASK, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


# Run on the coordinator's own machine, by somebody who may use its loopback.
_SUBMIT = """
import sys
from pathlib import Path
from fedloom.deployment.coordinator_programs import control_of
from fedloom.server import flower_control
from fedloom.server.provision.coordinator_home import CoordinatorHome
flower_control.bundle = lambda: Path(sys.argv[2]).read_bytes()
with control_of(CoordinatorHome.open(Path(sys.argv[1]))) as control:
    print(control.start_run(Path("/nowhere")))
"""


def foreign_bundle(path: Path, mark: Path) -> Path:
    """A bundle with an app of its own, which would leave a mark wherever it is run."""
    import hashlib
    import io
    import zipfile

    project = zipfile.ZipFile(io.BytesIO(bundle())).read("pyproject.toml").decode()
    project = project.replace("fedloom.client.app:app", "evil:client")
    project = project.replace("fedloom.server.app:app", "evil:server")
    code = (
        f"import os; open({str(mark)!r} + str(os.getpid()), 'w').close()\n"
        "from flwr.app import Message, RecordDict\n"
        "from flwr.clientapp import ClientApp\nfrom flwr.serverapp import ServerApp\n"
        "client = ClientApp()\nserver = ServerApp()\n"
        "@server.main()\ndef main(grid, context):\n"
        "    nodes = list(grid.get_node_ids())\n"
        "    out = [Message(RecordDict(), dst_node_id=n, message_type='query.fedloom', ttl=30.0)\n"
        "           for n in nodes]\n"
        "    list(grid.send_and_receive(out, timeout=20))\n"
    )
    files = {"pyproject.toml": project.encode(), "evil.py": code.encode()}
    content = "\n".join(
        f"{name},{hashlib.sha256(data).hexdigest()},{len(data) * 8}" for name, data in files.items()
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in {**files, ".info/CONTENT": content.encode()}.items():
            packed.writestr(zipfile.ZipInfo(name, (2024, 10, 1, 0, 0, 0)), data)
    return path


def test_foreign_code_runs_at_no_site_even_if_the_coordinators_own_machine_submits_it(
    federation, tmp_path
):
    mark = tmp_path / "ran-"
    evil = foreign_bundle(tmp_path / "evil.fab", mark)
    words = [sys.executable, "-c", _SUBMIT, str(federation.coordinator), str(evil)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [*federation.within(None), *words]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    for site in SITES:
        log = federation.home(site) / "logs" / "node.log"
        until(lambda log=log: "fedloom: refused run" in log.read_text("utf-8", "replace"))
    # It ran once: where it was submitted, by whoever may use that machine's loopback.
    until(lambda: bool(list(tmp_path.glob("ran-*"))))
    assert len(list(tmp_path.glob("ran-*"))) == 1


def preflight(federation: LocalFederation, home: Path, *more: str) -> dict[str, str]:
    """Each check's remedy, empty if it passed."""
    done = federation.command("north", "site", "preflight", "--home", str(home), "--json", *more)
    shown = json.loads(done.stdout)
    assert done.returncode in {0, 5}, done.stderr
    return {entry["check"]: entry["remedy"] for entry in shown["checks"]}


def test_preflight_passes_at_a_site_that_is_ready_and_finds_a_key_that_is_not_registered(
    federation, tmp_path
):
    home = federation.home("north")
    found = preflight(federation, home, "--plan", str(federation.plan))
    assert set(found.values()) == {""}, found
    assert {"name", "port", "certificate", "clock", "node key", "peers", "data"} <= set(found)
    key = home / "node.pem"
    kept = key.read_bytes()
    key.unlink()
    generate_node_key(key)
    try:
        assert preflight(federation, home)["node key"]
    finally:
        key.write_bytes(kept)


def test_a_killed_coordinator_is_noticed_and_its_run_ends_in_a_verified_release(federation):
    plan, run = str(federation.plan), str(federation.run)
    at = ("--coordinator", str(federation.coordinator))
    begun = federation.command(None, "coordinate", plan, "--out", run, *at, "--detach")
    assert begun.returncode == 0, begun.stderr
    until(lambda: holder_of_run(federation.run) is not None)
    held = holder_of_run(federation.run)
    assert held is not None
    os.kill(held.pid, signal.SIGKILL)
    until(lambda: holder_of_run(federation.run) is None)
    shown = json.loads(federation.command(None, "watch", run, "--json").stdout)
    assert shown["state"] == "failed" and "resume" in shown["message"]
    assert all(site["online"] for site in shown["sites"])
    assert federation.command(None, "watch", run).returncode == 0

    federation.coordinate()  # with --resume, as the folder is there
    shown = json.loads(federation.command(None, "watch", run, "--json").stdout)
    assert shown["state"] == "done"
    assert {site["last_round"] for site in shown["sites"]} == {2}
    assert {site["approved"] for site in shown["sites"]} == {True}
    listed = json.loads(federation.command(None, "runs", *at, "--json").stdout)
    assert [entry["state"] for entry in listed] == ["done"]
    again = federation.command(None, "coordinate", plan, "--out", run, *at, "--resume")
    assert again.returncode == 0, again.stderr

    release = federation.folder / "release"
    federation.release(release)
    assert fedloom.verify(release).ok
    for site in SITES:
        kinds = [entry.read().kind for entry in read_ledger(federation.home(site)).entries]
        assert kinds.count("commit") == 2 and kinds.count("reserve") == 1


def test_audit_logs_and_metrics_of_all_parties_tell_of_that_run(federation):
    for site in SITES:
        site_tells_of_the_run(federation, site)
    coordinator_tells_of_the_run(federation, SITES)


def is_online(federation: LocalFederation, site: str) -> bool:
    at = ("--coordinator", str(federation.coordinator), "--json")
    done = federation.command(None, "coordinator", "status", *at)
    shown = json.loads(done.stdout)["institutions"] if done.returncode == 0 else []
    return any(one["online"] for one in shown if one["name"] == site)


def test_a_site_with_new_keys_is_let_in_and_its_old_node_is_turned_away(federation, tmp_path):
    home, card = federation.home("west"), tmp_path / "west.card.json"
    at, poll = ("--home", str(home)), ("--poll", "0.5")
    old = node_with(federation, tmp_path / "old", node=home / "node.pem")
    assert federation.command("west", "site", "down", *at).returncode == 0
    done = federation.command("west", "site", "rotate", *at, "--yes", "--out", str(card))
    assert done.returncode == 0, done.stderr
    to = ("--coordinator", str(federation.coordinator), "--out", str(tmp_path / "kit.json"))
    assert federation.command(None, "coordinator", "invite", str(card), *to).returncode == 0
    for site in SITES:
        words = ("--home", str(federation.home(site)), "--yes")
        done = federation.command(site, "site", "join", str(tmp_path / "kit.json"), *words)
        assert done.returncode == 0, done.stderr
    try:
        assert federation.command("west", "site", "up", *at, *poll, "--detach").returncode == 0
        until(lambda: is_online(federation, "west"))
        words = ("--home", str(old), "--vault", "unix:/nowhere.sock")
        assert federation.command("west", "site", "node", *words).returncode == 5
        assert is_online(federation, "west")
    finally:
        federation.command("west", "site", "down", *at)


def test_a_second_federation_that_is_interrupted_takes_everything_down(tmp_path):
    folder = tmp_path / "interrupted"
    study = make(tmp_path / "study", sites=("a", "b")).study
    table(50).to_csv(tmp_path / "x.csv", index=False)
    sites = [word for name in ("a", "b") for word in ("--site", f"{name}={tmp_path / 'x.csv'}")]
    words = [sys.executable, "-m", "fedloom", "rehearse", str(study), *sites, "--out", str(folder)]
    environment = {**os.environ, "FEDLOOM_TEST_MARK": str(tmp_path)}
    environment["PYTHONPATH"] = str(REPOSITORY)
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: (folder / "sites" / "b" / "up.json").exists())
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    until(lambda: marked(tmp_path) == [])
    if Namespaces.available():
        names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        assert f"fedloom-{process.pid}" not in names


def marked(folder: Path) -> list[str]:
    """Command lines of processes that carry this test's mark."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"FEDLOOM_TEST_MARK={folder}".encode() in (
                (entry / "environ").read_bytes()
            ):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
