"""The report as a page: complete, small, and silent towards the network, in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedloom.common.records.table import TABLE
from fedloom.privacy.keys import generate_key, public_key_hex
from fedloom.privacy.release.account import account_of
from fedloom.privacy.release.report.html import render_report
from fedloom.privacy.release.report.table_figures import SHOWN_MARGINALS
from fedloom.privacy.release.statement import make_statement

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
)
OUTSIDE = "http://127.0.0.1:9/picture.png"


@pytest.fixture
def render(fake: Any, site_keys: dict[str, Ed25519PrivateKey]) -> Callable[..., str]:
    """Renders the report of a made-up vae run, with as many more columns as are asked for."""

    def _render(more: int = 0, *, title: str = "Toy", **extract: Any) -> str:
        wide = [
            {"name": f"lab_{k}", "kind": "real", "min": 0, "max": 100, "nullable": True}
            for k in range(more)
        ]
        keys = {name: public_key_hex(key) for name, key in site_keys.items()}
        plan = fake.make_plan(
            keys, kind="vae", training=fake.VAE_TRAINING, columns=fake.COLUMNS + wide
        )
        rng = np.random.default_rng(7)
        frame = fake.make_rows(1500, insecure_seed=7).assign(
            **{column["name"]: rng.uniform(0, 100, 1500) for column in wide}
        )
        accounts = {
            name: account_of(fake.make_extract(key, plan, name, **extract), plan, fake.RUN, name)
            for name, key in site_keys.items()
        }
        return render_report(
            title=title,
            created="2026-01-01T00:00:00Z",
            model="vae",
            statement=make_statement(plan, accounts),
            frame=frame,
            kind=TABLE,
            statistics=fake.make_statistics(plan, frame, insecure_seed=8),
            metrics=[{"round": r, "distance": 1 / r, "epsilon": {"a": r}} for r in range(1, 5)],
        )

    return _render


def test_report_says_the_price_the_warning_and_the_expected_error(render):
    page = render()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "standard errors" in text and "too small on synthetic data" in text
    assert "The coordinator" in text and "Somebody who is in the table of every site" in text
    assert "expected error of a noisy share" in text
    assert "Rehearsal: the budget covers this run alone" in text
    assert "anonym" not in page.lower() and "complian" not in page.lower()


def test_insecure_noise_is_said_at_the_top(render):
    assert "this release protects nobody" in render(insecure=True)
    assert "this release protects nobody" not in render()


def test_report_of_a_wide_table_folds_all_but_the_worst_and_stays_small(render):
    page = render(54)
    assert len(page.encode()) < 10_000_000
    folds = [part.split("</details>")[0] for part in page.split("<details>")[1:]]
    (folded,) = [part for part in folds if "more columns" in part]
    assert folded.count("<figure>") == 60 - SHOWN_MARGINALS
    assert f"{60 - SHOWN_MARGINALS} more columns" in folded


def test_names_from_the_study_cannot_become_markup(render):
    page = render(title='<script>alert("x")</script>')
    assert "<script" not in page and "&lt;script&gt;" in page


def test_page_has_no_way_out_but_plain_text(render):
    page = render()
    assert not re.search(r"""(?:src|href|action|poster|data)\s*=\s*["']""", page)
    assert (
        "url(" not in page
        and "@import" not in page
        and "http" not in page.replace("http-equiv", "")
    )


@pytest.fixture
def secure_page(fake: Any, tmp_path: Path) -> str:
    """The report of persons in a secure sum with a void attempt and units held back."""
    keys = {name: generate_key(tmp_path / f"{name}.pem") for name in fake.MORE_SITES}
    person = {"unit": "person", "id": "<number>", "rows_per_person": 4, "epsilon": 20.0}
    plan = fake.make_secure_plan(
        {name: public_key_hex(key) for name, key in keys.items()}, privacy=person
    )
    twice = {2: {1: "a" * 64, 2: "b" * 64}}
    accounts = {
        name: account_of(fake.make_extract(key, plan, name, attempts=twice), plan, fake.RUN, name)
        for name, key in keys.items()
    }
    frame = fake.make_rows(1500, insecure_seed=7)
    statistics = fake.make_statistics(plan, frame, insecure_seed=8)
    generator = fake.make_generator(statistics)
    record = fake.make_evaluation(plan, generator, frame, insecure_seed=9)
    return render_report(
        title="Toy",
        created="2026-01-01T00:00:00Z",
        model="mixture",
        statement=make_statement(plan, accounts),
        frame=frame,
        kind=TABLE,
        statistics=statistics,
        metrics=[],
        evaluation=record["figures"],
    )


def test_a_secure_sum_s_report_says_whom_epsilon_is_towards(secure_page):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", secure_page))
    for words in (
        "towards the coordinator and 1 site at its side",
        "whoever holds this release and has no part in the study",
        "no number of any one site",
        "&lt;number&gt;",
        "At most 4 rows of each person",
        "On held-back persons",
        "round 2, attempt 1: charged at east, north, south, west",
        "1 + 1 spare",
    ):
        assert words in text, words


@pytest.mark.browser
def test_a_browser_shows_the_report_and_asks_the_network_for_nothing(render, tmp_path):
    browser = _browser()
    page = render(54)
    dom, log, urls = _visit(browser, tmp_path / "report", page)
    assert dom.count("<svg") == page.count("<svg") > 60
    assert "Content Security Policy" not in log, "the page's own style or charts were refused"
    assert urls == []


@pytest.mark.browser
def test_the_policy_stops_what_would_ask_the_network(render, tmp_path):
    """A picture from outside, put into the page: asked for without the policy, not with it."""
    browser = _browser()
    injected = render().replace("<main>", f'<main><img src="{OUTSIDE}">')
    _, log, urls = _visit(browser, tmp_path / "with", injected)
    assert urls == [] and "Content Security Policy" in log
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", injected)
    _, _, urls = _visit(browser, tmp_path / "without", free)
    assert OUTSIDE in urls, "the test itself is blind"


_WRAPPED = """<iframe id="page" width="{width}" height="4000" srcdoc="{page}"></iframe><script>
onload = () => {{
  const root = document.getElementById("page").contentDocument.documentElement;
  const cut = [...root.querySelectorAll("svg, figure, figcaption, section, p, h1, h2, h3, dl")]
    .filter((element) => element.getBoundingClientRect().right > {width});
  document.title = `wide ${{root.scrollWidth}} cut ${{cut.length}}`;
}};
</script>"""


@pytest.mark.browser
@pytest.mark.parametrize(("narrow", "fits"), [(True, True), (False, False)])
def test_nothing_is_cut_on_a_telephone(secure_page, tmp_path, narrow, fits):
    """At 390 pixels; the twin without the narrow page's rules is seen to be too wide."""
    browser = _browser()
    page = secure_page
    if not narrow:
        page = page.replace("min(330px, 100%)", "430px").replace("min(420px, 100%)", "430px")
    wrapped = _WRAPPED.format(width=390, page=html.escape(page))
    dom, _, _ = _visit(browser, tmp_path / "narrow", wrapped)
    found = re.search(r"<title>wide (\d+) cut (\d+)</title>", dom)
    assert found is not None
    assert (int(found[1]) <= 390 and int(found[2]) == 0) is fits


def _browser() -> str:
    for name in BROWSERS:
        found = shutil.which(name)
        if found is not None:
            return found
    pytest.skip(f"no browser found; install one of {', '.join(BROWSERS)}")


def _visit(browser: str, folder: Path, page: str) -> tuple[str, str, list[str]]:
    """Returns the page's DOM, the browser's log, and each outside URL that the page asked for."""
    folder.mkdir()
    (folder / "report.html").write_text(page, encoding="utf-8")
    result = subprocess.run(
        [
            browser,
            *QUIET,
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={folder / 'net.json'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=2000",
            "--dump-dom",
            f"file://{folder / 'report.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    events = json.loads((folder / "net.json").read_text(encoding="utf-8"))["events"]
    requests = [event["params"] for event in events if "initiator" in event.get("params", {})]
    # The browser's own errands (updates, clock) have no page as their initiator.
    urls = [request["url"] for request in requests if request["initiator"] != "not an origin"]
    return result.stdout, result.stderr, [url for url in urls if url.startswith("http")]
