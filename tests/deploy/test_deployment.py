"""The deployment with real Flower processes and toy vaults; see `toy/`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fedloom.common.errors import IncompleteError, QuorumError, VerificationError
from fedloom.common.resources import resource_path
from fedloom.deployment import deploy_run

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.deploy


def of_this_test(folder: Path) -> list[str]:
    """Command lines of processes, zombies too, that carry this test's settings."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if f"FEDLOOM_TOY={folder}/".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def exists(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_three_messages_to_two_sites_end_well_and_leave_nothing_behind(
    make_toy, tmp_path, monkeypatch
):
    scratch = tmp_path / "t"
    scratch.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "userhome"))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    toy = make_toy()
    events: list[dict] = []
    during: list[list[str]] = []

    def on_event(event: dict) -> None:
        events.append(event)
        during.append(of_this_test(tmp_path))

    deploy_run(toy.run_dir, on_event=on_event, site_command=toy.site_command)

    assert [event["sites"] for event in events] == 3 * [["site0", "site1"]]
    # One message each: finding out which node is whose costs none of its own.
    assert all(toy.asked(site) == ["prepare", "train", "train"] for site in toy.sites)
    assert set(toy.processes()) == {
        "superlink", "vault-site0", "vault-site1", "node-site0", "node-site1"
    }  # fmt: skip
    assert len(during[0]) > 5
    assert not any(exists(pid) for pid in toy.processes().values())
    assert of_this_test(tmp_path) == []
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "userhome").exists()
    left = sorted(path.name for path in toy.run_dir.iterdir())
    assert left == ["logs", "run.json", "status.json"]

    # The processes that Flower started for the messages: six, without torch, without records.
    shims = [json.loads(path.read_text()) for path in (tmp_path / "shims").iterdir()]
    assert len(shims) == 6
    for shim in shims:
        assert "fedloom.client.app" in shim["modules"]
        assert not {"torch", "pandas", "opacus"} & set(shim["modules"])
        assert any("trusted" in path or "pyproject.toml" in path for path in shim["opened"])
        assert not [path for path in shim["opened"] if path.startswith(str(tmp_path / "sites"))]


_PROGRAM = """
import sys
from pathlib import Path
from fedloom.deployment import deploy_run
try:
    deploy_run(Path(sys.argv[1]), site_command=sys.argv[2:],
               on_event=lambda event: print(event, flush=True))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_deployment_ends_all_its_processes(make_toy, tmp_path, number):
    toy = make_toy(messages=50)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), environment["PYTHONPATH"]])
    command = [sys.executable, "-c", _PROGRAM, str(toy.run_dir), *toy.site_command]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "asked" in process.stdout.readline()
    while not all(len(toy.asked(site)) >= 2 for site in toy.sites):
        time.sleep(0.01)  # until the second message is under way
    process.send_signal(number)
    time.sleep(0.3)
    process.send_signal(number)  # an impatient second one changes nothing
    assert process.wait(timeout=60) == 130
    process.stdout.close()
    assert not any(exists(pid) for pid in toy.processes().values())
    assert of_this_test(tmp_path) == []
    assert not list(tmp_path.glob("fedloom-*"))


def test_the_coordinators_error_comes_back_with_its_exit_code(make_toy, tmp_path):
    toy = make_toy(messages=1, quorum=3)
    with pytest.raises(Exception, match="only 2 answered; resume") as caught:
        deploy_run(toy.run_dir, site_command=toy.site_command)
    assert caught.value.exit_code == QuorumError.exit_code
    assert of_this_test(tmp_path) == []


def test_a_vault_that_does_not_start_ends_the_deployment_with_its_exit_code(make_toy, tmp_path):
    toy = make_toy()
    (toy.home("site1") / "broken").touch()
    with pytest.raises(VerificationError, match="vault-site1 did not start: .*is damaged"):
        deploy_run(toy.run_dir, site_command=toy.site_command)
    assert of_this_test(tmp_path) == []


def test_code_in_the_bundle_is_refused_at_every_site_and_never_runs(
    make_toy, tmp_path, monkeypatch
):
    toy = make_toy(messages=1, quorum=1, timeout_s=12)
    bundle = tmp_path / "bundle"
    shutil.copytree(resource_path("deploy/bundle"), bundle)
    (bundle / "evil.py").write_text("")
    monkeypatch.setattr("fedloom.deployment.run.resource_path", lambda relative: bundle)
    with pytest.raises(IncompleteError, match="only 0 answered"):
        deploy_run(toy.run_dir, site_command=toy.site_command)
    for site in toy.sites:
        assert toy.asked(site) == []
        log = (toy.run_dir / "logs" / f"node-{site}.log").read_text()
        assert "nothing else; it holds 3 files" in log
        assert "Start `flwr-clientapp` process" not in log
    assert list((tmp_path / "shims").iterdir()) == []
