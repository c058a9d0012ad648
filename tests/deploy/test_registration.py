"""Which nodes the SuperLink lets in: those of the cards as they are now, with a stand-in for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from fedloom.deployment import coordinator_programs
from fedloom.deployment.coordinator_programs import register_institutions
from fedloom.privacy.card import SiteCard
from fedloom.privacy.node_key import node_key_pem
from fedloom.server.provision.coordinator_home import CoordinatorHome
from tests.federation import cli
from tests.stewards import init


@dataclass
class Node:
    """A node as the SuperLink lists it."""

    name: str
    public_key: bytes


@dataclass
class SuperLink:
    """A SuperLink that remembers what it was told."""

    registered: list[Node] = field(default_factory=list)

    def __enter__(self) -> SuperLink:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def healthy(self) -> bool:
        return True

    def nodes(self) -> list[Node]:
        return list(self.registered)

    def unregister(self, node: Node) -> None:
        self.registered.remove(node)

    def register(self, name: str, public_key: bytes) -> None:
        self.registered.append(Node(name, public_key))


@pytest.fixture
def superlink(monkeypatch) -> SuperLink:
    made = SuperLink()
    monkeypatch.setattr(coordinator_programs, "control_of", lambda _: made)
    return made


def test_after_a_change_of_keys_the_old_node_is_struck_off_and_the_new_one_let_in(
    tmp_path, superlink
):
    coordinator, kit = tmp_path / "c", tmp_path / "kit.json"
    assert cli("coordinator", "init", coordinator, "--host", "fed.example.org").code == 0
    homes = {name: init(tmp_path / "homes", name) for name in ("north", "south")}
    cards = {name: tmp_path / f"{name}.json" for name in homes}
    for name, home in homes.items():
        assert cli("site", "card", "--home", home, "--out", cards[name]).code == 0
    to = ("--coordinator", coordinator, "--out", kit)
    assert cli("coordinator", "invite", *cards.values(), *to).code == 0
    opened = CoordinatorHome.open(coordinator)
    assert register_institutions(opened) == ["north", "south"]
    before = {node.name: node.public_key for node in superlink.nodes()}

    rotated = ("--node", "--yes", "--out", cards["north"])
    assert cli("site", "rotate", "--home", homes["north"], *rotated).code == 0
    assert cli("coordinator", "invite", cards["north"], *to).code == 0
    assert register_institutions(opened) == ["north"]
    after = {node.name: node.public_key for node in superlink.nodes()}
    assert after["south"] == before["south"]
    assert after["north"] == node_key_pem(SiteCard.load(cards["north"]).node_key)
    assert before["north"] not in after.values() and len(superlink.registered) == 2
