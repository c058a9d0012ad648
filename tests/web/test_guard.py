"""What strangers try at the page, and that each defence is the one that stops them.

Each attack is tried twice: at the page as it is, where it must fail, and at a twin without the
defence, where it must succeed. An attack that fails at the twin too would prove nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedloom.client.home import Home
from fedloom.client.inbox import Inbox
from fedloom.common.errors import ConfigError, DiskFullError
from fedloom.web import guard, pages, releases
from fedloom.web.door import COOKIE, Door
from fedloom.web.serve import check_address
from tests.web.conftest import HOSTILE
from tests.web.visitor import MAX_BODY_BYTES, ORIGIN, Visitor, steward

Attack = Callable[[Visitor, Path, str], bool]
OUTSIDE = "outside the folder of releases"


def paused(home: Path) -> bool:
    return Home.open(home).paused_path.exists()


def rebinding(visitor: Visitor, home: Path, plan: str) -> bool:
    """A foreign name was made to point at this machine; the browser holds the cookie for it."""
    visitor.enter()
    return visitor.get(headers={"host": "evil.example:8620"}).status_code == 200


def foreign_origin(visitor: Visitor, home: Path, plan: str) -> bool:
    """Another site's page sends a form; it has even learned the token."""
    visitor.enter()
    form = {"form_token": visitor.form_token(), "paused": "yes"}
    address = f"{visitor.door.base}/pause"
    visitor.client.post(address, data=form, headers={"origin": "https://evil.example"})
    return paused(home)


def foreign_form(visitor: Visitor, home: Path, plan: str) -> bool:
    """A form without the session's token."""
    visitor.enter()
    address = f"{visitor.door.base}/pause"
    visitor.client.post(address, data={"paused": "yes"}, headers={"origin": ORIGIN})
    return paused(home)


def without_cookie(visitor: Visitor, home: Path, plan: str) -> bool:
    """Another user of the machine, while the steward is in."""
    visitor.enter()
    visitor.client.cookies.clear()
    return "Studies" in visitor.get().text


def used_link(visitor: Visitor, home: Path, plan: str) -> bool:
    """The link was found in a history, after it was used."""
    visitor.enter()
    visitor.client.cookies.clear()
    visitor.enter()
    return visitor.cookie is not None


def large_form(visitor: Visitor, home: Path, plan: str) -> bool:
    """A form that would fill the memory."""
    visitor.enter()
    return visitor.post("inbox", plan="x" * MAX_BODY_BYTES).status_code != 413


def traversal(visitor: Visitor, home: Path, plan: str) -> bool:
    """The name of a release that leads out of their folder."""
    (home / "releases").mkdir()
    (home / "report.html").write_text(OUTSIDE)
    (home / "releases" / "link").symlink_to(home)
    visitor.enter()
    names = ("..", "%2e%2e", "..%2f", "..%2f..%2fnorth", "link", "%2e%2e%2freleases%2flink")
    return any(OUTSIDE in visitor.get(f"releases/{name}/report").text for name in names)


def script_in_a_name(visitor: Visitor, home: Path, plan: str) -> bool:
    """The coordinator named its study so that the page would run it."""
    digest = Inbox(Home.open(home)).add(plan.encode()).digest()
    visitor.enter()
    return any(HOSTILE in visitor.get(path).text for path in ("", f"plan/{digest}"))


class Everything(frozenset[str]):
    def __contains__(self, item: object) -> bool:
        return True


def any_host(patch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    patch.setattr(visitor.guard, "_hosts", Everything())


def no_origin(patch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    patch.setattr(guard, "_check_origin", lambda headers, host: None)


def no_token(patch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    patch.setattr(guard, "_check_token", lambda given, session: None)


def no_cookie(patch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    patch.setattr(visitor.guard, "_session", lambda path, headers: visitor.door._session)


def link_for_ever(patch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    enter = Door.enter

    def again(self: Door, token: str) -> Any:
        session = enter(self, token)
        self._token = token
        return session

    patch.setattr(Door, "enter", again)


def any_size(patch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    patch.setattr(visitor.guard, "_max_body_bytes", 1 << 40)


def joined_path(patch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    patch.setattr(
        releases.ReleasePages,
        "_find",
        lambda self, request: self._folder / request.path_params["name"],
    )


def unescaped(patch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    patch.setattr(pages._environment(), "autoescape", False)
    pages._environment().cache.clear()


ATTACKS: dict[str, tuple[Attack, Callable[[pytest.MonkeyPatch, Visitor], None]]] = {
    "rebinding": (rebinding, any_host),
    "foreign origin": (foreign_origin, no_origin),
    "foreign form": (foreign_form, no_token),
    "without cookie": (without_cookie, no_cookie),
    "used link": (used_link, link_for_ever),
    "large form": (large_form, any_size),
    "traversal": (traversal, joined_path),
    "script in a name": (script_in_a_name, unescaped),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_fails(name, home, plan_text):
    assert not ATTACKS[name][0](steward(home), home, plan_text)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_attack_succeeds_at_a_page_without_the_defence(name, home, plan_text, monkeypatch):
    attack, weaken = ATTACKS[name]
    visitor = steward(home)
    try:
        with monkeypatch.context() as patch:
            weaken(patch, visitor)
            assert attack(visitor, home, plan_text)
    finally:
        pages._environment().cache.clear()


@pytest.mark.parametrize("patience, ends", [(0.05, True), (60.0, False)])
def test_a_form_that_never_ends_is_given_up(home, monkeypatch, patience, ends):
    """The second is the twin: with a time-out that does not come it would wait for ever."""
    monkeypatch.setattr(guard, "_BODY_S", patience)
    visitor = steward(home)
    visitor.enter()
    said: list[Any] = []

    async def never() -> Any:
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        said.append(message)

    headers = {
        "host": "127.0.0.1:8620",
        "origin": ORIGIN,
        "cookie": f"{COOKIE}={visitor.cookie}",
        "content-type": "application/x-www-form-urlencoded",
    }
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{visitor.door.base}/pause",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def tried() -> None:
        async with asyncio.timeout(30.0 if ends else 0.3):
            await visitor.guard(scope, never, send)

    if ends:
        asyncio.run(tried())
        assert said[0]["status"] == 408
    else:
        with pytest.raises(TimeoutError):
            asyncio.run(tried())


def test_a_full_disk_lets_nobody_in(home, monkeypatch):
    visitor = steward(home)

    def full() -> None:
        raise DiskFullError("the disk is full")

    monkeypatch.setattr(visitor.door, "_entering", full)
    assert visitor.enter().status_code == 503 and visitor.cookie is None


def test_a_header_that_came_twice_counts_as_none(home):
    visitor = steward(home)
    visitor.enter()
    twice = [("host", "127.0.0.1:8620"), ("host", "127.0.0.1:8620")]
    assert visitor.client.get(f"{visitor.door.base}/", headers=twice).status_code == 421


def test_every_answer_forbids_foreign_scripts_frames_and_keeping(home):
    visitor = steward(home)
    entered = visitor.client.get(visitor.links[-1], follow_redirects=False)
    answers = [entered, visitor.get(), visitor.get("nothing"), visitor.get("static/live.js")]
    visitor.client.cookies.clear()
    answers.append(visitor.get())
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_cookie_is_hidden_from_scripts_other_sites_and_other_ports(home):
    visitor = steward(home)
    set_cookie = visitor.client.get(visitor.links[-1], follow_redirects=False).headers["set-cookie"]
    assert "HttpOnly" in set_cookie and "SameSite=Strict" in set_cookie
    # Browsers send cookies to every port; only the random path keeps it from other programs.
    assert f"Path={visitor.door.base}/" in set_cookie and len(visitor.door.base) > 12


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(home, method):
    visitor = steward(home)
    visitor.enter()
    assert visitor.client.request(method, f"{visitor.door.base}/pause").status_code == 405


@pytest.mark.parametrize("path", ["pause", "leave", "inbox", "revoke/x", "plan/x/approve"])
def test_looking_changes_nothing(home, path):
    visitor = steward(home)
    visitor.enter()
    before = sorted(p.name for p in home.rglob("*"))
    visitor.get(path)
    assert sorted(p.name for p in home.rglob("*")) == before
    assert visitor.get().status_code == 200


def test_no_page_shows_a_secret(home, plan_text):
    visitor = steward(home)
    visitor.enter()
    digest = Inbox(Home.open(home)).add(plan_text.encode()).digest()
    visitor.post(f"plan/{digest}/approve", runs="1", read="yes")
    paths = ("", "budget", "site", "site/preflight", "releases", "api/standing", f"plan/{digest}")
    shown = "".join(visitor.get(path).text for path in (*paths, f"receipt/{digest}"))
    keys = [line for path in home.glob("*.pem") for line in path.read_text().splitlines()[1:-1]]
    salt = (home / "snapshots" / f"{digest}.salt").read_bytes()
    secrets = [*keys, salt.hex(), visitor.cookie]
    assert len(keys) >= 3 and not any(secret in shown for secret in secrets)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_an_address_of_the_loopback_is_taken(host):
    assert check_address(host, allow_network=False)


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_another_address_takes_a_second_word(host):
    with pytest.raises(ConfigError):
        check_address(host, allow_network=False)
    assert check_address(host, allow_network=True) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "evil.example"])
def test_every_network_at_once_and_names_are_refused(host):
    with pytest.raises(ConfigError):
        check_address(host, allow_network=True)
