"""What runs on a site's machine: the vault, and the node that Flower reaches.

Where root starts them they run as two users. The vault's is the home's owner. The node's cannot
enter the home: all that it may use lies in a folder of its own (its key, the authority's
certificate, the kit) and the vault's socket. So a hole in Flower, or in a bundle, shows neither
records nor keys nor ledger.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fedloom.client.flower_environment import flower_environment
from fedloom.client.home import Home
from fedloom.client.link.sockets import default_socket, prepare_socket
from fedloom.client.site_config import SiteConfig
from fedloom.common.errors import ConfigError
from fedloom.common.event_log import chosen_words
from fedloom.deployment.own_folder import OwnFolder, open_folder
from fedloom.deployment.supervisor import Program

__all__ = ["SitePlaces", "places_of", "site_programs"]

_VAULT_GRACE_S = 10.0
_NODE_FILES = ("node.pem", "authority.crt", "kit.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlaces:
    """Where a site's programs find each other.

    Attributes:
      home: the home.
      socket: the vault's.
      node_folder: what the node may use; the home itself where both run as one user.
      users: numbers of the vault's user and group and of the node's; None for one user.
    """

    home: Path
    socket: Path
    node_folder: Path
    users: tuple[tuple[int, int], tuple[int, int]] | None = None


def places_of(home: Path, node_user: str | None = None) -> SitePlaces:
    """Returns the places of a home's programs; makes those that two users need.

    Args:
      home: the home; its steward has joined a federation.
      node_user: who runs the node; None for this process's user, who runs the vault too.

    Raises:
      ConfigError: the home has joined no federation, there is no such user, this process is not
        root's, or the user could read the home.
    """
    home = home.resolve()
    if not Home.open(home).kit_path.exists():
        raise ConfigError(
            f"{home} has joined no federation; run `fedloom site join KIT --home {home}` with the "
            "kit that the coordinator sends"
        )
    if node_user is None:
        return SitePlaces(home=home, socket=default_socket(home).absolute(), node_folder=home)
    if os.geteuid() != 0:
        raise ConfigError(
            "only root can start programs as two users; leave --node-user out, or run it as root"
        )
    try:
        entry = pwd.getpwnam(node_user)
    except KeyError:
        raise ConfigError(
            f"there is no user {node_user!r}; make a system user of that name, or give another"
        ) from None
    owner = home.stat()
    if entry.pw_uid in (0, owner.st_uid) or owner.st_mode & 0o077:
        raise ConfigError(
            f"{node_user} could read {home}; choose another user than root and the home's owner, "
            f"and run `chmod 700 {home}`"
        )
    vault, node = (owner.st_uid, owner.st_gid), (entry.pw_uid, entry.pw_gid)
    places = SitePlaces(
        home=home,
        socket=_shared_folder(home, vault, node) / "vault.sock",
        node_folder=home.with_name(f"{home.name}.node"),
        users=(vault, node),
    )
    _fill_node_folder(places, owner.st_uid, node)
    return places


def _shared_folder(home: Path, vault: tuple[int, int], node: tuple[int, int]) -> Path:
    """Makes the socket's folder: the vault's user owns it, the node's group may enter it."""
    runtime = Path("/run") if os.access("/run", os.W_OK) else Path(tempfile.gettempdir())
    folder = runtime / f"fedloom-site-{default_socket(home).stem}"
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = open_folder(folder, (0, vault[0]))
    try:
        # With the bit for the group the socket in it gets the folder's group, the node's.
        os.fchown(descriptor, vault[0], node[1])
        os.fchmod(descriptor, 0o2710)
    finally:
        os.close(descriptor)
    return folder


def _fill_node_folder(places: SitePlaces, vault: int, node: tuple[int, int]) -> None:
    """Copies what the node needs; root keeps the folder, the node owns only what is in it.

    Neither the node's user nor the vault's can make root read or change a file elsewhere: nothing
    is opened through a link, and what is copied must belong to the vault's user.
    """
    home = open_folder(places.home, (vault,))
    try:
        folder = OwnFolder(places.node_folder, mode=0o750, group=node[1])
        for name in _NODE_FILES:
            folder.put(name, _own_file(home, name, vault), node)
        folder.give_folder("flower", node)
    finally:
        os.close(home)


def _own_file(home: int, name: str, owner: int) -> bytes:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=home)
    except OSError as error:
        raise ConfigError(f"the home's {name} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != owner:
            raise ConfigError(f"the home's {name} must be a plain file of the home's owner")
        return stream.read()


def site_programs(places: SitePlaces, *, poll_s: float | None = None) -> list[Program]:
    """Returns the vault, the node and, if `site.toml` has [monitoring], what gives metrics out.

    Args:
      places: where they find each other.
      poll_s: pause between two looks of the node for messages; None for the command's own.
    """
    command = [sys.executable, "-m", "fedloom", *chosen_words(), "site"]
    socket = places.socket
    serve = [*command, "serve", "--home", str(places.home), "--socket", str(socket)]
    node = [*command, "node", "--home", str(places.node_folder), "--vault", f"unix:{socket}"]
    if poll_s is not None:
        node += ["--poll", str(poll_s)]
    vault_user, node_user = places.users or (None, None)
    if places.users is None:
        prepare_socket(socket)
    else:
        serve.append("--shared")
    programs = [
        Program(
            name="vault",
            command=serve,
            environment=_environment(places.home, vault_user),
            folder=places.home,
            grace_s=_VAULT_GRACE_S,
            user=vault_user,
        ),
        Program(
            name="node",
            command=node,
            environment=_environment(places.node_folder, node_user),
            folder=places.node_folder,
            user=node_user,
        ),
    ]
    if SiteConfig.load(places.home / "site.toml").monitoring.wanted:
        programs.append(
            Program(
                name="metrics",
                command=[*command, "metrics", "--home", str(places.home)],
                environment=_environment(places.home, vault_user),
                folder=places.home,
                user=vault_user,
            )
        )
    return programs


def _environment(folder: Path, user: tuple[int, int] | None) -> dict[str, str]:
    environment = flower_environment(folder / "flower")
    if user is not None:  # not that of root, which the user cannot read
        environment |= {"HOME": str(folder), "TMPDIR": tempfile.gettempdir()}
        environment.pop("XDG_RUNTIME_DIR", None)
    return environment
