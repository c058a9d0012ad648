"""A real browser, driven through the pipe of its own debugging protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    "--hide-scrollbars",
    "--no-first-run",
    "--no-proxy-server",
)
_PATIENCE_S = 60.0
# The browser reads commands from descriptor 3 and writes answers to 4.
_START = """
import fcntl, os, sys
given = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(given[0], 3)
os.dup2(given[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


# What a page must have for people who do not see it, or use no mouse.
UNLABELLED = """
[...document.querySelectorAll('input:not([type=hidden]), textarea, select')]
  .filter(e => !e.labels.length && !e.getAttribute('aria-label')).map(e => e.outerHTML)
"""
UNNAMED = """
[...document.querySelectorAll('a, button, svg, progress')]
  .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label'))).map(e => e.outerHTML)
"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
LANDMARKS = "document.querySelectorAll('main, nav[aria-label], h1, html[lang]').length"


def find() -> str | None:
    """Returns the browser of this machine, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Browser:
    """One page of a browser; use it as a context manager."""

    def __init__(self, program: str, profile: Path) -> None:
        reads, commands = os.pipe()
        answers, writes = os.pipe()
        words = [program, *QUIET, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(reads), str(writes), *words, "about:blank"],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        self._commands, self._answers = commands, answers
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []
        targets = self._ask("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self._ask("Target.attachToTarget", targetId=page, flatten=True)
        self._session: str | None = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._commands)
        os.close(self._answers)

    def ask(self, method: str, **values: Any) -> Any:
        """Sends a command to the page and returns its result."""
        return self._ask(method, session=self._session, **values)

    def go(self, url: str) -> None:
        """Opens a page and waits until it is there."""
        self._leave(lambda: self.ask("Page.navigate", url=url))

    def _leave(self, act: Callable[[], object]) -> None:
        """Does what opens another page, and waits until that is there."""
        self.run("window.before = true")
        act()
        end = time.monotonic() + _PATIENCE_S
        # The first blank page of the browser is itself one that comes in its time.
        there = (
            "window.before !== true && document.readyState === 'complete' "
            "&& location.href !== 'about:blank'"
        )
        while not self.run(there):
            assert time.monotonic() < end, "no other page was opened"
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """Evaluates an expression in the page."""
        try:
            found = self.ask(
                "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
            )
        except RuntimeError:  # the page went away under it
            return None
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def await_text(self, text: str) -> None:
        """Waits until the page shows a text."""
        end = time.monotonic() + _PATIENCE_S
        while text not in (self.run("document.body?.innerText") or ""):
            assert time.monotonic() < end, f"the page never showed {text!r}"
            time.sleep(0.1)

    def click(self, text: str, *, stays: bool = False) -> None:
        """Follows the link or presses the button that begins with a text, by the keyboard.

        Args:
          text: of the link or button.
          stays: no other page is opened by it.
        """
        focused = self.run(
            "(() => { for (const e of document.querySelectorAll('a, button, summary'))"
            f" if (e.textContent.trim().startsWith({json.dumps(text)}))"
            " { e.focus(); return document.activeElement === e; } return false; })()"
        )
        assert focused, f"nothing to press begins with {text!r}"
        if stays:
            self.press("Enter", "\r")
        else:
            self._leave(lambda: self.press("Enter", "\r"))

    def press(self, key: str, text: str = "") -> None:
        """Presses a key."""
        code = {"Enter": 13, " ": 32, "Tab": 9}[key]
        name = "Space" if key == " " else key
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=name,
                windowsVirtualKeyCode=code,
                **({"text": text} if kind == "keyDown" and text else {}),
            )

    def width(self, pixels: int, height: int = 900) -> None:
        """Gives the window a size, a phone's if it is narrow."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=pixels,
            height=height,
            deviceScaleFactor=1,
            mobile=pixels < 500,
        )

    def picture(self, path: Path) -> None:
        """Keeps a picture of the whole page."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """Returns what the browser's console said: blocked by policy, not found, errors."""
        found = []
        for event in self.events:
            if event["method"] == "Log.entryAdded":
                found.append(event["params"]["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                found.append(str(event["params"]))
        return found

    def requested(self) -> list[str]:
        """Returns the addresses of all requests that the pages made."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def _ask(self, method: str, session: str | None = None, **values: Any) -> Any:
        number = next(self._numbers)
        command: dict[str, Any] = {"id": number, "method": method, "params": values}
        if session is not None:
            command["sessionId"] = session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            if "method" in message:
                self.events.append(message)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], _PATIENCE_S)
            assert ready, "the browser does not answer"
            part = os.read(self._answers, 1 << 16)
            assert part, "the browser has ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


def look(browser: Browser) -> None:
    """Holds the page that is shown against what every page must be, at both widths."""
    for width in (390, 1100):
        browser.width(width)
        assert browser.run(OVERFLOW) <= 0, (browser.run("document.title"), width)
    assert browser.run(UNLABELLED) == [] and browser.run(UNNAMED) == []
    assert browser.run(LANDMARKS) == 4
