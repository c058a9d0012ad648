"""A study with sets of items ends in a release that verifies, and keeps what goes together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fedloom
from fedloom.common.errors import DataError
from fedloom.common.schema import Schema
from fedloom.common.set_cells import read_sets
from fedloom.common.study import load_study, parse_study
from fedloom.privacy.release.public_input import read_public_table
from fedloom.privacy.resolve import resolve_plan

ITEMS = [f"i{number:02d}" for number in range(30)]
BASKET = {"name": "basket", "kind": "set", "values": ITEMS, "max_items": 4, "separator": ";"}
SCHEMA = Schema.from_dict(
    {
        "column": [
            BASKET,
            {"name": "age", "kind": "integer", "min": 0, "max": 9},
            {"name": "codes", "kind": "set", "values": list("abc"), "max_items": 2}
            | {"nullable": True},
            {"name": "again", "kind": "category", "values": ["no", "yes"]},
        ]
    }
)


def records(rows: int, seed: int = 1) -> pd.DataFrame:
    """Returns baskets: the first two items go together, and the third with the label."""
    rng = np.random.default_rng(seed)
    again = rng.random(rows) < 0.4
    held = rng.random((rows, 30)) < 0.02
    held[:, 0] = rng.random(rows) < 0.3
    held[:, 1] = held[:, 0] & (rng.random(rows) < 0.8)
    held[:, 2] = rng.random(rows) < np.where(again, 0.6, 0.1)
    codes = rng.choice(["a", "a|b", "c", "|"], rows, p=[0.4, 0.2, 0.2, 0.2])
    return pd.DataFrame(
        {
            "basket": [";".join(np.array(ITEMS)[row]) for row in held],
            "age": rng.integers(0, 10, rows),
            "codes": np.where(rng.random(rows) < 0.1, None, codes),
            "again": np.where(again, "yes", "no"),
        }
    )


def held(frame: pd.DataFrame) -> np.ndarray:
    """Returns which items of the basket each record has."""
    items = read_sets(SCHEMA.column("basket"), frame["basket"]).items
    return (items[:, :, None] == np.arange(30)).any(axis=1)


def test_a_small_table_of_one_set_in_which_noise_hides_every_item_is_made_too(tmp_path):
    schema = Schema.from_dict({"column": [BASKET]})
    study = parse_study(
        {
            "study": {"name": "few", "schema": "schema.toml"},
            "privacy": {"epsilon": 0.1, "delta": 1e-5},
            "site": [{"name": "north"}],
        },
        schema,
    )
    table = {"north": records(50)[["basket"]]}
    run = fedloom.simulate(study, table, schema=schema, out=tmp_path / "run", insecure_seed=1)
    made = run.sample(200, seed=1)
    assert read_sets(schema.column("basket"), made["basket"]).cut.sum() == 0


@pytest.mark.parametrize("trust", ["secure-sum", pytest.param("per-site", marks=pytest.mark.slow)])
def test_sets_keep_their_rates_pairs_and_label_in_a_release_that_verifies(tmp_path, trust):
    study = parse_study(
        {
            "study": {"name": "baskets", "schema": "schema.toml", "target": "again"},
            "privacy": {"epsilon": 2.0, "delta": 1e-5, "trust": trust},
            "site": [{"name": "north"}, {"name": "south"}, {"name": "west"}],
            "evaluation": {"share": 0.1},
        },
        SCHEMA,
    )
    table = records(9_000)
    tables = {name: table[i::3] for i, name in enumerate(("north", "south", "west"))}
    run = fedloom.simulate(study, tables, schema=SCHEMA, out=tmp_path / "run", insecure_seed=1)
    made = run.sample(6_000, seed=1)
    real, drawn = held(table), held(made)
    assert drawn.sum(axis=1).max() <= 4
    assert drawn[:, :3].mean(axis=0) == pytest.approx(real[:, :3].mean(axis=0), abs=0.03)
    assert (drawn[:, 0] & drawn[:, 1]).mean() == pytest.approx(0.24, abs=0.04)
    yes = (made["again"] == "yes").to_numpy()
    assert drawn[yes, 2].mean() > 0.45 > 0.25 > drawn[~yes, 2].mean()
    assert made["codes"].isna().mean() == pytest.approx(0.1, abs=0.04)
    assert set(made["codes"].dropna()) <= {"a", "b", "c", "a|b", "a|c", "b|c", "|"}
    release = run.release(tmp_path / "release")
    assert fedloom.verify(release, key=None, refit=True).ok
    assert fedloom.read(release).equals(fedloom.read(release, format="csv"))
    counts = fedloom.Release(release).marginals
    assert (counts["kind"] == "item").sum() == 30 + 3
    found = fedloom.Release(release).infer(share="basket == i02", by="again")
    assert found["i02, again: no"].value == pytest.approx(0.1, abs=0.05)
    assert found["i02, again: yes"].value == pytest.approx(0.6, abs=0.05)


def test_sets_stand_beside_a_public_table_and_beside_earlier_answers(tmp_path):
    (tmp_path / "schema.toml").write_text(
        '[[column]]\nname = "basket"\nkind = "set"\nseparator = ";"\nmax_items = 4\n'
        f"values = {ITEMS}\n"
        '[[column]]\nname = "age"\nkind = "integer"\nmin = 0\nmax = 9\n'
        '[[column]]\nname = "again"\nkind = "category"\nvalues = ["no", "yes"]\n'
    )
    records(900, seed=2).drop(columns="codes").to_csv(tmp_path / "others.csv", index=False)
    sections = {
        "prior": '[public]\ntable = "others.csv"\nsource = "made up; CC0-1.0"\n',
        "later": '[public]\nrelease = "prior-release"\nsame_records = true\n',
    }
    table = {"north": records(900).drop(columns="codes")}
    for name, section in sections.items():
        (tmp_path / f"{name}.toml").write_text(
            f'[study]\nname = "{name}"\nschema = "schema.toml"\ntarget = "again"\n'
            '[privacy]\nepsilon = 2.0\ndelta = 1e-5\ntrust = "per-site"\n'
            f'[model]\nkind = "tree"\n{section}[[site]]\nname = "north"\n'
        )
        run = fedloom.simulate(tmp_path / f"{name}.toml", table, out=tmp_path / name)
        release = run.release(tmp_path / f"{name}-release")
        assert fedloom.verify(release, key=None, refit=True).ok


def test_a_public_table_whose_long_sets_are_cut_is_taken_and_one_of_other_items_is_not(tmp_path):
    (tmp_path / "schema.toml").write_text(
        '[[column]]\nname = "basket"\nkind = "set"\nseparator = ";"\nmax_items = 1\n'
        f"values = {ITEMS}\n"
        '[[column]]\nname = "age"\nkind = "integer"\nmin = 0\nmax = 9\n'
    )
    (tmp_path / "study.toml").write_text(
        '[study]\nname = "cut"\nschema = "schema.toml"\n[privacy]\nepsilon = 2.0\ndelta = 1e-5\n'
        '[public]\ntable = "others.csv"\nsource = "made up"\n[[site]]\nname = "north"\n'
    )
    public = records(400, seed=2)[["basket", "age"]]
    for table in (public, public.assign(basket="none")):
        table.to_csv(tmp_path / "others.csv", index=False)
        study, schema = load_study(tmp_path / "study.toml")
        plan = resolve_plan(study, schema, version=fedloom.__version__)
        if table is public:
            assert read_public_table(plan, tmp_path) is not None
            continue
        with pytest.raises(DataError):
            read_public_table(plan, tmp_path)
