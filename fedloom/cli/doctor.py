"""`fedloom doctor`: whether this machine has what fedloom needs, and what to do if not.

Each check returns a `Finding`. A failed one has a remedy; a warning does not fail the command.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path

import click

from fedloom import __version__
from fedloom.cli.options import json_option
from fedloom.cli.output import print_json

__all__ = ["Finding", "doctor", "examine"]

CORE = (
    "click", "cryptography", "dp-accounting", "jinja2", "msgspec", "numpy", "openpyxl", "pandas",
    "pg8000", "pillow", "prometheus-client", "pyarrow", "rfc8785", "rich", "safetensors", "scipy",
    "sqlalchemy", "tzdata",
)  # fmt: skip
TRAIN = (
    "flwr", "grpcio", "httpx", "opacus", "protobuf", "starlette", "tensorboard", "torch",
    "uvicorn",
)  # fmt: skip
FLOWER_PROGRAMS = ("flwr", "flower-superlink", "flower-supernode")
MIN_FREE_BYTES = 200 * 2**20
GOOD_FREE_BYTES = 2 * 2**30
MAX_CLOCK_AHEAD_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check: `status` is ok, warning or failed."""

    check: str
    status: str
    detail: str
    remedy: str = ""


@click.command()
@click.option(
    "--home", type=click.Path(path_type=Path), help="A site's home whose permissions to check too."
)
@json_option
@click.pass_context
def doctor(context: click.Context, home: Path | None, as_json: bool) -> None:
    """Say whether this machine has what fedloom needs: exit code 0, otherwise 2."""
    findings = list(examine(home))
    failed = [finding for finding in findings if finding.status == "failed"]
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            click.echo(f"{finding.status:8} {finding.check:12} {finding.detail}")
            if finding.remedy:
                click.echo(f"{'':21} -> {finding.remedy}")
    context.exit(2 if failed else 0)


def examine(home: Path | None = None) -> Iterator[Finding]:
    """Makes all checks that apply to the extras that are installed."""
    has_train = find_spec("torch") is not None or _version("flwr") is not None
    yield check_python()
    yield check_core()
    yield check_train()
    if has_train:
        yield check_device()
        yield check_flower_programs()
    yield check_example()
    yield check_clock(home)
    yield check_disk(home or Path.cwd())
    yield check_loopback()
    yield check_socket(home)
    if home is not None:
        yield check_home(home)


def check_python() -> Finding:
    """Names the versions of Python and fedloom."""
    version = ".".join(map(str, sys.version_info[:3]))
    return _ok("python", f"Python {version}, fedloom {__version__}")


def check_core() -> Finding:
    """Looks for what every installation needs."""
    missing = [name for name in CORE if _version(name) is None]
    if missing:
        return _failed("packages", f"missing: {', '.join(missing)}", "pip install fedloom")
    return _ok("packages", ", ".join(f"{name} {_version(name)}" for name in CORE))


def check_train() -> Finding:
    """Tells whether the extra [train] is there: all of it, nothing of it, or a part."""
    found = {name: _version(name) for name in TRAIN}
    missing = [name for name, version in found.items() if version is None]
    if found["torch"] is None and found["flwr"] is None:
        return _ok(
            "train",
            "not installed: this installation checks studies, reads ledgers, verifies releases; "
            "pip install 'fedloom[train]' for the rest",
        )
    if missing:
        return _failed(
            "train", f"missing: {', '.join(missing)}", "pip install --upgrade 'fedloom[train]'"
        )
    return _ok("train", ", ".join(f"{name} {version}" for name, version in found.items()))


def check_device() -> Finding:
    """Imports torch and names the device that `auto` takes."""
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return _failed("device", f"torch cannot be loaded: {reason}", "reinstall torch")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return _ok("device", f"torch {torch.__version__}, CUDA: {', '.join(names)}")
    threads = torch.get_num_threads()
    return _ok("device", f"torch {torch.__version__}, CPU, {threads} threads; no CUDA device")


def check_flower_programs() -> Finding:
    """Looks for Flower's programs beside this Python, where a deployment starts them from."""
    folder = Path(sys.executable).parent
    missing = [name for name in FLOWER_PROGRAMS if not (folder / name).exists()]
    if missing:
        return _failed(
            "flower",
            f"not in {folder}: {', '.join(missing)}",
            "pip install --force-reinstall --no-deps 'flwr>=1.41,<1.43'",
        )
    return _ok("flower", f"programs in {folder}")


def check_example() -> Finding:
    """Looks for the files that travel with fedloom."""
    from fedloom.common.resources import resource_path

    missing = []
    for relative in ("examples/rand/study.toml", "deploy/bundle/pyproject.toml"):
        try:
            resource_path(relative)
        except FileNotFoundError:
            missing.append(relative)
    if missing:
        return _failed("files", f"missing: {', '.join(missing)}", "reinstall fedloom")
    return _ok("files", "the demo's example and the Flower bundle are there")


def check_clock(home: Path | None) -> Finding:
    """Holds the clock against files that were written before now."""
    package = Path(str(resources.files("fedloom") / "__init__.py"))
    written = [package] + ([home / "ledger.db"] if home is not None else [])
    newest = max((path.stat().st_mtime for path in written if path.exists()), default=0.0)
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if newest > now + MAX_CLOCK_AHEAD_S:
        return _failed(
            "clock", f"{shown} is earlier than a file already written", "set the machine's clock"
        )
    return _ok("clock", shown)


def check_disk(folder: Path) -> Finding:
    """Measures the room that is left where runs or a home are written."""
    existing = folder.resolve()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    detail = f"{free / 2**30:.1f} GiB free at {existing}"
    if free < MIN_FREE_BYTES:
        return _failed("disk", detail, f"free at least {MIN_FREE_BYTES >> 20} MiB")
    if free < GOOD_FREE_BYTES:
        return Finding(
            check="disk", status="warning", detail=detail, remedy="a large study needs 2 GiB"
        )
    return _ok("disk", detail)


def check_loopback() -> Finding:
    """Opens a connection on the loopback address, as the parts of a deployment do."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return _ok("loopback", "127.0.0.1 can be bound and reached")
    except OSError as error:
        return _failed("loopback", str(error), "allow this user to bind ports on 127.0.0.1")


def check_socket(home: Path | None) -> Finding:
    """Binds a Unix socket where the vault would put its own."""
    from fedloom.client.link.sockets import MAX_PATH_BYTES, default_socket

    planned = default_socket(home or Path.cwd())
    length = len(os.fsencode(planned))
    detail = f"{planned}, {length} of {MAX_PATH_BYTES} bytes"
    remedy = "set XDG_RUNTIME_DIR to a short folder with mode 0700"
    if length > MAX_PATH_BYTES:
        return _failed("socket", detail, remedy)
    folder = planned.parent
    if folder.exists() and folder.stat().st_mode & 0o077:
        return _failed("socket", f"others may enter {folder}", f"chmod 700 {folder}")
    try:
        with (
            tempfile.TemporaryDirectory(dir=folder.parent, prefix="fl-") as trial,
            socket.socket(socket.AF_UNIX) as server,
        ):
            server.bind(str(Path(trial) / "s"))
    except OSError as error:
        return _failed("socket", f"{folder.parent}: {error}", remedy)
    return _ok("socket", detail)


def check_home(home: Path) -> Finding:
    """Checks that a site's home belongs to this user and to nobody else."""
    if not home.is_dir():
        return _failed("home", f"{home} is no folder", f"fedloom site init --home {home}")
    if home.stat().st_uid != os.geteuid():
        return _failed("home", f"{home} belongs to another user", "run as the user who owns it")
    if not os.access(home, os.W_OK | os.X_OK):
        return _failed("home", f"{home} cannot be written", f"chmod 700 {home}")
    inside = [path for path in (home, *sorted(home.iterdir())) if _open_to_others(path)]
    if inside:
        paths = " ".join(map(str, inside))
        return _failed("home", f"open to other users: {paths}", f"chmod go-rwx {paths}")
    return _ok("home", f"{home} is its owner's alone")


def _open_to_others(path: Path) -> bool:
    mode = path.lstat().st_mode
    return not stat.S_ISLNK(mode) and bool(mode & 0o077) and path.suffix not in {".toml"}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _ok(check: str, detail: str) -> Finding:
    return Finding(check=check, status="ok", detail=detail)


def _failed(check: str, detail: str, remedy: str) -> Finding:
    return Finding(check=check, status="failed", detail=detail, remedy=remedy)
