from __future__ import annotations

import os
import sys
import time

import pytest

from fedloom.deployment.process_tree import adopted_orphans
from fedloom.deployment.processes import Processes

# A child that starts a grandchild in a session of its own, and says both ids.
_FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""
_OBEDIENT = "import time; time.sleep(60)"
_DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


def started(processes, tmp_path, name, grandchild):
    command = [sys.executable, "-c", _FAMILY, grandchild]
    processes.start(name, command, env=os.environ, cwd=tmp_path)
    end = time.monotonic() + 10
    while len(words := processes.log(name).read_text().split()) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.2)  # the grandchild sets its handler
    return [int(word) for word in words]


def exists(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("grandchild", [_OBEDIENT, _DEAF])
def test_a_family_is_ended_whole_also_across_sessions_and_leaves_no_zombie(tmp_path, grandchild):
    processes = Processes(tmp_path / "logs")
    with adopted_orphans():
        family = started(processes, tmp_path, "one", grandchild)
        assert processes.ids() == {"one": family[0]}
        assert all(exists(pid) for pid in family)
        processes.stop((["one"], 0.5))
    assert not any(exists(pid) for pid in family)
    assert processes.exit_code("one") is not None


def test_a_process_that_ended_by_itself_keeps_its_exit_code_and_last_words(tmp_path):
    processes = Processes(tmp_path / "logs")
    program = "print('first'); print('second'); raise SystemExit(4)"
    processes.start("one", [sys.executable, "-c", program], env=os.environ, cwd=tmp_path)
    while processes.exit_code("one") is None:
        time.sleep(0.02)
    assert processes.exit_code("one") == 4
    assert processes.last_words("one", lines=1) == "second"
    processes.stop((["one", "unknown"], 1.0))
