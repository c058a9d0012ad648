"""A site's Flower node: Flower's SuperNode, which here takes fedloom's bundle and no other.

In stock Flower a site runs whatever code the coordinator submits. This launcher looks at every
bundle when it arrives (`fedloom.client.bundle`) and signs those that pass with a key that it
made for this process; Flower's own verifier then demands that key's signature. So there are two
locks: should a later Flower fetch bundles by another way than the one watched here, they
arrive unsigned, and Flower itself refuses them.

It leans on internals of Flower, which `check_flower` holds against what was read in 1.41 before
anything is started. Signatures or claims that the coordinator sends along are thrown away.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedloom.client.bundle import BundleError, check_bundle, expected_bundle
from fedloom.client.flower_environment import flower_environment
from fedloom.common.errors import ConfigError, IncompleteError
from fedloom.privacy.node_key import load_node_key

__all__ = ["NodeOptions", "check_flower", "guarded", "run_node"]

_KEY_NAME = "fpk_fedloom"
_CONNECTION = (
    "receive",
    "send",
    "get_run",
    "get_fab",
    "pull_object",
    "push_object",
    "confirm_message_received",
)
_LOOK_S = 30.0
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """How a node reaches its coordinator and its vault.

    Attributes:
      superlink: the coordinator's address, HOST:PORT.
      vault: the vault's address; `fedloom site serve` prints it.
      flwr_home: a folder that is this node's alone; installed bundles in it are deleted.
      port: loopback port on which the node talks to the ClientApp processes that it starts.
      root_certificates: certificate of the authority behind the coordinator's.
      private_key: key with which the node proves itself to the coordinator.
      insecure: without TLS; accepted for a coordinator on this machine only.
      poll_s: pause between two looks for messages.
    """

    superlink: str
    vault: str
    flwr_home: Path
    port: int
    root_certificates: Path | None = None
    private_key: Path | None = None
    insecure: bool = False
    poll_s: float = 3.0

    def __post_init__(self) -> None:
        """Refuses to go without TLS to another machine, and a key that Flower cannot use."""
        if self.insecure and self.superlink.rpartition(":")[0] not in _LOOPBACK:
            raise ConfigError(
                f"--insecure is for a SuperLink on this machine, not for {self.superlink}; give "
                "--root-certificates"
            )
        if self.private_key is not None:
            load_node_key(self.private_key)


def run_node(options: NodeOptions) -> None:
    """Runs the node until a signal ends it; never returns normally.

    Raises:
      ConfigError: this Flower is not one that the launcher knows.
      IncompleteError: Flower's node ended by itself, as when the coordinator refuses its key.
    """
    shutil.rmtree(options.flwr_home / "apps", ignore_errors=True)
    options.flwr_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    options.flwr_home.chmod(0o700)
    os.environ.update(flower_environment(options.flwr_home))
    check_flower()

    from flwr.supernode import start_client_internal
    from flwr.supernode.cli.flower_supernode import flower_supernode

    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    trusted = options.flwr_home / "trusted.json"  # JSON is YAML
    trusted.write_text(json.dumps({_KEY_NAME: public}))
    internals = vars(start_client_internal)
    connect = internals["http_request_response"]
    internals["http_request_response"] = guarded(connect, key, poll_s=options.poll_s)
    interrupts: list[int] = []
    internals["register_signal_handlers"] = noted(internals["register_signal_handlers"], interrupts)
    sys.argv = ["flower-supernode", *_arguments(options, trusted)]
    try:
        flower_supernode()
    except SystemExit as end:
        if end.code not in (0, None):
            raise IncompleteError(
                f"Flower's node ended; above it says why. If {options.superlink} refuses its key, "
                "send the coordinator what `fedloom site card` writes; start the node again then"
            ) from None
        if interrupts and not (sys.stdin is not None and sys.stdin.isatty()):
            raise IncompleteError(
                f"Flower's node interrupted itself, as it does when {options.superlink} does not "
                "believe the time that it signed; compare the clocks by `fedloom site preflight`, "
                "set this machine's, by NTP for instance"
            ) from None
        raise


def noted(register: Callable[..., None], interrupts: list[int]) -> Callable[..., None]:
    """Wraps what registers Flower's handlers, so that every SIGINT is noted before it is handled.

    Flower's node sends itself one when it is not let in, and ends with 0 and without a word.
    """

    def registered(*args: Any, **kwargs: Any) -> None:
        register(*args, **kwargs)
        handle = signal.getsignal(signal.SIGINT)

        def note(number: int, frame: FrameType | None) -> None:
            interrupts.append(number)
            if callable(handle):
                handle(number, frame)

        signal.signal(signal.SIGINT, note)

    return registered


def _arguments(options: NodeOptions, trusted: Path) -> list[str]:
    arguments = ["--superlink", options.superlink, "--host", "127.0.0.1"]
    arguments += ["--port", str(options.port), "--trusted-entities", str(trusted)]
    arguments += ["--node-config", f"vault={json.dumps(options.vault)}"]
    if options.insecure:
        arguments.append("--insecure")
    if options.root_certificates is not None:
        arguments += ["--root-certificates", str(options.root_certificates)]
    if options.private_key is not None:
        arguments += ["--auth-supernode-private-key", str(options.private_key)]
    return arguments


def check_flower() -> None:
    """Holds Flower's internals against those that this launcher was written for.

    Raises:
      ConfigError: they differ, so the node does not start.
    """
    import flwr
    from flwr.supercore.fab import Fab
    from flwr.supercore.run import Run
    from flwr.supernode import start_client_internal as internals

    version = tuple(int(part) for part in flwr.__version__.split(".")[:2])
    pull = set(inspect.signature(internals._pull_and_store_message).parameters)
    start = inspect.getsource(internals.start_client_internal)
    unpacked = f"(node_id,{','.join(_CONNECTION)},)=conn"
    expected = (
        (1, 41) <= version < (1, 43)
        and {"get_run", "get_fab", "trusted_entities"} <= pull
        and unpacked in "".join(start.split())
        and "http_request_response(" in inspect.getsource(internals._init_connection)
        and "register_signal_handlers(" in start
        and set(inspect.signature(Fab).parameters) == {"hash_str", "content", "verifications"}
        and {"fab_id", "fab_version", "fab_hash", "override_config", "primary_task_type"}
        <= set(inspect.signature(Run).parameters)
        and list(inspect.signature(internals._verify_fab).parameters) == ["fab", "trusted_entities"]
    )
    if not expected:
        raise ConfigError(
            f"this launcher knows Flower 1.41 and 1.42 and cannot guard {flwr.__version__}; "
            "install flwr>=1.41,<1.43"
        )


def guarded(
    connect: Callable[..., Any], key: Ed25519PrivateKey, *, poll_s: float
) -> Callable[..., Any]:
    """Wraps Flower's connection so that only fedloom's bundle comes through signed.

    Args:
      connect: Flower's `http_request_response`.
      key: signs what passes.
      poll_s: pause between two looks for messages. Flower itself looks every three seconds;
        with a shorter pause the wrapped `receive` looks again before it reports nothing.
    """

    @contextmanager
    def connected(*args: Any, **kwargs: Any) -> Iterator[tuple[Any, ...]]:
        with connect(*args, **kwargs) as connection:
            names = tuple(getattr(part, "__name__", "") for part in connection[1:])
            if names != _CONNECTION:
                raise ConfigError(f"Flower's connection is not the one known here: {names}")
            node_id, receive, send, get_run, get_fab, *rest = connection
            gate = _Gate(get_run, get_fab, key)
            look = receive if poll_s >= 3.0 else _patient(receive, poll_s)
            yield (node_id, look, send, gate.get_run, gate.get_fab, *rest)

    return connected


class _Gate:
    """Stands between the coordinator's claims about a run and Flower's SuperNode."""

    def __init__(
        self,
        get_run: Callable[[int], Any],
        get_fab: Callable[[str, int], Any],
        key: Ed25519PrivateKey,
    ) -> None:
        self._get_run = get_run
        self._get_fab = get_fab
        self._key = key
        self._runs: dict[int, Any] = {}

    def get_run(self, run_id: int) -> Any:
        """Returns the run's description, without its settings: none of them concerns a site."""
        run = self._get_run(run_id)
        self._runs[run_id] = run
        return replace(run, override_config={})

    def get_fab(self, fab_hash: str, run_id: int) -> Any:
        """Returns the run's bundle, signed if it and the run's description are fedloom's."""
        fab = self._get_fab(fab_hash, run_id)
        digest = hashlib.sha256(fab.content).digest()
        try:
            self._check_run(self._runs.pop(run_id, None), digest.hex(), fab.hash_str)
            check_bundle(fab.content)
        except BundleError as error:
            print(f"fedloom: refused run {run_id}: {error}", file=sys.stderr, flush=True)
            return replace(fab, verifications={})
        signed_at = int(time.time())
        signature = self._key.sign(signed_at.to_bytes(8, "big") + digest)
        proof = {"signed_at": signed_at, "signature": base64.urlsafe_b64encode(signature).decode()}
        return replace(
            fab, verifications={"valid_license": "fedloom", _KEY_NAME: json.dumps(proof)}
        )

    def _check_run(self, run: Any, digest: str, claimed: str) -> None:
        project, app = expected_bundle()["project"], expected_bundle()["tool"]["flwr"]["app"]
        fits = (
            run is not None
            and run.fab_id == f"{app['publisher']}/{project['name']}"
            and run.fab_version == project["version"]
            and run.fab_hash == claimed == digest
            and run.primary_task_type in ("", "flwr-serverapp")
        )
        if not fits:
            raise BundleError("the run's description is not that of fedloom's bundle")


def _patient(receive: Callable[[], Any], poll_s: float) -> Callable[[], Any]:
    def look() -> Any:
        end = time.monotonic() + _LOOK_S
        while (message := receive()) is None and time.monotonic() < end:
            time.sleep(poll_s)
        return message

    return look
