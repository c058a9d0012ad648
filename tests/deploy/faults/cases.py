"""The faults: what is done to which machine at which stage, and what may come of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.faults.damage import (
    bad_line,
    expired_certificate,
    fill,
    set_clock,
    unplug,
)
from tests.deploy.faults.outcomes import Ledgers, check_done, check_incomplete
from tests.deploy.faults.parties import COORDINATOR, Parties, Study
from tests.deploy.faults.stages import STAGES, wait_for

__all__ = ["Case", "Result", "carry_out", "kills", "others", "power_cuts", "spread"]

_RESUMES = 3
_ENDS_S = 300.0
_COORDINATORS = ("superlink", "superexec", "gateway", "serverapp", "follower", "supervisor")
_SITES = ("vault", "node", "supervisor")


@dataclass(frozen=True, kw_only=True)
class Struck:
    """What a fault gets: the federation, the run's plan, who follows it, and random numbers."""

    parties: Parties
    plan: Path
    follower: subprocess.Popen[bytes]
    rng: random.Random


@dataclass(frozen=True, kw_only=True)
class Case:
    """One fault.

    Attributes:
      name: of the case, and of its study.
      stage: when it strikes.
      site: whose ledger tells the stage.
      act: does the damage.
      mend: makes it good once the command has ended; nothing for what mends itself.
      outcomes: states that the run may end in, "done", "incomplete", or "turned-back".
      put_back: sites whose disk the fault puts back.
      trust: of the study; so are `model` and `more`.
      voids: attempts that sites may have answered in vain, from spare rounds.
      absent: sites that stay away until the case is over.
      after: leaves the federation as it was.
    """

    name: str
    stage: str
    site: str
    act: Callable[[Struck], None]
    mend: Callable[[Struck], None] = lambda struck: None
    outcomes: tuple[str, ...] = ("done",)
    put_back: tuple[str, ...] = ()
    trust: str = "secure-sum"
    model: str = "mixture"
    more: str = ""
    voids: int = 0
    absent: tuple[str, ...] = ()
    after: Callable[[Parties], None] = lambda parties: None

    @property
    def study(self) -> Study:
        return Study(name=self.name, model=self.model, trust=self.trust, more=self.more)


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a case went: exit codes of `coordinate` in turn, and what became of the run."""

    name: str
    codes: tuple[int, ...]
    outcome: str
    seconds: float


def carry_out(case: Case, parties: Parties, ledgers: Ledgers, rng: random.Random) -> Result:
    """Runs a study, does the damage, resumes the run, and checks what became of it.

    Raises:
      AssertionError: that is none of the allowed outcomes.
    """
    begun = time.monotonic()
    plan = parties.plan_of(case.name)
    follower = parties.begin(plan)
    wait_for(case.stage, parties, plan, follower, case.site, rng)
    struck = Struck(parties=parties, plan=plan, follower=follower, rng=rng)
    case.act(struck)
    codes = [follower.wait(_ENDS_S)]
    case.mend(struck)
    there = [party for party in parties.parties if party not in case.absent]
    parties.wait_online(*there)
    resumes = _RESUMES if "done" in case.outcomes else 1
    while codes[-1] not in (0, 4) and len(codes) <= resumes:
        codes.append(parties.begin(plan).wait(_ENDS_S))
    case.after(parties)
    # A command that was killed has no code of its own; every other must end as the table says.
    assert set(codes) <= {0, 4, 5, -signal.SIGKILL}, (codes, parties.last_words())
    outcome = {0: "done", 4: "turned-back"}.get(codes[-1], "incomplete")
    assert outcome in case.outcomes, (case.name, codes, parties.last_words())
    views = ledgers.check(*case.put_back)
    if outcome == "done":
        check_done(parties.run_of(plan), views, voids=case.voids)
    else:
        check_incomplete(parties.run_of(plan), views)
    parties.check_processes()
    seconds = time.monotonic() - begun
    return Result(name=case.name, codes=tuple(codes), outcome=outcome, seconds=seconds)


def kill(party: str, program: str) -> Callable[[Struck], None]:
    """Returns what kills one program of a machine; a supervisor is started again by hand."""

    def act(struck: Struck) -> None:
        parties = struck.parties
        if program == "follower":
            struck.follower.kill()
            return
        if program == "serverapp":
            pid = parties.coordinator_of_run(struck.plan)
        else:
            pid = parties.processes_of(party).get(program)
        if pid is None:  # the run has ended, or the program is between two starts
            return
        os.kill(pid, signal.SIGKILL)
        if program == "supervisor":
            parties.start(party)

    return act


def kills(sites: tuple[str, ...], rng: random.Random) -> list[Case]:
    """Returns a kill of each program at each stage; at a site picked at random."""
    cases = []
    for stage in STAGES:
        for program in _COORDINATORS:
            act = kill(COORDINATOR, program)
            cases.append(Case(name=f"{program}-{stage}", stage=stage, site=sites[0], act=act))
        for program in _SITES:
            site = rng.choice(sites)
            act = kill(site, program)
            cases.append(Case(name=f"site-{program}-{stage}", stage=stage, site=site, act=act))
    return cases


def spread(cases: list[Case], each: int, rng: random.Random) -> list[Case]:
    """Returns `each` stages of every kind of case, all stages about equally often.

    Args:
      cases: named KIND-STAGE, with the stages of a kind in order.
      each: number of stages for a kind.
      rng: where the first kind begins.
    """
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        kinds.setdefault(case.name.replace(f"-{case.stage}", ""), []).append(case)
    number, chosen = rng.randrange(len(STAGES)), []
    for alike in kinds.values():
        for _ in range(each):
            chosen.append(alike[number % len(alike)])
            number += 1
        number += 1
    return chosen


def power_cut(*dead: str) -> Callable[[Struck], None]:
    """Returns what ends machines at one moment and starts them again without their memory."""

    def act(struck: Struck) -> None:
        for party in dead:
            struck.parties.freeze(party)
        for party in dead:
            struck.parties.crash(party, memory=False)
        for party in dead:
            struck.parties.start(party)

    return act


def power_cuts(sites: tuple[str, ...], rng: random.Random) -> list[Case]:
    """Returns machines that lose power at each stage: the coordinator's, a site's, all.

    A site that had been asked and had not stored its answer has lost the nonce of that answer: in
    a secure sum without a spare round the run cannot be completed then, which the plan's sites
    are told. In per-site trust it is computed anew.
    """
    cases = []
    for stage in STAGES:
        for trust in ("secure-sum", "per-site"):
            site = rng.choice(sites)
            both = ("done", "incomplete") if trust == "secure-sum" else ("done",)
            for who, dead in (
                ("site", (site,)),
                ("coordinator", (COORDINATOR,)),
                ("all", (COORDINATOR, *sites)),
            ):
                cases.append(
                    Case(
                        name=f"power-{who}-{stage}-{trust}",
                        stage=stage,
                        site=site,
                        act=power_cut(*dead),
                        trust=trust,
                        outcomes=("done",) if who == "coordinator" else both,
                    )
                )
    return cases


def everything(sites: tuple[str, ...], stage: str) -> Case:
    """Returns a kill of all processes of all machines at one moment; memory stays."""

    def act(struck: Struck) -> None:
        parties = struck.parties
        for party in parties.parties:
            parties.freeze(party)
        for party in parties.parties:
            parties.crash(party)
        for party in parties.parties:
            parties.start(party)

    return Case(name=f"kill-everything-{stage}", stage=stage, site=sites[0], act=act)


def away(site: str, stage: str, how_long: str) -> Case:
    """Returns a site that is off the network for a while, a "day", or for good.

    A day is longer than the plan's time-out, here a minute. For good, the others go on without it
    where the plan allows that, but what it answered before needs its ledger's extract.
    """

    def act(struck: Struck) -> None:
        unplug(struck.parties, site)
        if how_long == "while":
            time.sleep(struck.rng.uniform(4, 8))
            unplug(struck.parties, site, again=True)

    def mend(struck: Struck) -> None:
        if how_long == "day":
            unplug(struck.parties, site, again=True)

    coordination = "[coordination]\ntimeout_s = 60\n"
    trust = "secure-sum"
    if how_long == "good":
        coordination, trust = coordination + "min_sites = 2\n", "per-site"
    return Case(
        name=f"away-{how_long}-{stage}",
        stage=stage,
        site=site,
        act=act,
        mend=mend,
        absent=(site,) if how_long == "good" else (),
        outcomes=("incomplete",) if (how_long, stage) == ("good", "between") else ("done",),
        trust=trust,
        more=coordination,
        after=lambda parties: unplug(parties, site, again=True),
    )


def slow_line(site: str) -> Case:
    """Returns a whole run of one site over 200 ms each way, 1% loss, 1 Mbit/s."""
    line = contextlib.ExitStack()

    def act(struck: Struck) -> None:
        bad = {"delay_s": 0.2, "loss": 0.01, "rate": 125_000.0, "seed": struck.rng.randrange(99)}
        line.enter_context(bad_line(struck.parties, site, **bad))

    def after(parties: Parties) -> None:
        line.close()

    return Case(name=f"line-{site}", stage="begin", site=site, act=act, after=after)


def wrong_clock(party: str, off_by_s: int, site: str) -> Case:
    """Returns a machine whose clock is wrong from before the first request on, and set right then.

    Flower's node proves itself by a signed time, so a wrong clock keeps a site out.
    """

    def act(struck: Struck) -> None:
        set_clock(struck.parties, party, off_by_s)

    def mend(struck: Struck) -> None:
        set_clock(struck.parties, party, 0)

    sign = "ahead" if off_by_s > 0 else "behind"
    return Case(
        name=f"clock-{party}-{sign}",
        stage="begin",
        site=site,
        act=act,
        mend=mend,
        more="[coordination]\ntimeout_s = 60\n",
    )


def full_disk(folder: Callable[[Parties], Path], name: str, site: str, stage: str) -> Case:
    """Returns a disk that is full from a stage on until the command has ended."""

    def act(struck: Struck) -> None:
        fill(folder(struck.parties))

    def mend(struck: Struck) -> None:
        fill(folder(struck.parties), again_free=True)

    return Case(
        name=f"full-{name}-{stage}",
        stage=stage,
        site=site,
        act=act,
        mend=mend,
        more="[coordination]\ntimeout_s = 60\n",
    )


def certificate(site: str) -> Case:
    """Returns a server certificate that ends between two rounds, and is renewed by the command."""

    def act(struck: Struck) -> None:
        expired_certificate(struck.parties)

    def mend(struck: Struck) -> None:
        parties = struck.parties
        at = ("--coordinator", str(parties.coordinator))
        assert parties.command(None, "coordinator", "renew", *at).returncode == 0
        parties.crash(COORDINATOR)
        parties.start(COORDINATOR)

    return Case(name="certificate", stage="between", site=site, act=act, mend=mend)


def disk_put_back(party: str, site: str) -> Case:
    """Returns a machine whose disk of before the first round comes back in the second.

    A site has lost what it answered; the coordinator knows, and no answer leaves. A coordinator
    has lost which promises it named, and asks the attempt otherwise than before, which every site
    refuses: a secure sum without a spare round stays incomplete.
    """

    def act(struck: Struck) -> None:
        parties, copy = struck.parties, struck.parties.folder / "copies" / party
        parties.copy_disk(party, copy)
        wait_for("statistic", parties, struck.plan, struck.follower, site, struck.rng)
        parties.crash(party, memory=False)
        parties.put_back(party, copy)
        parties.start(party)

    back = party != COORDINATOR
    return Case(
        name=f"disk-of-{party}",
        stage="prepare",
        site=site,
        act=act,
        put_back=(party,) if back else (),
        outcomes=("turned-back",) if back else ("done", "incomplete"),
    )


def others(sites: tuple[str, ...], rng: random.Random) -> list[Case]:
    """Returns every fault that is no kill and no power cut; the last one ends the federation."""
    some = rng.choice(sites)
    return [
        everything(sites, rng.choice(STAGES[:3])),
        everything(sites, rng.choice(STAGES[3:])),
        away(some, "look", "while"),
        away(some, "between", "day"),
        away(rng.choice(sites), "begin", "good"),
        away(rng.choice(sites), "between", "good"),
        slow_line(rng.choice(sites)),
        wrong_clock(some, 600, sites[0]),
        wrong_clock(some, -600, sites[0]),
        full_disk(lambda parties: parties.home("west"), "home", "west", "prepare"),
        full_disk(lambda parties: parties.home("west"), "home", "west", "between"),
        full_disk(lambda parties: parties.folder / "runs", "runs", sites[0], "look"),
        full_disk(lambda parties: parties.folder / "runs", "runs", sites[0], "answered"),
        certificate(some),
        disk_put_back(COORDINATOR, sites[0]),
        disk_put_back(some, some),
    ]
