"""Nothing that depends on records leaves unpriced: a scan of answers and of the run folder.

Two federations differ in their records alone: one has 40 records a site, the other 4,000 of other
people. What a coordinator sees of them may differ in the noised numbers, which are paid for, and
in random names; in nothing else. The scanner is tried on answers and folders that do leak.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from fedloom.client.vault import Vault
from fedloom.common.marginals import groups_of_one
from fedloom.common.messages import Answer, Prepared, arrays_digest
from fedloom.common.study import load_study
from fedloom.common.typed import plain
from fedloom.in_process import in_process_link
from fedloom.server.coordinate import coordinate
from fedloom.server.run_folder import RunFolder
from fedloom.simulation import prepare
from tests.federation import SITES, make, table

# Names under which a careless program would tell of records.
FORBIDDEN = re.compile(
    r"loss|(?<!max_)grad_?norm|clipped|clip_frac|batch_?size|num_records|n_records|num_examples|rows_read"
    r"|duration|elapsed|seconds|train_time|clamped|unknown_values|accuracy",
    re.IGNORECASE,
)
PRICED = {"metrics.jsonl": ("distance", "epsilon")}


class Recorder:
    """Stands between a vault and the coordinator and keeps what passes."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.answers: list[bytes] = []

    def handle(self, data: bytes) -> bytes:
        answer = self.vault.handle(data)
        self.answers.append(answer)
        return answer


def shape_of(value: Any, path: str = "") -> set[str]:
    """Returns the keys of a JSON value, and the type of each leaf."""
    if isinstance(value, dict):
        return {key for name, part in value.items() for key in shape_of(part, f"{path}/{name}")}
    if isinstance(value, list):
        return {f"{path}[{len(value)}]"} | {
            key for part in value for key in shape_of(part, f"{path}[]")
        }
    return {f"{path}:{type(value).__name__}"}


def outline_of_answer(data: bytes) -> tuple[Any, ...]:
    """What an answer tells besides its noised numbers: size, keys, shapes."""
    answer = Answer.unpack(data)
    arrays = {name: (str(a.dtype), a.shape) for name, a in answer.arrays.items()}
    return len(data), sorted(shape_of(plain(answer.header))), sorted(arrays.items())


def outline_of_run(run: Path) -> dict[str, Any]:
    """What a run folder tells besides noised numbers: names, keys, sizes of binary files."""
    outline: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if name.startswith(("sites/", "sites")) or path.is_dir():
            continue
        if path.suffix == ".json":
            outline[name] = sorted(set(map(without_keys, shape_of(json.loads(path.read_text())))))
        elif path.suffix == ".jsonl":
            lines = path.read_text().splitlines()
            outline[name] = [sorted(shape_of(json.loads(line))) for line in lines]
        elif path.suffix == ".safetensors":
            arrays = safetensors.numpy.load(path.read_bytes())
            outline[name] = {key: (str(a.dtype), a.shape) for key, a in arrays.items()}
        elif path.parent.name == "tensorboard":
            outline["tensorboard"] = path.stat().st_size
        else:
            outline[name] = path.stat().st_size
    return outline


def without_keys(place: str) -> str:
    """Leaves out public keys, which each run's rehearsing sites have of their own."""
    return re.sub(r"\b[0-9a-f]{64}\b", "key", place)


def names_in(outline: Any) -> set[str]:
    return set(re.findall(r"[A-Za-z_]+", json.dumps(outline, default=str)))


def run_with(folder: Path, model: str, rows: int) -> tuple[RunFolder, dict[str, list[bytes]]]:
    federation = make(folder / "study", model)
    study, schema = load_study(federation.study)
    tables = {name: table(rows + 7 * n, seed=rows + n) for n, name in enumerate(SITES)}
    prepared = prepare(study, schema, tables, out=folder / "run", homes={})
    recorders = {name: Recorder(Vault.open(folder / "run" / "sites" / name)) for name in SITES}
    # Groups of cells are chosen from noised counts, and with them the number of pairs. Held fixed
    # here, so that whatever else differs is found.
    with pytest.MonkeyPatch.context() as patch, in_process_link(recorders) as link:
        patch.setattr(
            "fedloom.server.binning.merge_cells",
            lambda statistics, **_: groups_of_one(statistics.encoding),
        )
        coordinate(prepared.path, link)
    for recorder in recorders.values():
        recorder.vault.close()
    return prepared, {name: recorder.answers for name, recorder in recorders.items()}


@pytest.fixture(scope="module", params=["mixture", "weights", "gradients", "gan"])
def pair(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("leak")
    return [
        run_with(folder / name, request.param, rows) for name, rows in (("few", 40), ("many", 4000))
    ]


def test_answers_differ_in_noised_numbers_alone(pair):
    (_, few), (_, many) = pair
    for site in SITES:
        assert [outline_of_answer(a) for a in few[site]] == [
            outline_of_answer(a) for a in many[site]
        ]


def test_run_folders_differ_in_noised_numbers_alone(pair):
    (few, _), (many, _) = pair
    assert outline_of_run(few.path) == outline_of_run(many.path)


def test_no_name_tells_of_records(pair):
    run, answers = pair[0]
    told = names_in(outline_of_run(run.path))
    told |= {n for data in answers["north"] for n in names_in(outline_of_answer(data))}
    assert {name for name in told if FORBIDDEN.search(name)} == set()


# Not within a digest, which holds any four digits now and then.
_SIZES = re.compile(r"(?<![0-9a-f.])(400[07]|8007)(\.0)?(?![0-9a-f.])")


def test_exact_counts_are_nowhere_in_the_run_folder(pair):
    """Sites hold 4,000 and 4,007 records; no file beside the homes has these numbers."""
    assert _SIZES.search('{"records": 4007}') and _SIZES.search("4000.0")
    run, _ = pair[1]
    for path in run.path.rglob("*"):
        if path.is_file() and "sites" not in path.relative_to(run.path).parts:
            if path.suffix in (".json", ".jsonl"):
                assert not _SIZES.search(path.read_text())
    totals = run.statistics().site_totals
    assert totals["north"] != 4000 and totals["south"] != 4007


def leaky(answer: Answer, records: int, how: str) -> bytes:
    header, arrays = answer.header, dict(answer.arrays)
    if how == "header":
        told = Prepared(
            plan_digest="",
            study_digest="",
            schema_digest="",
            runs=1,
            versions={"num_records": "9"},
            seen={},
        )
        header = msgspec.structs.replace(header, prepared=told)
    elif how == "size":
        header = msgspec.structs.replace(header, nonce="x" * (records // 10))
    else:
        arrays["extra"] = np.zeros(records)
        header = msgspec.structs.replace(header, arrays_digest=arrays_digest(arrays))
    return Answer(header=header, arrays=arrays, signature=answer.signature).pack()


@pytest.mark.parametrize("how", ["header", "size", "array"])
def test_the_twin_a_leaking_answer_is_caught(pair, how):
    (_, few), (_, many) = pair
    outlines = []
    for answers, records in ((few, 40), (many, 4000)):
        answer = Answer.unpack(answers["north"][1])
        outlines.append(outline_of_answer(leaky(answer, records, how)))
    same = outlines[0] == outlines[1]
    named = any(FORBIDDEN.search(name) for name in names_in(outlines[0]))
    assert not same or named


@pytest.mark.parametrize("how", ["key", "rounds", "file"])
def test_the_twin_a_leaking_run_folder_is_caught(pair, how):
    (run, _), (other, _) = pair
    extra = run.path / "train_loss.json"
    kept = (run.path / "metrics.jsonl").read_text()
    try:
        if how == "key":
            (run.path / "metrics.jsonl").write_text(kept.replace('"round"', '"loss": 1, "round"'))
        elif how == "rounds":  # an early stop that depends on records
            (run.path / "metrics.jsonl").write_text("\n".join(kept.splitlines()[:-1]))
        else:
            extra.write_text("{}")
        assert outline_of_run(run.path) != outline_of_run(other.path)
    finally:
        extra.unlink(missing_ok=True)
        (run.path / "metrics.jsonl").write_text(kept)
