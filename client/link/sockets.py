"""Where a vault's socket lies: a short path in a folder that is its owner's alone.

Whoever may open the socket may ask the vault, within its plan. So the folder has mode 0700 and
belongs to the user who runs the vault; one that is open to others is refused, never mended.
A socket's path ends at 107 bytes, which is why it does not lie in the home.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path

from fedloom.common.errors import ConfigError

__all__ = ["MAX_PATH_BYTES", "default_socket", "is_served", "prepare_socket"]

MAX_PATH_BYTES = 107


def default_socket(home: Path) -> Path:
    """Returns where the vault of `home` serves unless told otherwise; a function of the home.

    The folder is `$XDG_RUNTIME_DIR/fedloom`, or `fedloom-UID` in the temporary folder.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_dir():
        folder = Path(runtime) / "fedloom"
    else:
        folder = Path(tempfile.gettempdir()) / f"fedloom-{os.geteuid()}"
    name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    return folder / f"{name}.sock"


def prepare_socket(path: Path, *, shared: bool = False) -> None:
    """Makes the socket's folder and checks that both are fit to serve on.

    Args:
      path: of the socket.
      shared: the folder's group, that of the node's user, may enter it; such a folder is made by
        whoever sets the two users up.

    Raises:
      ConfigError: the path is relative or too long, or others may enter the folder.
    """
    length = len(os.fsencode(path))
    if not path.is_absolute() or length > MAX_PATH_BYTES:
        raise ConfigError(
            f"a socket's path must be absolute and at most {MAX_PATH_BYTES} bytes; {path} has "
            f"{length}; give a shorter one with --socket, or set XDG_RUNTIME_DIR"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.parent.lstat()
    closed_to = 0o067 if shared else 0o077
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & closed_to
    if not private or status.st_uid != os.geteuid():
        raise ConfigError(
            f"{path.parent}, the folder of the vault's socket, must be a folder of the user who "
            f"runs the vault, with mode 0700; run `chmod 700 {path.parent}` or give another "
            "with --socket"
        )


def is_served(path: Path) -> bool:
    """Whether a process accepts connections at the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True
