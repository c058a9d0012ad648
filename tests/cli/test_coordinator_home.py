"""`fedloom coordinator init` and what it makes; service files by their own tools where they are."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from fedloom.deployment.coordinator_programs import coordinator_programs
from fedloom.privacy.certificate import authority_key
from fedloom.server.provision import certificates
from fedloom.server.provision.coordinator_home import CoordinatorHome
from tests.federation import cli


def test_init_makes_a_home_with_an_address_keys_and_service_files(tmp_path):
    home = tmp_path / "c"
    words = ("--host", "fed.example.org", "--port", 443, "--superlink-port", 8001)
    done = cli("coordinator", "init", home, *words, "--json")
    assert done.code == 0 and done.json["address"] == "fed.example.org:443"
    shown = cli("coordinator", "keygen", home / "coordinator.key", "--json").json
    assert shown["key"] == done.json["key"]
    unit = (home / "fedloom-coordinator.service").read_text()
    proxy = (home / "nginx.conf").read_text()
    assert f"coordinator up --coordinator {home}" in unit
    assert "server 127.0.0.1:8001;" in proxy and "fed.example.org" in proxy
    assert not re.search(r"@[A-Z_]+@", unit + proxy)
    assert cli("coordinator", "init", home, *words).code == 2


@pytest.mark.parametrize("host", ["", "a b", "fed.example.org:443", "-x", "a\nb"])
def test_init_refuses_what_is_no_host(tmp_path, host):
    assert cli("coordinator", "init", tmp_path / "c", "--host", host).code == 2
    assert not (tmp_path / "c").exists()


def test_a_path_that_would_mean_something_in_a_service_file_is_refused(tmp_path):
    home = tmp_path / "a;b"
    assert cli("coordinator", "init", home, "--host", "localhost").code == 2
    assert not home.exists()


def test_status_and_down_say_so_when_nothing_is_up(tmp_path):
    home = tmp_path / "c"
    cli("coordinator", "init", home, "--host", "localhost", "--port", 1, "--superlink-port", 2)
    shown = cli("coordinator", "status", "--coordinator", home)
    assert shown.code == 5
    assert cli("coordinator", "down", "--coordinator", home).code == 0
    assert cli("coordinator", "status", "--coordinator", tmp_path).code == 2


def test_a_renewed_certificate_is_another_for_the_same_host(tmp_path):
    home = tmp_path / "c"
    cli("coordinator", "init", home, "--host", "localhost")
    before = (home / "server.crt").read_bytes()
    assert cli("coordinator", "renew", "--coordinator", home).code == 0
    assert (home / "server.crt").read_bytes() != before


def test_the_proxys_configuration_passes_nginx(tmp_path):
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("needs nginx")
    home = tmp_path / "c"
    cli("coordinator", "init", home, "--host", "localhost", "--port", 18843)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}\n"
        f"http {{ include {home}/nginx.conf; access_log off; }}"
    )
    command = [nginx, "-t", "-q", "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_unit_is_hardened(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    home = tmp_path / "c"
    cli("coordinator", "init", home, "--host", "localhost")
    unit = home / "fedloom-coordinator.service"
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    verify = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert "Unknown" not in verify.stderr


@pytest.mark.parametrize(("days", "soon"), [(29, True), (31, False)])
def test_status_warns_30_days_before_the_certificate_ends(tmp_path, monkeypatch, days, soon):
    home = tmp_path / "c"
    assert cli("coordinator", "init", home, "--host", "fed.example.org").code == 0
    monkeypatch.setattr(certificates, "SERVER_DAYS", days)
    assert cli("coordinator", "renew", "--coordinator", home).code == 0
    shown = cli("coordinator", "status", "--coordinator", home, "--json").json["certificates"]
    assert (shown["server"]["soon"], shown["authority"]["soon"]) == (soon, False)
    told = cli("coordinator", "status", "--coordinator", home).out
    assert ("coordinator renew" in told) is soon


def test_a_renewed_authority_keeps_its_key_and_the_coordinator_its_sites(tmp_path):
    home = tmp_path / "c"
    assert cli("coordinator", "init", home, "--host", "fed.example.org").code == 0
    before = (home / "authority.crt").read_bytes()
    assert cli("coordinator", "renew", "--authority", "--coordinator", home).code == 0
    after = (home / "authority.crt").read_bytes()
    assert before != after and authority_key(before) == authority_key(after)


def test_metrics_are_a_program_of_the_coordinator_once_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("fedloom.deployment.coordinator_programs.program", lambda name: name)
    assert cli("coordinator", "init", tmp_path / "fed", "--host", "localhost").code == 0
    home = CoordinatorHome.open(tmp_path / "fed")
    assert "metrics" not in [program.name for program in coordinator_programs(home)]
    with home.settings_path.open("a") as stream:
        stream.write("[monitoring]\nport = 9465\n")
    assert "metrics" in [program.name for program in coordinator_programs(home)]
