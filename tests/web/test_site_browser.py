"""The steward's page in a real browser, on a desk and on a phone, by keyboard alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedloom.privacy.ledger import read_ledger
from fedloom.web import releases
from tests.web.browser import look
from tests.web.conftest import HOSTILE
from tests.web.visitor import free_port, steward

pytestmark = pytest.mark.browser


@pytest.fixture
def link(home: Path) -> Iterator[str]:
    """Serves the page by the real command, and reads the link from its terminal."""
    words = [sys.executable, "-m", "fedloom", "site", "web", str(home), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.terminate()


def test_a_steward_approves_a_plan_by_the_keyboard(browser, link, home, plan_text):
    browser.go(link)
    look(browser)
    browser.run(f"document.getElementById('plan-text').value = {json.dumps(plan_text)}")
    browser.click("Add the plan")
    look(browser)
    assert HOSTILE in browser.run("document.querySelector('h1').textContent")
    browser.run("document.getElementById('runs').value = 2")
    browser.click("Go on")
    look(browser)
    browser.click("Approve and sign", stays=True)  # the box is not ticked
    assert len(read_ledger(home).entries) == 1
    browser.run("document.querySelector('input[name=read]').focus()")
    browser.press(" ", " ")
    browser.click("Approve and sign")
    browser.await_text("Approved and signed")
    look(browser)
    assert [entry.read().kind for entry in read_ledger(home).entries] == ["genesis", "approve"]
    receipt = browser.run(
        "fetch([...document.links].find(a => a.textContent == 'Download the receipt').href)"
        ".then(r => r.json())"
    )
    assert receipt["kind"] == "fedloom-receipt" and receipt["runs"] == 2
    for tab in ("Studies", "Budget", "Site", "Releases"):
        browser.click(tab)
        look(browser)
    # No script of a name ran, nothing was blocked or missing, nothing came from elsewhere.
    assert browser.run("document.title") != "taken" and browser.complaints() == []
    own = link.split("/enter")[0]
    assert {url for url in browser.requested() if not url.startswith(own)} <= {"data:,"}


def test_a_page_follows_the_home_while_it_is_looked_at(browser, link, home):
    browser.go(link)
    (home / "paused").touch()
    browser.await_text("paused")


@pytest.mark.parametrize("guarded", [True, False])
def test_the_report_of_a_release_runs_no_script(browser, home, monkeypatch, guarded):
    """The second is the twin: without the policy its script would run."""
    folder = home / "releases" / "strange"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text(
        "<title>report</title><p>shown</p><script>document.title = 'taken'</script>"
    )
    if not guarded:
        monkeypatch.setattr(releases, "_SANDBOX", "default-src 'self' 'unsafe-inline'")
    visitor = steward(home, port=free_port())
    with visitor.served():
        browser.go(f"{visitor.origin}{visitor.links[0]}")
        browser.go(f"{visitor.origin}{visitor.door.base}/releases/strange/report")
        assert "shown" in browser.run("document.body.textContent")
        assert (browser.run("document.title") == "taken") is not guarded
