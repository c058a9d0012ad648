"""Makes Flower's processes of a deploy test run a toy coordinator and report on themselves.

Python imports this at every start, because the test puts its folder on PYTHONPATH. Nothing of
the product knows about it: in the ServerApp's process two modules are replaced before the app
is loaded, and a ClientApp's process writes down which modules it imported and which files it
opened.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
import types
from pathlib import Path


def _replace_coordinator() -> None:
    toy = json.loads(Path(os.environ["FEDLOOM_TOY"]).read_text())

    class RunFolder:
        @classmethod
        def open(cls, path):
            return cls()

        def plan(self):
            sites = [types.SimpleNamespace(name=n, key=k) for n, k in toy["keys"].items()]
            return types.SimpleNamespace(sites=sites)

    def coordinate(run_dir, link, *, on_event):
        from fedloom.common.errors import QuorumError
        from fedloom.common.messages import Request

        for number in range(toy["messages"]):
            query = "train" if number else "prepare"
            request = Request(query=query, study="s", plan="p", run="r", round=number).pack()
            start = time.monotonic()
            answers = link.ask(dict.fromkeys(toy["keys"], request), toy["timeout_s"])
            seconds = round(time.monotonic() - start, 2)
            on_event({"event": "asked", "sites": sorted(answers), "seconds": seconds})
            if len(answers) < toy["quorum"]:
                raise QuorumError(f"only {len(answers)} answered; resume")

    for name, members in (
        ("fedloom.server.run_folder", {"RunFolder": RunFolder}),
        ("fedloom.server.coordinate", {"coordinate": coordinate}),
    ):
        module = types.ModuleType(name)
        vars(module).update(members)
        sys.modules[name] = module


def _report_on_the_shim() -> None:
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)

    def write() -> None:
        report = {"modules": sorted(sys.modules), "opened": opened}
        folder = Path(os.environ["FEDLOOM_TOY"]).parent / "shims"
        (folder / f"{os.getpid()}.json").write_text(json.dumps(report))

    atexit.register(write)


if os.environ.get("FEDLOOM_TOY"):
    _program = Path(sys.orig_argv[1]).name if len(sys.orig_argv) > 1 else ""
    if _program == "flwr-serverapp":
        _replace_coordinator()
    elif _program == "flwr-clientapp":
        _report_on_the_shim()
