"""The coordinator's page in a real browser, on a desk and on a phone."""

from __future__ import annotations

import shutil

import pytest

from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.server.run_folder import RunFolder
from tests.web.browser import look
from tests.web.runs import at_work, begun
from tests.web.visitor import coordinator, free_port

pytestmark = pytest.mark.browser


def test_a_coordinator_watches_a_run_and_stops_it(browser, coordinated, tmp_path):
    home = tmp_path / "fed"
    shutil.copytree(coordinated, home)
    run = begun(coordinated.parent / "run", tmp_path / "second", home)
    CoordinatorHome.open(home).note_run(run)
    (home / "releases").mkdir()
    visitor = coordinator(home, port=free_port())
    with visitor.served(), at_work(run) as worker:
        browser.go(f"{visitor.origin}{visitor.links[0]}")
        for tab in ("Federation", "Releases", "Runs"):
            browser.click(tab)
            look(browser)
        browser.click("</p><script>")  # the newest run, by the name that was to run
        look(browser)
        browser.await_text("1 of 2")
        metrics = RunFolder(run).metrics_path
        metrics.write_text(metrics.read_text() + metrics.read_text().replace(": 1,", ": 2,"))
        browser.await_text("2 of 2")  # without anybody's doing
        browser.click("Stop this run")
        look(browser)
        browser.click("Stop it")
        browser.await_text("The run is stopped")
        look(browser)
        assert worker.wait(10) != 0
    assert browser.run("document.title") != "taken" and browser.complaints() == []
