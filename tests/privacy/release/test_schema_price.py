"""A release on a learned schema names what the schema cost, everywhere it names its own price."""

from __future__ import annotations

import pytest

from fedloom.privacy.keys import load_private_key, public_key_hex
from fedloom.privacy.release import build_release
from fedloom.privacy.release.account import account_of
from fedloom.privacy.release.schema_price import composed, with_the_schema
from fedloom.privacy.release.statement import make_statement
from tests.tampering import edit, failed, sign_again, verify

LEARNED = [
    {
        "columns": [column],
        "study": study * 64,
        "plan": plan * 64,
        "runs": 1,
        "epsilon": epsilon,
        "delta": delta,
    }
    for column, study, plan, epsilon, delta in (
        ("age", "a", "b", 0.5, 1e-6),
        ("town", "c", "d", 0.25, 2e-6),
    )
]


@pytest.fixture
def learned(fake, site_keys):
    keys = {name: public_key_hex(key) for name, key in site_keys.items()}
    return fake.make_plan(keys, learned=LEARNED)


def test_prices_are_summed(plan, learned):
    own = plan.price().epsilon
    assert composed((), own, plan.delta) == (own, plan.delta)
    whole = with_the_schema(learned)
    assert whole["epsilon"] == pytest.approx(own + 0.75, rel=1e-12)
    assert whole["delta"] == pytest.approx(1.3e-5, rel=1e-12)
    assert "sum of their epsilons" in whole["text"]
    assert with_the_schema(plan)["epsilon"] == own


def test_the_statement_says_what_was_learned_and_at_what_price(fake, site_keys, plan, learned):
    def stated(of):
        accounts = {
            name: account_of(fake.make_extract(key, of, name), of, fake.RUN, name)
            for name, key in site_keys.items()
        }
        return make_statement(of, accounts)

    plain, priced = stated(plan), stated(learned)
    epsilon = priced["epsilon"]
    assert f"({epsilon:.4g}, 1e-05)" in priced["claim"]["text"]
    assert f"({epsilon + 0.75:.4g}, 1.3e-05) with the schema" in priced["claim"]["text"]
    assert "with the schema" not in plain["claim"]["text"]
    assert "nothing fitted on data" in plain["preprocessing"]["text"]
    words = priced["preprocessing"]["text"]
    assert "of age, town: learned from records" in words and "nothing fitted" not in words
    assert priced["preprocessing"]["learned"] == LEARNED
    assert plain["preprocessing"]["bounds_and_categories"] == "public"
    assert priced["preprocessing"]["bounds_and_categories"] == "learned"
    codes = [one["code"] for one in plain["assumptions"]]
    assert [one["code"] for one in priced["assumptions"]] == [*codes, "learned-prices"]
    assert "unstated-learning" in {one["code"] for one in plain["not_covered"]}


def test_a_release_names_both_prices_and_verify_computes_them_again(
    fake, site_keys, learned, tmp_path, capsys
):
    run = fake.write_run(tmp_path / "run", learned, site_keys)
    release = build_release(run, tmp_path / "release", seed=9)
    whole = f"{learned.price().epsilon + 0.75:.4g}"
    readme = " ".join((release / "README.md").read_text().split())
    assert f"({whole}, 1.3e-05) with the schema" in readme
    assert f"both together cost epsilon {whole} at delta 1.3e-05" in readme
    assert f"({whole}, 1.3e-05) with the schema" in (release / "DATASHEET.md").read_text()
    report = " ".join((release / "report.html").read_text().split())
    assert f"\N{GREEK SMALL LETTER EPSILON} = {float(whole):.3g}</span>" in report
    assert "together the two satisfy" in report
    assert verify(release) == 0
    assert f"with it, epsilon {whole} at delta 1.3e-05" in capsys.readouterr().out
    coordinator = load_private_key(run / "coordinator.key")
    statement = release / "dp_statement.json"
    honest = statement.read_text()
    for change in (
        lambda s: s["with_the_schema"].update(epsilon=s["epsilon"]),
        lambda s: s["with_the_schema"].update(delta=1e-5),
        lambda s: s["claim"]["with_the_schema"].update(epsilon=0.1),
        lambda s: s["claim"].update(with_the_schema=None),
        lambda s: s["preprocessing"].update(learned=[]),
    ):
        edit(statement, change)
        sign_again(release, coordinator)
        assert "epsilon" in failed(capsys, release)
        statement.write_text(honest)
