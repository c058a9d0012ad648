"""The command itself: it prints a link, answers on the loopback, and ends when it is told to."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import httpx
import pytest

from fedloom.common.audit_entries import Began
from fedloom.common.audit_log import AuditLog
from tests.federation import cli


def test_the_command_prints_a_link_that_lets_one_browser_in(home):
    words = [sys.executable, "-m", "fedloom", "site", "web", str(home), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            link = re.search(r"http://127\.0\.0\.1:\d+\S+", process.stdout.readline())[0]
            with httpx.Client(follow_redirects=True) as browser:
                assert "Studies" in browser.get(link).text
            with httpx.Client(follow_redirects=True) as browser:
                assert browser.get(link).status_code == 403
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    # Who came in stands in the home's audit log, between the command's own lines.
    entries = [line.entry for line in AuditLog(home).lines()]
    came = [entry.words[:3] for entry in entries if isinstance(entry, Began)]
    assert came[-2:] == [("site", "web", str(home)), ("site", "web", "enter")]


@pytest.mark.parametrize("words", [["--host", "192.0.2.7"], ["--host", "0.0.0.0"]])
def test_another_address_is_refused(home, words):
    assert cli("site", "web", home, *words).code == 2


def test_a_folder_that_is_no_home_is_refused(tmp_path):
    assert cli("site", "web", tmp_path).code == 2
