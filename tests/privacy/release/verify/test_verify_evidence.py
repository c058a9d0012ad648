"""Evidence for a release, through the command line: each site's own signed part of every round."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

import fedloom
from fedloom.cli.main import main
from fedloom.common.errors import ReleaseError
from fedloom.common.messages import Answer
from fedloom.common.vocabulary import Status
from fedloom.privacy.answers.files import EVIDENCE, part_path
from fedloom.privacy.answers.opened import OpenedRound, answer_path
from fedloom.privacy.keys import generate_key, load_private_key, public_key_hex
from tests.made_answers import make_answers, signed
from tests.tampering import failed, sign_again, verify


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory, fake: SimpleNamespace) -> dict[str, Any]:
    """Releases with evidence, built through the command line: of secure sums, and of weights."""
    made = {}
    for kind in ("secure", "weights"):
        folder = tmp_path_factory.mktemp(kind)
        keys = {name: generate_key(folder / f"{name}.pem") for name in fake.MORE_SITES}
        public = {name: public_key_hex(key) for name, key in keys.items()}
        plan = (
            fake.make_secure_plan(public)
            if kind == "secure"
            else fake.make_plan(public, kind="vae", training=fake.VAE_TRAINING)
        )
        run = fake.write_run(folder / "run", plan, keys)
        words = ["release", "build", str(run), "--out", str(folder / "release")]
        assert main([*words, "--evidence", str(folder / "evidence")]) == 0
        made[kind] = SimpleNamespace(folder=folder, keys=keys, plan=plan)
    return made


def _copy(made: SimpleNamespace, folder: Path) -> SimpleNamespace:
    shutil.copytree(made.folder, folder)
    return SimpleNamespace(
        run=folder / "run",
        folder=folder / "release",
        evidence=folder / "evidence",
        coordinator=load_private_key(folder / "run" / "coordinator.key"),
        keys=made.keys,
        plan=made.plan,
    )


@pytest.fixture(params=["secure", "weights"])
def release(request: Any, _made: dict[str, Any], tmp_path: Path) -> SimpleNamespace:
    return _copy(_made[request.param], tmp_path / "copy")


@pytest.fixture
def secure(_made: dict[str, Any], tmp_path: Path) -> SimpleNamespace:
    return _copy(_made["secure"], tmp_path / "copy")


@pytest.fixture
def weights(_made: dict[str, Any], tmp_path: Path) -> SimpleNamespace:
    return _copy(_made["weights"], tmp_path / "copy")


def found(capsys: pytest.CaptureFixture[str], release: SimpleNamespace) -> set[str]:
    return failed(capsys, release.folder, "--evidence", str(release.evidence))


def part_of(release: SimpleNamespace, number: int, site: str) -> Answer:
    return Answer.unpack(part_path(release.evidence, number, site).read_bytes())


def put(release: SimpleNamespace, number: int, site: str, part: Answer) -> None:
    part_path(release.evidence, number, site).write_bytes(part.pack())


def test_honest_evidence_verifies_in_the_release_s_own_words(release, capsys):
    assert found(capsys, release) == set()
    assert verify(release.folder, "--json", "--evidence", str(release.evidence)) == 0
    checks = {c["name"]: c["ok"] for c in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["evidence"] is True
    assert fedloom.verify(release.folder, evidence=release.evidence).ok
    files = {
        path.relative_to(release.evidence).as_posix() for path in release.evidence.rglob("*.*")
    }
    rounds = [asked.round for asked in release.plan.rounds]
    assert files == {EVIDENCE} | {
        part_path(Path(), number, site).as_posix() for number in rounds for site in release.keys
    }


def test_an_exchanged_secure_sum_is_seen(secure, capsys):
    """The publisher changes one count, and everything that follows from it, and signs again."""
    opened = OpenedRound.load(secure.folder / answer_path(2))
    total = opened.total.copy()
    total[0] += 1
    changed = dataclasses.replace(opened, total=total)
    (secure.folder / answer_path(2)).write_bytes(changed.pack())
    sign_again(secure.folder, secure.coordinator)
    assert failed(capsys, secure.folder) == set()  # without evidence nobody can tell
    assert found(capsys, secure) == {"evidence"}


def exchanged(part: Answer, key: Any, change: Callable[[np.ndarray], None]) -> Answer:
    """A part with something else in it that the site itself has signed."""
    arrays = {name: array.copy() for name, array in part.arrays.items()}
    change(next(iter(arrays.values())))
    return signed(key, part.site, str(part.header.request_digest), arrays)


@pytest.mark.parametrize("number", [1, 3])
def test_a_part_that_is_not_in_the_ledger_is_seen(release, capsys, number):
    """Also if two parts are changed so that their sum is as before, and the sites sign them."""

    def up(array: np.ndarray) -> None:
        array[0] += 1

    def down(array: np.ndarray) -> None:
        array[0] -= 1

    for site, change in (("east", up), ("north", down)):
        part = part_of(release, number, site)
        put(release, number, site, exchanged(part, release.keys[site], change))
        assert found(capsys, release) == {"evidence"}


def test_a_part_that_another_key_signed_is_seen(release, capsys, tmp_path):
    part = part_of(release, 1, "east")
    forger = generate_key(tmp_path / "forger.pem")
    put(release, 1, "east", exchanged(part, forger, lambda array: None))
    assert found(capsys, release) == {"evidence"}
    put(release, 1, "east", dataclasses.replace(part, signature=""))
    assert found(capsys, release) == {"evidence"}


def test_a_changed_byte_is_seen(release, capsys):
    path = part_path(release.evidence, 2, "south")
    data = bytearray(path.read_bytes())
    for place in (9, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert found(capsys, release) == {"evidence"}


def test_parts_swapped_between_sites_are_seen(release, capsys):
    """Their sum is the same, and each is signed."""
    east, north = (part_path(release.evidence, 1, site) for site in ("east", "north"))
    swapped = north.read_bytes(), east.read_bytes()
    east.write_bytes(swapped[0])
    north.write_bytes(swapped[1])
    assert found(capsys, release) == {"evidence"}


def test_parts_of_another_round_are_seen(release, capsys):
    first, second = (part_path(release.evidence, number, "-").parent for number in (1, 2))
    shutil.rmtree(first)
    shutil.copytree(second, first)
    assert found(capsys, release) == {"evidence"}


def test_parts_of_another_run_are_seen(release, capsys, fake):
    """The sites answered the same question in another run, and signed that as well."""
    other = make_answers(
        release.plan,
        release.keys,
        fake.make_rows(2000, insecure_seed=1),
        fake.make_rows(500, insecure_seed=4),
        fake.make_generator,
        run="another",
        insecure_seed=2,
    )
    for site in release.keys:
        put(release, 1, site, other.parts[1][site])
    assert found(capsys, release) == {"evidence"}


def test_evidence_that_names_another_run_or_plan_is_seen(release, capsys):
    path = release.evidence / EVIDENCE
    value = json.loads(path.read_text("utf-8"))
    for change in ({"run": "another"}, {"plan": "f" * 64}, {"format": "x"}, {"more": 1}):
        path.write_text(json.dumps({**value, **change}), "utf-8")
        assert found(capsys, release) == {"evidence"}
    path.unlink()
    assert found(capsys, release) == {"evidence"}


def test_a_missing_part_is_seen(secure, capsys):
    for asked in secure.plan.rounds:
        path = part_path(secure.evidence, asked.round, "west")
        data = path.read_bytes()
        path.unlink()
        assert found(capsys, secure) == {"evidence"}
        path.write_bytes(data)
    assert found(capsys, secure) == set()


def test_in_local_trust_weights_that_came_too_late_are_told_and_a_missing_round_is_seen(
    weights, capsys
):
    part_path(weights.evidence, 3, "west").unlink()
    assert found(capsys, weights) == set()
    assert verify(weights.folder, "--evidence", str(weights.evidence)) == 0
    assert "came too late" in capsys.readouterr().out
    shutil.rmtree(part_path(weights.evidence, 3, "-").parent)
    assert found(capsys, weights) == {"evidence"}


def test_a_file_that_is_no_part_is_seen(release, capsys):
    for name in ("round-0001/zurich.safetensors", "round-0009/east.safetensors", "notes.txt"):
        path = release.evidence / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        assert found(capsys, release) == {"evidence"}
        path.unlink()
    (release.evidence / "round-0001" / "link").symlink_to("/etc/hostname")
    assert found(capsys, release) == {"evidence"}


def test_a_refusal_is_no_part(release, capsys):
    part = part_of(release, 1, "east")
    header = msgspec.structs.replace(part.header, status=Status.CLOSED)
    unsigned = dataclasses.replace(part, header=header)
    from fedloom.privacy.keys import sign

    signature = sign(release.keys["east"], unsigned.signed_bytes())
    put(release, 1, "east", dataclasses.replace(unsigned, signature=signature))
    assert found(capsys, release) == {"evidence"}


def test_a_folder_that_is_not_there_is_a_failed_check(release, capsys):
    shutil.rmtree(release.evidence)
    assert found(capsys, release) == {"evidence"}
    with pytest.raises(ReleaseError, match="evidence"):
        fedloom.verify(release.folder, evidence=release.evidence)


def test_evidence_is_built_beside_a_release_whole_or_not_at_all(release, tmp_path, capsys):
    def build(out: Path, evidence: Path) -> int:
        words = ["release", "build", str(release.run), "--out", str(out)]
        return main([*words, "--evidence", str(evidence)])

    out = tmp_path / "again"
    assert build(out, out / "evidence") == 2 and "beside" in capsys.readouterr().err
    assert build(out, release.evidence) == 2 and "never changes" in capsys.readouterr().err
    shutil.rmtree(part_path(release.run / "answers" / "parts", 2, "-").parent)
    assert build(out, tmp_path / "parts") == 2 and "round 2" in capsys.readouterr().err
    assert not out.exists() and not (tmp_path / "parts").exists()
