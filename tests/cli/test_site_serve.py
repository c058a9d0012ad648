from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedloom.client.home import Home
from fedloom.client.link import connect
from fedloom.common.messages import Answer
from fedloom.privacy.ledger import Ledger

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys; from fedloom.cli.site_serve import serve\n"
    "from fedloom.common.errors import FedloomError\n"
    "try: serve(standalone_mode=False)\n"
    "except FedloomError as error: print(error); sys.exit(error.exit_code)"
)


@pytest.fixture
def home(tmp_path) -> Path:
    made = Home.create(tmp_path / "home")
    Ledger.create(
        made.path,
        private_key=made.private_key(),
        site="dayton",
        epsilon_limit=1.0,
        delta_limit=1e-5,
        rehearsal=True,
        insecure_noise=False,
    ).close()
    return made.path


def serving(home: Path, socket: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "--home", str(home), "--socket", str(socket)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_serve_answers_refuses_a_second_vault_and_ends_on_sigterm(home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("v")
    folder.chmod(0o700)
    first = serving(home, folder / "1.sock")
    try:
        assert first.stderr is not None
        assert first.stderr.readline().endswith(" info opened site=dayton\n")
        address = first.stderr.readline().partition(" serving address=")[2].strip()
        answer = Answer.unpack(connect(address, timeout_s=10).handle(b"nonsense"))
        assert (answer.site, answer.header.status) == ("dayton", "malformed")
        second = serving(home, folder / "2.sock")
        said = "".join(second.communicate(timeout=60))
        assert (second.returncode, "2.sock" in said) == (3, False)
    finally:
        first.send_signal(signal.SIGTERM)
        _, said = first.communicate(timeout=30)
    assert first.returncode == 0 and said.endswith(" info closed\n")
    with Ledger.open(home, Home(home).private_key()):
        pass
