"""A publisher who has changed keys: which key that a reader knows leads to the one that signed."""

from __future__ import annotations

import pytest

from fedloom.privacy.handover import Handover, save_handovers
from fedloom.privacy.keys import PrivateKey, generate_key, load_private_key, public_key_hex
from fedloom.privacy.release.build import build_release
from tests.tampering import edit, failed, sign_again, verify

DAY = "2026-11-28"


@pytest.fixture
def keys(tmp_path, built) -> tuple[PrivateKey, PrivateKey, PrivateKey]:
    """An earlier key, the one that signed the release, and a later one."""
    before, after = (generate_key(tmp_path / f"{name}.pem") for name in ("before", "after"))
    return before, load_private_key(built.run / "coordinator.key"), after


def chain(*keys: PrivateKey) -> tuple[Handover, ...]:
    pairs = zip(keys[:-1], keys[1:], strict=True)
    return tuple(Handover.signed(old, new, day=DAY) for old, new in pairs)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_key_of_the_chain_serves_to_check_the_signer(built, capsys, keys, place):
    sign_again(built.release, keys[1], chain(*keys))
    assert failed(capsys, built.release, "--key", public_key_hex(keys[place])) == set()


def test_a_key_outside_the_chain_does_not(built, capsys, keys, tmp_path):
    """As without a chain; the twin is the test above."""
    stranger = generate_key(tmp_path / "stranger.pem")
    sign_again(built.release, keys[1], chain(*keys))
    assert failed(capsys, built.release, "--key", public_key_hex(stranger)) == {"signer"}
    sign_again(built.release, keys[1])
    for key in (keys[0], keys[2]):
        assert failed(capsys, built.release, "--key", public_key_hex(key)) == {"signer"}


def test_a_stranger_who_hands_a_known_key_on_to_its_own_is_seen(built, capsys, keys, tmp_path):
    stranger = generate_key(tmp_path / "stranger.pem")
    (true,) = chain(keys[1], stranger)
    (theirs,) = chain(stranger, keys[2])
    forged = Handover(
        old=true.old,
        new=true.new,
        day=DAY,
        signature=theirs.signature,
        countersignature=true.countersignature,
    )
    sign_again(built.release, stranger, (forged,))
    assert failed(capsys, built.release, "--key", built.public_key) == {"manifest"}
    assert verify(built.release) == 4


def test_a_chain_that_leads_elsewhere_is_refused(built, capsys, keys, tmp_path):
    stranger = generate_key(tmp_path / "stranger.pem")
    sign_again(built.release, keys[1], chain(keys[0], stranger))
    assert failed(capsys, built.release) == {"manifest"}


def test_a_later_key_does_not_make_the_release_of_another_coordinator(built, capsys, keys):
    """The plan that the sites approved names who may publish."""
    sign_again(built.release, keys[2], chain(*keys))
    assert "publisher" in failed(capsys, built.release, "--key", public_key_hex(keys[0]))


def test_a_release_of_a_run_from_before_the_change_shows_what_is_known_when_it_is_built(
    built, capsys, keys, tmp_path
):
    path = tmp_path / "coordinator.handovers.json"
    edit(built.run / "run.json", lambda state: state.update(handovers=str(path)))
    for name, handovers, bad in (
        ("unchanged", (), {"signer"}),
        ("of others", chain(keys[0], keys[2]), {"signer"}),
        ("changed", chain(keys[1], keys[2]), set()),
    ):
        save_handovers(path, handovers)
        build_release(built.run, tmp_path / name)
        assert failed(capsys, tmp_path / name, "--key", public_key_hex(keys[2])) == bad, name
