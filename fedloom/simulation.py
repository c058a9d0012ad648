"""A whole federation in one process: real homes, ledgers, vaults, ServerApp and ClientApp.

Everything but the network is what a deployment runs. Setting up is repeatable: whatever an
interrupted simulation had made is found again, and only what is missing is made.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

import fedloom
from fedloom.client.approval import approve
from fedloom.client.home import Home
from fedloom.client.message_audit import MessageAudit
from fedloom.client.records import holds_same
from fedloom.client.sources import Source, Table
from fedloom.client.vault import Vault
from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import ConfigError, DiskFullError, IncompleteError, StudyError
from fedloom.common.files import NOTHING_LOST, replacing
from fedloom.common.schema import Schema
from fedloom.common.study import Study, load_study
from fedloom.privacy.handover import handovers_path
from fedloom.privacy.keys import PrivateKey, load_private_key, public_key_hex
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.phases import Phase
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan, study_of
from fedloom.privacy.release.public_input import earlier_release, read_public_table
from fedloom.privacy.resolve import again, resolve_plan
from fedloom.server.head_registry import registry_path
from fedloom.server.run_folder import RunFolder
from fedloom.server.status import hold_run

__all__ = ["SimulatedStudy", "homes_elsewhere", "load_simulated", "prepare", "run_prepared"]

_MIN_ROOM_BYTES = 1 << 20

PrivateTable: TypeAlias = Table


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStudy:
    """What is simulated.

    Attributes:
      study: without any key, where a plan is rehearsed.
      schema: whose digest the study holds.
      plan: the plan that is rehearsed; None for a study.
    """

    study: Study
    schema: Schema
    plan: Plan | None = None


def load_simulated(path: Path) -> SimulatedStudy:
    """Reads a study (TOML), or a plan (JSON) to rehearse.

    A plan names keys whose private halves are with stewards and coordinator. A rehearsal signs with
    none of them: it is of the same study with the same noise, between keys of its own.

    Raises:
      StudyError: neither can be read, or the plan is not what follows from its own settings.
    """
    if path.suffix != ".json":
        study, schema = load_study(path)
        return SimulatedStudy(study=study, schema=schema)
    plan = Plan.load(path)
    try:
        check_plan(plan)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    return SimulatedStudy(study=study_of(plan).without_keys(), schema=plan.schema, plan=plan)


def run_prepared(
    folder: RunFolder,
    *,
    device: str = "cpu",
    insecure_seed: int | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Opens the vaults of a prepared run and carries it to its end; see `fedloom.simulate`."""
    if folder.done():
        return
    with hold_run(folder.path):
        _run_here(folder, device, insecure_seed, on_event)


def _run_here(
    folder: RunFolder,
    device: str,
    insecure_seed: int | None,
    on_event: Callable[[dict[str, Any]], None] | None,
) -> None:
    """Opens the vaults, and lets the coordinator ask them."""
    from fedloom.in_process import in_process_link
    from fedloom.server.coordinate import coordinate

    vaults: dict[str, Vault] = {}
    audits = {
        name: MessageAudit(AuditLog(path)) for name, path in homes_elsewhere(folder, {}).items()
    }
    try:
        for name, path in _homes_of(folder).items():
            seed = None if insecure_seed is None else _seed_of(name, insecure_seed)
            note = {"note": audits[name]} if name in audits else {}
            vaults[name] = Vault.open(path, device=device, insecure_seed=seed, **note)
        with in_process_link(vaults) as link:
            coordinate(folder.path, link, on_event=on_event)
    except IncompleteError as error:
        _check_room(_homes_of(folder), error)
        raise
    finally:
        for vault in vaults.values():
            vault.close()
        for audit in audits.values():
            audit.close()


def _check_room(homes: Mapping[str, Path], error: IncompleteError) -> None:
    """Says that a disk is full where that is why a site fell silent: here its steward listens."""
    for name, path in homes.items():
        free = shutil.disk_usage(path).free
        if free < _MIN_ROOM_BYTES and not isinstance(error, DiskFullError):
            raise DiskFullError(
                f"the disk is full: {free // 1024} KiB are left for the home of {name!r}, {path}, "
                f"and the run stopped ({error}); {NOTHING_LOST}"
            ) from error


def _seed_of(site: str, insecure_seed: int) -> int:
    """A seed of its own for every site: noise that two sites share cancels in their difference."""
    text = f"{insecure_seed}/{site}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def prepare(
    study: Study,
    schema: Schema,
    sites: Mapping[str, PrivateTable],
    *,
    out: Path,
    homes: Mapping[str, Path],
    rehearsed: Plan | None = None,
    where: str | Path = "study",
    limit: float | None = None,
    resume: bool = False,
    clamp: bool = False,
    clamp_columns: Collection[str] = (),
    coordinator_key: Path | None = None,
    insecure_seed: int | None = None,
) -> RunFolder:
    """Makes the homes, the plan, the approvals and the run folder, as far as they are missing.

    See `fedloom.simulate` for the arguments; the noise of the plan `rehearsed` is taken as it is.

    Raises:
      ConfigError: sites, key and study do not fit, or `out` holds another run.
    """
    names = [site.name for site in study.sites]
    _check_names(names, {*sites, *homes})
    if rehearsed is not None:
        _check_own_keys(where, homes, coordinator_key)
    phases = None if rehearsed is None else rehearsed.phases
    folder = RunFolder(out)
    paths = {name: homes.get(name, out / "sites" / name) for name in names}
    if folder.exists():
        if not resume:
            raise ConfigError(
                f"{out} holds a run already; go on with it by --resume, or choose another --out"
            )
        _check_same_study(study, phases, folder)
        paths = _homes_of(folder)
        _check_same_homes(homes, paths)
    missing = [name for name in names if name not in sites and not Home(paths[name]).exists()]
    if missing:
        raise ConfigError(f"no records were given for {missing[0]!r}; add --site {missing[0]}=FILE")
    key = None if coordinator_key is None else load_private_key(coordinator_key)
    if folder.exists():
        study = study.with_coordinator(folder.plan().coordinator_key or "")
    _check_coordinator(study, key, begun=folder.exists())
    if not folder.exists():  # what cannot be resolved leaves no home behind
        _resolve(study, schema, phases, where)
        study = study.with_coordinator(folder.take_key(key))
    keys = {
        name: _keys(_home(name, path, study, limit, insecure_seed is not None))
        for name, path in paths.items()
    }
    plan = (
        folder.plan() if folder.exists() else _resolve(study.with_keys(keys), schema, phases, where)
    )
    run = str(folder.state()["run"]) if folder.exists() else None
    for name, path in paths.items():
        _approve_where_made(name, path, plan, sites.get(name), clamp, clamp_columns, run)
    if not folder.exists():
        folder = RunFolder.create(
            out,
            plan,
            run=secrets.token_hex(8),
            key=key,
            public=read_public_table(plan, Path(where).parent),
            earlier=earlier_release(plan, Path(where).parent),
            details={
                "mode": "simulation",
                "homes": {name: str(path.resolve()) for name, path in paths.items()},
                "heads": coordinator_key and str(registry_path(coordinator_key.resolve())),
                "handovers": coordinator_key and str(handovers_path(coordinator_key.resolve())),
            },
        )
    return folder


def homes_elsewhere(folder: RunFolder, given: Mapping[str, Path]) -> dict[str, Path]:
    """Returns the homes by site that a run takes from elsewhere: each keeps an audit log.

    Args:
      folder: of the run, which need not exist yet.
      given: homes that the command names; a run that was begun knows its own.

    Returns:
      Absolute paths. A home that the run made in its own folder is a rehearsal, and not among them.
    """
    homes = {name: path.resolve() for name, path in given.items()}
    if folder.exists():
        homes |= _homes_of(folder)
    own = (folder.path / "sites").resolve()
    return {name: path for name, path in homes.items() if path.parent != own}


def _check_own_keys(
    where: str | Path, homes: Mapping[str, Path], coordinator_key: Path | None
) -> None:
    """Keeps every key that a plan may name out of its rehearsal."""
    if coordinator_key is not None:
        raise ConfigError(
            f"{where} is a plan, and is rehearsed with keys of its own; leave --coordinator-key out"
        )
    for name, path in homes.items():
        raise ConfigError(
            f"{where} is a plan, and is rehearsed in homes of its own; leave --home {name}={path} "
            f"out, and read that home's records by --site {name}={path}"
        )


def _resolve(
    study: Study, schema: Schema, phases: Sequence[Phase] | None, where: str | Path
) -> Plan:
    if phases is None:
        return resolve_plan(study, schema, version=fedloom.__version__, where=where)
    return again(study, schema, phases, version=fedloom.__version__)


def _check_coordinator(study: Study, key: PrivateKey | None, *, begun: bool) -> None:
    """Holds the coordinator's key against the study before anything is made."""
    if key is not None:
        study.with_coordinator(public_key_hex(key))
    elif study.coordinator.key is not None and not begun:
        raise ConfigError(
            f"the study names the coordinator's key {study.coordinator.key}; give its file with "
            "--coordinator-key FILE"
        )


def _check_names(names: list[str], given: set[str]) -> None:
    unknown = sorted(given - set(names))
    if unknown:
        raise ConfigError(f"the study has no site {unknown[0]!r}; its sites are {', '.join(names)}")


def _check_same_homes(given: Mapping[str, Path], held: Mapping[str, Path]) -> None:
    for name, path in given.items():
        if path.resolve() != held[name]:
            raise ConfigError(
                f"the run was begun with the home {held[name]} for {name!r}, not {path}; resume "
                "it with the same homes, or leave --home out"
            )


def _check_same_study(study: Study, phases: Sequence[Phase] | None, folder: RunFolder) -> None:
    plan = folder.plan()
    keys = {site.name: (site.key or "", site.exchange_key or "") for site in plan.sites}
    same_sites = set(keys) == {site.name for site in study.sites}
    same = study.with_keys(keys).with_coordinator(plan.coordinator_key or "")
    same_noise = phases is None or tuple(phases) == plan.phases
    if not same_sites or not same_noise or same.digest() != plan.study_digest:
        raise StudyError(
            f"the study changed since the run in {folder.path} was approved; restore the study "
            "to resume, or begin a new run, which needs room in the sites' budgets"
        )


def _keys(home: Home) -> tuple[str, str]:
    return home.public_key(), home.exchange_public_key()


def _home(name: str, path: Path, study: Study, limit: float | None, insecure: bool) -> Home:
    home = Home(path)
    if home.ledger_path.exists() or home.head_path.exists():
        return home
    if home.config_path.exists():
        raise ConfigError(
            f"{path}: the steward's home has no ledger yet; run `fedloom site init` there"
        )
    if home.path.exists() and any(home.path.iterdir()):
        raise ConfigError(f"{path} is no site's home and is not empty; choose another folder")
    # Made beside its place and then moved, so that no crash leaves half a home.
    with replacing(path) as partial:
        made = Home.create(partial)
        Ledger.create(
            made.path,
            private_key=made.private_key(),
            site=name,
            epsilon_limit=study.privacy.epsilon if limit is None else limit,
            delta_limit=study.privacy.delta,
            rehearsal=True,
            insecure_noise=insecure,
        ).close()
    return home


def _approve_where_made(
    name: str,
    path: Path,
    plan: Plan,
    private_table: PrivateTable | None,
    clamp: bool,
    clamp_columns: Collection[str],
    run: str | None,
) -> None:
    """Approves one run in a home that a simulation made; a steward's home needs its steward.

    `run` is the name of the run that is resumed; what was approved for it is not approved again.
    """
    home = Home.open(path)
    with Ledger.open(home.path, home.private_key()) as ledger:
        if ledger.site != name:
            raise ConfigError(f"{path} is the home of {ledger.site!r}, not of {name!r}")
        if not ledger.rehearsal and private_table is not None:
            raise ConfigError(
                f"{path} is a steward's home and holds the records of {name!r} that were frozen "
                f"at approval; leave out --site {name}=..."
            )
        grant = ledger.grant(plan.digest())
        known = grant is not None and any(known.run == run for known in grant.runs)
        over = grant is None or grant.ended
        if not ledger.rehearsal or (over and known) or not (over or private_table is not None):
            return
        if private_table is None:
            raise ConfigError(f"no records were given for {name!r}; add --site {name}=FILE")
        where = _where(name, private_table)
        schema = plan.schema
        frame = schema.kind.load(private_table, schema, id_column=plan.privacy.id)
        if grant is None or over:
            approve(
                home,
                ledger,
                plan,
                frame,
                policy=None,
                where=where,
                clamp=clamp,
                clamp_columns=clamp_columns,
            )
        elif not holds_same(home, plan, str(grant.approval["snapshot_commitment"]), frame):
            raise ConfigError(
                f"{where}: the records of {name!r} are not those that were frozen when the plan "
                f"was approved in {path}; leave out --site {name}=... to go on with those, or "
                "begin anew in other homes"
            )


def _where(name: str, private_table: PrivateTable) -> str:
    if isinstance(private_table, Source):
        return private_table.where
    return f"the table of {name}" if isinstance(private_table, pd.DataFrame) else str(private_table)


def _homes_of(folder: RunFolder) -> dict[str, Path]:
    return {name: Path(path) for name, path in folder.state()["homes"].items()}
