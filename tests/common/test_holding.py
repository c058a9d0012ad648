"""The lock of a folder, with real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fedloom.common.errors import ConfigError
from fedloom.common.holding import hold, holder

_HOLD = """
import sys, time
from pathlib import Path
from fedloom.common.holding import hold
with hold(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_told_who_the_first_is(tmp_path):
    with hold(tmp_path / "lock", "end it first"):
        known = holder(tmp_path / "lock")
        assert known is not None and known.pid == os.getpid() and known.host
        with pytest.raises(ConfigError, match=f"process {os.getpid()} on .*: end it first"):
            with hold(tmp_path / "lock", "end it first"):
                pass
    assert holder(tmp_path / "lock") is None
    with hold(tmp_path / "lock", "again"):
        pass


def test_a_killed_holder_holds_no_longer(tmp_path):
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        known = holder(tmp_path / "lock")
        assert known is not None and known.pid == process.pid
        process.kill()
    assert holder(tmp_path / "lock") is None


def test_nobody_holds_what_was_never_there(tmp_path):
    assert holder(tmp_path / "lock") is None
