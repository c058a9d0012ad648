"""A steward's decision on a plan: told in plain words, frozen, signed into the ledger.

Approving reads the records once: they are held against the schema, encoded and frozen, so that
they cannot change under the study. Nothing leaves the home by it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from fedloom.client.acceptance import check_acceptance
from fedloom.client.home import Home
from fedloom.client.learned_check import check_learned
from fedloom.client.peers import Peer, check_peers
from fedloom.client.plan_in_words import in_runs
from fedloom.client.records import freeze, id_column
from fedloom.client.request_check import check_parts_are_here
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, StudyError
from fedloom.common.files import write_whole
from fedloom.privacy.ledger import Ledger, read_ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan
from fedloom.privacy.policy import Policy

__all__ = [
    "approve",
    "differences",
    "last_approved",
    "load_plan_or_study",
    "verify_plan",
]


def verify_plan(plan: Plan, *, site: str, home: Home) -> None:
    """Checks what a steward could not see by reading: keys, norms, size, price.

    Raises:
      StudyError: the plan does not name this site's key, or is not what follows from its own
        settings.
    """
    check_plan(plan)
    if plan.coordinator_key is None:
        raise StudyError(
            "the plan names no key of the coordinator, so anybody could ask this site; have the "
            "coordinator write the key that `fedloom coordinator keygen` prints into the study"
        )
    entry = plan.site(site)
    former = read_ledger(home.path).rotations if home.ledger_path.exists() else ()
    if entry.key != home.public_key() and entry.key in {r.rotation.old.key for r in former}:
        raise StudyError(
            f"the plan names the key that {site!r} had before its keys changed, so it no longer "
            "runs; have the coordinator resolve the study again with the keys of this site's new "
            "card, and approve the new plan"
        )
    pairs = (
        ("key", entry.key, home.public_key()),
        ("exchange-key", entry.exchange_key, home.exchange_public_key()),
    )
    for name, named, held in pairs:
        if named != held and (name == "key" or plan.colluding is not None):
            said = f"no {name}" if named is None else f"the {name} {named}"
            raise StudyError(
                f"the plan names {said} for {site!r}, this home's {name} is {held}; "
                "send the coordinator the keys that `fedloom site keygen` prints"
            )
    if plan.colluding is not None:
        missing = [other.name for other in plan.sites if other.exchange_key is None]
        if missing:
            raise StudyError(
                f"the plan names no exchange-key for {', '.join(missing)}; a secure sum needs one "
                "of every site: have the coordinator collect what `fedloom site keygen` prints"
            )


def differences(plan: Plan, earlier: Plan | None) -> list[str]:
    """Lists the settings that differ from an earlier plan, as `key: before -> now`."""
    if earlier is None:
        return ["no study was approved in this home before"]
    before, now = _flat(earlier.to_dict()), _flat(plan.to_dict())
    lines = []
    for key in sorted(set(before) | set(now)):
        if before.get(key) != now.get(key):
            lines.append(f"{key}: {before.get(key, 'absent')} -> {now.get(key, 'absent')}")
    return lines or ["nothing differs from the study approved last"]


def approve(
    home: Home,
    ledger: Ledger,
    plan: Plan,
    private_frame: pd.DataFrame,
    *,
    policy: Policy | None,
    runs: int = 1,
    peers: Mapping[str, Peer] | None = None,
    where: str = "the table",
    clamp: bool = False,
    clamp_columns: Collection[str] = (),
    ids_as_written: bool = False,
) -> None:
    """Freezes the records and signs the plan's digest, and how often it may run, into the ledger.

    Args:
      home: the site's home.
      ledger: the home's ledger, open for writing.
      plan: the plan that the steward has read.
      private_frame: the site's records, with the schema's columns and that of the persons' ids.
      policy: the site's own rules; None in a rehearsal.
      runs: how many runs are granted; they are priced, admitted and held together.
      peers: the other sites' keys as `site.toml` pins them; None in a rehearsal.
      where: name of the records' source, for messages.
      clamp: accept records outside the schema, where few values of a column are: they are
        clamped or set aside, and rows without an id left out.
      clamp_columns: accept these columns though more of their values are outside the schema.
      ids_as_written: the steward knows that ids which differ only in how they are written, such
        as "7" and "07", are different people.

    Raises:
      RefusedError: the plan's unit of privacy is not the home's.
      ConfigError: the plan is approved here already, and of that approval something is left.
      DataError: the records do not fit the schema; the message is for the steward alone.
      PolicyError: the plan goes beyond the policy, or names keys that are not pinned.
      StudyError: the plan is not for this site, or states a wrong price.
      IncompleteError: this machine lacks what the plan's model needs beside fedloom.
    """
    verify_plan(plan, site=ledger.site, home=home)
    check_parts_are_here(plan)
    if policy is not None:
        policy.check(plan, runs)
    if peers is not None:
        check_peers(peers, plan, site=ledger.site)
    digest, learned = plan.digest(), [origin.plan for origin in plan.schema.learned]
    earlier = ledger.grant(digest)
    if earlier is not None and not earlier.ended:
        raise ConfigError(
            f"plan {digest[:12]} is approved here for {in_runs(earlier.num_runs)}, of which "
            f"{earlier.left} can still begin, and its records are frozen; to freeze the records as "
            "they are now, or for another number of runs, revoke it first, which ends its runs"
        )
    unit, column = plan.privacy.unit.value, id_column(plan)
    ledger.check_grant(plan=digest, unit=unit, id=column, learned=learned)
    check_learned(ledger, plan)
    check_acceptance(
        plan.schema.kind.report(private_frame, plan.schema, where=where, id_column=column),
        clamp=clamp,
        clamp_columns=clamp_columns,
        ids_as_written=ids_as_written,
    )
    commitment = freeze(home, plan, private_frame)
    write_whole(home.plan_path(digest), canonical_json(plan.to_dict()), private=True)
    ledger.approve(
        study=plan.study_digest,
        plan=digest,
        name=plan.name,
        unit=unit,
        id=column,
        coordinator=plan.coordinator_key or "",
        event=plan.event(),
        runs=runs,
        learned=learned,
        snapshot_commitment=commitment,
        summary={"epsilon": plan.price(runs).epsilon, "delta": plan.delta},
    )


def last_approved(home: Home) -> Plan | None:
    """Returns the plan that the ledger approved last, of those that lie in this home; or None."""
    for entry in reversed(read_ledger(home.path).entries):
        body = entry.read()
        if body.kind == "approve" and (path := home.plan_path(body.data["plan"])).exists():
            return Plan.load(path)
    return None


def load_plan_or_study(path: Path) -> Plan:
    """Reads a plan (JSON) or resolves a study (TOML) to its plan.

    Raises:
      StudyError: neither can be read from `path`.
    """
    if Path(path).suffix == ".json":
        return Plan.load(path)
    import fedloom
    from fedloom.common.study import load_study
    from fedloom.privacy.resolve import resolve_plan

    study, schema = load_study(path)
    masked = study.privacy.masked
    if study.coordinator.key is None or any(
        site.key is None or (masked and site.exchange_key is None) for site in study.sites
    ):
        raise StudyError(
            f"{path}: a study can be approved once [coordinator] and every [[site]] has its key, "
            "and with a secure sum its exchange-key; stewards print theirs with `fedloom site "
            "keygen`, the coordinator with `fedloom coordinator keygen`"
        )
    return resolve_plan(study, schema, version=fedloom.__version__, where=path)


def _flat(value: object, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        flat: dict[str, str] = {}
        for key, part in value.items():
            flat.update(_flat(part, f"{prefix}.{key}" if prefix else str(key)))
        return flat
    if isinstance(value, list):
        return _flat({str(number): part for number, part in enumerate(value, start=1)}, prefix)
    return {prefix: json.dumps(value)[:200]}
