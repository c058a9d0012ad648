"""A home that was put back to an older disk, or copied, gives nothing that opens.

The disk of one site, `east`, is copied before every step of a run. Each copy is put back and asked
by a coordinator who sides with it: it shows the site nothing that it knows, sends old requests once
more, and makes new ones for whatever the restored vault promises. Other homes are as they were.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import fedloom.client.continuity as continuity_module
from fedloom.client.approval import approve
from fedloom.client.home import Home
from fedloom.client.vault import Vault
from fedloom.client.vault_memory import VaultMemory
from fedloom.common.messages import Request
from fedloom.common.signed_heads import KnownHead, SignedHead
from fedloom.privacy.ledger import Ledger, read_ledger
from tests.federation import RUN, ask, request, status
from tests.secure_sum.consortium import LOOK, SITES, STEP, Consortium, frame, resolve

FELLOWS = tuple(site for site in SITES if site != "east")
LAST = STEP + 2


@dataclass
class Attack:
    """A run that was carried out, with the disks of `east` before every step of it."""

    consortium: Consortium
    folder: Path
    images: list[Path] = field(default_factory=list)
    sent: dict[str, tuple[Request, np.ndarray]] = field(default_factory=dict)
    """By digest, what was asked and what `east` answered."""

    def step(self, round_number: int) -> None:
        """Asks one round of all, and keeps the disk as it was before."""
        self.image()
        asked = self.consortium.request(round_number)
        self.sent[asked.digest()] = asked, self.consortium.answers(asked)["east"]

    def image(self) -> None:
        copy = self.folder / f"image-{len(self.images)}"
        shutil.copytree(self.consortium.homes["east"].path, copy)
        self.images.append(copy)

    def put_back(self, image: Path, *, grown: bool = False) -> None:
        """Puts a disk back on a machine that remembers nothing; it may grow by other entries."""
        vaults, home = self.consortium.vaults, self.consortium.homes["east"]
        vaults["east"].close()
        shutil.rmtree(home.path)
        shutil.copytree(image, home.path)
        if grown:
            with Ledger.open(home.path, home.private_key()) as ledger:
                for _ in range(20):
                    ledger.pause()
                    ledger.resume()
        vaults["east"] = Vault(home)

    def answer_twice(self) -> bool:
        """Whether the vault gives another answer to a request that it has answered before."""
        for asked, before in self.sent.values():
            found = ask(self.consortium.vaults["east"], asked)
            if found is not None and found.ok and not np.array_equal(found.arrays["sum"], before):
                return True
        return False

    def known(self, head: SignedHead) -> dict[str, KnownHead]:
        """What a coordinator shows that knows a head of `east` in this run."""
        return {"east": KnownHead(plan=self.consortium.plan.digest(), run=RUN, head=head)}

    def opens(self, asked: Request) -> bool:
        """Whether a new request is answered by its whole roster."""
        return all(self.consortium.status(site, asked) == "ok" for site in asked.roster)


@pytest.fixture
def attack(consortium, tmp_path) -> Attack:
    """A run of four rounds, up to before its end."""
    made = Attack(consortium, tmp_path)
    made.image()
    for number in range(LOOK, LAST + 1):
        made.step(number)
    made.image()
    return made


def test_no_earlier_disk_answers_a_request_twice(attack):
    for image in attack.images:
        attack.put_back(image)
        assert not attack.answer_twice()


def test_the_twin_without_the_nonce_answers_twice_and_is_caught(attack, monkeypatch):
    """Both answers have one mask: their difference is bare."""
    monkeypatch.setattr(VaultMemory, "holds", lambda *_: True)
    caught = []
    for image in attack.images:
        attack.put_back(image)
        caught.append(attack.answer_twice())
    assert caught == [*([True] * 5), False]  # the newest disk has stored all that was answered


def test_a_second_copy_of_a_home_answers_nothing_that_the_first_was_asked(attack):
    """Both run at once; the copy was made when the first had promised its answer already."""
    consortium = attack.consortium
    asked = consortium.request(STEP, attempt=2)
    shutil.copytree(consortium.homes["east"].path, attack.folder / "copy")
    with Vault(Home(attack.folder / "copy")) as copy:
        assert status(copy, asked) == "stale"
        assert consortium.status("east", asked) == "ok"
        assert status(copy, asked) == "stale"


@pytest.mark.parametrize("grown", [False, True])
def test_fellow_sites_refuse_what_a_restored_home_promises(attack, grown):
    """Every round and attempt that the plan has is asked anew, of all; no sum opens."""
    consortium, charged = attack.consortium, attack.consortium.charged()
    for image in attack.images[:-2]:
        attack.put_back(image, grown=grown)
        for number in range(LOOK, LAST + 1):
            for attempt in (1, 2) if number > LOOK else (1,):
                asked = consortium.request(number, attempt=attempt)
                for site in FELLOWS:
                    assert consortium.status(site, asked) in ("turned-back", "conflict")
                assert not attack.opens(asked)
    assert consortium.charged()[1:] == charged[1:]


def test_a_fellow_site_says_whose_ledger_went_back(attack):
    attack.put_back(attack.images[2])
    refused = ask(attack.consortium.vaults["west"], attack.consortium.request(STEP, attempt=2))
    assert refused.header.turned_back == ("east",)


def test_the_last_answer_is_charged_from_the_spare_when_it_is_asked_again(attack):
    """What fellow sites cannot have seen: they are charged again, and the run counts in full."""
    consortium = attack.consortium
    attack.put_back(attack.images[-2])  # before the last round
    again = consortium.request(LAST, attempt=2)
    assert attack.opens(again)
    assert consortium.charged() == [4, 5, 5, 5]  # one answer is missing in the restored ledger
    assert consortium.status("east", request(consortium.plan, "finish")) == "ok"
    budget = read_ledger(consortium.homes["east"].path).budget()
    assert budget["epsilon_reserved"] == pytest.approx(consortium.plan.stated_price.epsilon)
    assert budget["epsilon_spent"] < budget["epsilon_reserved"]
    assert budget["studies"][0]["status"] == "counted in full"


def test_a_vault_that_kept_its_memory_gives_back_what_was_not_spent(attack):
    """The twin of the test above: an honest run whose vault was only started again."""
    consortium = attack.consortium
    consortium.restart("east")
    assert consortium.status("east", request(consortium.plan, "finish")) == "ok"
    budget = read_ledger(consortium.homes["east"].path).budget()
    assert budget["epsilon_reserved"] == pytest.approx(budget["epsilon_spent"])


def test_a_site_that_is_shown_its_own_newer_head_answers_nothing_any_more(attack):
    """What an honest coordinator knows; a mark in the home outlives the vault."""
    consortium = attack.consortium
    newest = ask(consortium.vaults["east"], request(consortium.plan)).header.promise
    for image in attack.images[:-1]:
        attack.put_back(image)
        known = attack.known(newest)
        before = consortium.kinds("east")
        assert consortium.status("east", request(consortium.plan, known=known)) == "turned-back"
        assert consortium.status("east", request(consortium.plan)) == "turned-back"
        consortium.restart("east")
        assert consortium.status("east", request(consortium.plan)) == "turned-back"
        assert consortium.kinds("east") == before


def test_a_head_that_another_signed_marks_nothing(attack):
    consortium = attack.consortium
    fellow = ask(consortium.vaults["west"], request(consortium.plan)).header.promise
    asked = request(consortium.plan, known=attack.known(fellow))
    assert consortium.status("east", asked) == "malformed"
    assert consortium.status("east", request(consortium.plan)) == "ok"


def test_a_disk_that_is_put_back_on_the_same_machine_is_found_at_the_start(attack):
    consortium = attack.consortium
    attack.put_back(attack.images[2])
    consortium.restart("east")  # with the memory of the vault that was there before
    assert consortium.homes["east"].turned_back_path.exists()
    assert consortium.status("east", request(consortium.plan)) == "turned-back"


def consortium_of(folder: Path, study: Path, runs: dict[str, int]) -> Consortium:
    """Homes whose stewards approved so many runs each; `east` has room for no more."""
    homes = {}
    for name in SITES:
        homes[name] = Home.create(folder / name)
        limit = 8.0 * runs[name] if name == "east" else 100.0
        Ledger.create(
            homes[name].path,
            private_key=homes[name].private_key(),
            site=name,
            epsilon_limit=limit,
            delta_limit=1e-3,
        ).close()
    plan = resolve(study, homes)
    for name, home in homes.items():
        with Ledger.open(home.path, home.private_key()) as ledger:
            approve(home, ledger, plan, frame(name), policy=None, runs=runs[name])
    return Consortium(folder, plan)


@pytest.fixture
def twice(approved, tmp_path) -> Iterator[Attack]:
    """A run that came to its end; fellows have room for another, `east` has not."""
    runs = {name: 1 if name == "east" else 2 for name in SITES}
    made = Attack(consortium_of(tmp_path / "sites", tmp_path / "study", runs), tmp_path)
    plan = made.consortium.plan
    made.image()
    for number in (LOOK, STEP):
        made.step(number)
    for site in SITES:
        assert made.consortium.status(site, request(plan, "finish")) == "ok"
    yield made
    made.consortium.close()


def second_run_opens(attack: Attack) -> bool:
    """Puts `east` back to before the run, and asks all for another."""
    attack.put_back(attack.images[0])
    asked = attack.consortium.request(LOOK, run="another")
    return attack.opens(asked)


def test_a_home_put_back_to_before_a_run_takes_part_in_no_other(twice):
    assert not second_run_opens(twice)


def test_the_twin_whose_fellows_remember_nothing_is_caught(twice, monkeypatch):
    """The second run opens, beyond what the home may ever spend."""
    monkeypatch.setattr(continuity_module, "goes_on", lambda *_: True)
    assert second_run_opens(twice)


@pytest.fixture
def two_runs(approved, tmp_path) -> Iterator[Attack]:
    """Two runs at one time: one is asked its look, then the disk is copied, the other ends."""
    runs = {name: 2 if name == "east" else 3 for name in SITES}
    made = Attack(consortium_of(tmp_path / "sites", tmp_path / "study", runs), tmp_path)
    consortium = made.consortium
    made.step(LOOK)
    made.image()
    for number in (LOOK, STEP):
        assert made.opens(consortium.request(number, run="another"))
    for site in SITES:
        assert consortium.status(site, request(consortium.plan, "finish", run="another")) == "ok"
    yield made
    consortium.close()


def test_two_honest_runs_at_one_time_both_go_on(two_runs):
    assert two_runs.opens(two_runs.consortium.request(STEP))
    assert two_runs.consortium.status("east", request(two_runs.consortium.plan, "finish")) == "ok"


def test_a_fork_longer_than_what_another_run_showed_is_refused(two_runs):
    """In the run that had begun and in a third, beyond what `east` may spend."""
    consortium = two_runs.consortium
    two_runs.put_back(two_runs.images[-1], grown=True)
    asked = consortium.request(STEP)
    assert {consortium.status(site, asked) for site in FELLOWS} == {"turned-back"}
    asked = consortium.request(LOOK, run="third")
    assert {consortium.status(site, asked) for site in FELLOWS} == {"turned-back"}


def test_a_fork_that_another_run_hides_for_a_while_opens_no_third_run(two_runs):
    """What is not covered: the run that had begun goes on. It displaces nothing that was seen."""
    consortium = two_runs.consortium
    two_runs.put_back(two_runs.images[-1])
    consortium.answers(consortium.request(STEP))
    two_runs.image()
    two_runs.put_back(two_runs.images[-1], grown=True)
    asked = consortium.request(LOOK, run="third")
    assert {consortium.status(site, asked) for site in FELLOWS} == {"turned-back"}


def test_the_twin_that_holds_a_run_against_its_own_heads_alone_is_caught(two_runs, monkeypatch):
    """The longer fork takes the place of the true head, and a third run opens."""
    monkeypatch.setattr(continuity_module, "_is_before", lambda *_: True)
    consortium = two_runs.consortium
    two_runs.put_back(two_runs.images[-1], grown=True)
    consortium.answers(consortium.request(STEP))
    assert two_runs.opens(consortium.request(LOOK, run="third"))
