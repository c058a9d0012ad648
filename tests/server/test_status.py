from __future__ import annotations

import os
import subprocess
import sys

import pytest
from flwr.app import Context, RecordDict

from fedloom.common.errors import ConfigError, QuorumError
from fedloom.server.app import main, run_coordinator
from fedloom.server.status import (
    RunStatus,
    current_status,
    discard_status,
    hold_run,
    holder_of_run,
    read_status,
    write_status,
)


def raising(error: BaseException):
    def work() -> None:
        raise error

    return work


def test_a_finished_run_says_done(tmp_path):
    seen = []
    run_coordinator(tmp_path, lambda: seen.append(read_status(tmp_path)))
    assert (seen[0].state, seen[0].pid) == ("running", os.getpid())
    status = read_status(tmp_path)
    assert (status.state, status.exit_code) == ("done", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coordinator.lock", "status.json"]


def test_a_second_coordinator_is_kept_out_and_changes_nothing(tmp_path):
    def while_running() -> None:
        assert current_status(tmp_path) == read_status(tmp_path)
        with pytest.raises(ConfigError, match=f"process {os.getpid()} "):
            run_coordinator(tmp_path, lambda: pytest.fail("it must not begin"))
        assert read_status(tmp_path).state == "running"

    run_coordinator(tmp_path, while_running)
    assert current_status(tmp_path).state == "done"


def test_a_coordinator_that_was_killed_is_noticed(tmp_path):
    write_status(tmp_path, RunStatus(state="running", pid=4321))
    status = current_status(tmp_path)
    assert (status.state, status.exit_code) == ("failed", 5) and "4321" in status.message


def test_a_coordinator_that_was_killed_before_its_first_word_is_noticed_until_another_begins(
    tmp_path,
):
    killed = (
        "import os, sys\nfrom pathlib import Path\n"
        "from fedloom.server.status import hold_run\n"
        "with hold_run(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    assert current_status(tmp_path) is None
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    status = current_status(tmp_path)
    assert (status.state, status.exit_code) == ("failed", 5) and status.pid
    discard_status(tmp_path)
    assert current_status(tmp_path) is None
    with hold_run(tmp_path):
        assert current_status(tmp_path) is None
        discard_status(tmp_path)  # who works keeps its name
        assert holder_of_run(tmp_path).pid == os.getpid()
    assert current_status(tmp_path) is None


@pytest.mark.parametrize(
    "error, exit_code, message",
    [
        (QuorumError("two of six; resume"), 5, "two of six; resume"),
        (ConfigError("no plan"), 2, "no plan"),
        (KeyError("x"), 1, "KeyError: 'x'"),
    ],
)
def test_an_error_is_noted_with_its_exit_code_and_goes_on(tmp_path, error, exit_code, message):
    with pytest.raises(type(error)):
        run_coordinator(tmp_path, raising(error))
    status = read_status(tmp_path)
    assert (status.state, status.exit_code, status.message) == ("failed", exit_code, message)


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(1), KeyboardInterrupt()])
def test_a_coordinator_that_was_ended_from_outside_can_be_resumed(tmp_path, error):
    with pytest.raises(type(error)):
        run_coordinator(tmp_path, raising(error))
    status = read_status(tmp_path)
    assert (status.state, status.exit_code) == ("failed", 5) and "resume" in status.message


def test_a_missing_or_damaged_status_is_none(tmp_path):
    assert read_status(tmp_path) is None
    for text in ("{", "[]", '{"state": "unheard-of"}', '{"state": "done", "other": 1}'):
        (tmp_path / "status.json").write_text(text)
        assert read_status(tmp_path) is None


@pytest.mark.parametrize("run_dir", ["", "relative", "/nowhere/at/all"])
def test_the_app_wants_an_existing_folder(run_dir):
    context = Context(1, 1, {}, RecordDict(), {"run-dir": run_dir})
    with pytest.raises(ConfigError, match="run-dir"):
        main(None, context)
