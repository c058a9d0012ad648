"""What a coordinator asks of its own SuperLink: Flower's Control API, as bytes over HTTPS.

Flower's command line does the same in several seconds a call, leaves out the nodes' names, and
ends with 0 where a run failed. The API has no login: it is reached on the loopback alone.
"""

from __future__ import annotations

import hashlib
import io
import ssl
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from fedloom.common.errors import IncompleteError
from fedloom.common.resources import resource_path

__all__ = ["FlowerControl", "Node", "bundle"]

_MEDIA_TYPE = "application/protobuf"
_ANSWER_S = 30.0
_ZIP_DATE = (2024, 10, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A site's node, as the SuperLink knows it."""

    id: int
    name: str
    public_key: bytes
    online: bool


class FlowerControl:
    """Registers nodes, starts and stops runs; use as a context manager.

    Args:
      address: HOST:PORT of the SuperLink.
      authority: certificate of the authority behind the SuperLink's; None for one without TLS.
    """

    def __init__(self, address: str, authority: Path | None) -> None:
        scheme = "http" if authority is None else "https"
        trust: ssl.SSLContext | bool = (
            ssl.create_default_context(cafile=str(authority)) if authority is not None else False
        )
        self._address = address
        self._client = httpx.Client(
            base_url=f"{scheme}://{address}", verify=trust, trust_env=False, timeout=_ANSWER_S
        )

    def __enter__(self) -> FlowerControl:
        """Returns the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes its connections."""
        self._client.close()

    def healthy(self) -> bool:
        """Whether the SuperLink answers."""
        try:
            return self._client.get("/health", timeout=2.0).status_code == 200
        except httpx.HTTPError:
            return False

    def check_certificate(self) -> None:
        """Passes if the SuperLink's certificate holds, or none is shown because it is down.

        Raises:
          IncompleteError: it has ended, or is another host's.
        """
        try:
            self._client.get("/health", timeout=2.0)
        except httpx.HTTPError as error:
            self._check_trusted(error)

    def _check_trusted(self, error: httpx.HTTPError) -> None:
        why = _untrusted(error)
        if why is not None:
            raise IncompleteError(
                f"the certificate of Flower's SuperLink at {self._address} does not hold: {why}; "
                "run `fedloom coordinator renew`, then `fedloom coordinator down` and `fedloom "
                "coordinator up`"
            ) from error

    def nodes(self) -> list[Node]:
        """Returns the nodes that are registered now."""
        from flwr.proto.control_pb2 import ListNodesRequest, ListNodesResponse

        answer = self._ask("list-nodes", ListNodesRequest(), ListNodesResponse)
        return [
            Node(
                id=info.node_id,
                name=info.name,
                public_key=info.public_key,
                online=info.status == "online",
            )
            for info in answer.nodes_info
            if info.status != "unregistered"
        ]

    def register(self, name: str, public_key: bytes) -> None:
        """Lets the node of that key take part.

        Args:
          name: the site's.
          public_key: in PEM form.
        """
        from flwr.proto.control_pb2 import RegisterNodeRequest, RegisterNodeResponse

        request = RegisterNodeRequest(public_key=public_key, name=name)
        self._ask("register-node", request, RegisterNodeResponse)

    def unregister(self, node: Node) -> None:
        """Lets a node take part no longer."""
        from flwr.proto.control_pb2 import UnregisterNodeRequest, UnregisterNodeResponse

        request = UnregisterNodeRequest(node_id=node.id)
        self._ask("unregister-node", request, UnregisterNodeResponse)

    def start_run(self, run_dir: Path) -> int:
        """Has Flower start a coordinator in a run's folder; returns Flower's number for the run."""
        from flwr.proto.control_pb2 import StartRunRequest, StartRunResponse
        from flwr.proto.fab_pb2 import Fab
        from flwr.proto.transport_pb2 import Scalar

        content = bundle()
        request = StartRunRequest(
            fab=Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content),
            override_config={"run-dir": Scalar(string=str(run_dir))},
        )
        answer = self._ask("start-run", request, StartRunResponse)
        if not answer.HasField("run_id"):
            raise IncompleteError(
                "Flower's SuperLink did not take the run; see its log, then resume the run"
            )
        return int(answer.run_id)

    def run_ended(self, run_id: int) -> str:
        """Returns how a run ended, or an empty text while it goes on."""
        from flwr.proto.control_pb2 import ListRunsRequest, ListRunsResponse

        answer = self._ask("list-runs", ListRunsRequest(run_id=run_id), ListRunsResponse)
        for run in answer.run_dict.values():
            if run.status.status == "finished":
                return f"finished:{run.status.sub_status}"
        return ""

    def stop_run(self, run_id: int) -> None:
        """Has Flower end a run; one that has ended stays so."""
        from flwr.proto.control_pb2 import StopRunRequest, StopRunResponse

        self._ask("stop-run", StopRunRequest(run_id=run_id), StopRunResponse)

    def _ask(self, path: str, request: Any, kind: Callable[[], Any]) -> Any:
        """Sends a protobuf message and returns the answer, of the given kind."""
        try:
            reply = self._client.post(
                f"/v1/control/{path}",
                content=request.SerializeToString(deterministic=True),
                headers={"content-type": _MEDIA_TYPE, "accept": _MEDIA_TYPE},
            )
        except httpx.HTTPError as error:
            self._check_trusted(error)
            raise IncompleteError(
                f"Flower's SuperLink at {self._address} gave no answer ({type(error).__name__}); "
                "see `fedloom coordinator status`, start it with `fedloom coordinator up`, and do "
                "the same again"
            ) from error
        if reply.status_code != 200:
            raise IncompleteError(
                f"Flower's SuperLink refused {path} with status {reply.status_code}: "
                f"{reply.text[:300]}; see its log in the coordinator's folder logs/"
            )
        answer = kind()
        answer.ParseFromString(reply.content)
        return answer


def _untrusted(error: BaseException | None) -> str | None:
    """Returns why a certificate does not hold, if that is what stands behind an error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return str(error.verify_message)
        error = error.__cause__ or error.__context__
    return None


def bundle() -> bytes:
    """Returns the bundle that names fedloom's apps, the only one that a site takes.

    The same bytes every time; see `fedloom.client.bundle` for what a site checks.
    """
    project = (resource_path("deploy/bundle") / "pyproject.toml").read_bytes()
    digest = hashlib.sha256(project).hexdigest()
    content = f"pyproject.toml,{digest},{len(project) * 8}".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in (("pyproject.toml", project), (".info/CONTENT", content)):
            packed.writestr(zipfile.ZipInfo(name, _ZIP_DATE), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
