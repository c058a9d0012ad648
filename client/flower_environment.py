"""The environment in which Flower's programs run: private, quiet, and with fedloom in reach.

Flower reads these variables when it is imported, so they are set before that.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import fedloom
from fedloom.common.errors import ConfigError

__all__ = ["flower_environment", "free_port", "program"]

_TASK_POLL_S = 0.25
# Flower's own local SuperLink takes this port and whatever run it is sent, whoever sent it.
_SHUNNED_PORTS = {39091}


def flower_environment(flwr_home: Path) -> dict[str, str]:
    """Returns the variables for a Flower program that keeps its files in `flwr_home`.

    Telemetry, the check for updates and the installation of a bundle's dependencies are off;
    the programs that Flower starts by name are those of this installation.
    """
    beside = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    modules = [str(Path(fedloom.__file__).resolve().parent.parent)]
    if os.environ.get("PYTHONPATH"):
        modules.insert(0, os.environ["PYTHONPATH"])
    return {
        **os.environ,
        "FLWR_HOME": str(flwr_home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": str(_TASK_POLL_S),
        "PATH": os.pathsep.join(part for part in beside if part),
        "PYTHONPATH": os.pathsep.join(modules),
        "PYTHONUNBUFFERED": "1",
    }


def program(name: str) -> str:
    """Returns the path of one of Flower's programs in this installation.

    Raises:
      ConfigError: it is not there.
    """
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise ConfigError(
            f"{name} is not in {path.parent}; install fedloom with `pip install 'fedloom[train]'`"
        )
    return str(path)


def free_port() -> int:
    """Returns a TCP port of the loopback that nobody holds at this moment."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _SHUNNED_PORTS:
            return port
