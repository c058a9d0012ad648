"""Which curves a run's metrics give."""

from __future__ import annotations

from fedloom.privacy.release.report.curves import curves_of


def test_numbers_and_tables_of_numbers_become_curves_and_the_rest_does_not():
    metrics = [
        {"round": 1, "sites": ["a"], "distance": 0.5, "epsilon": {"a": 1, "b": 1}},
        {"round": 2, "sites": ["a"], "query": "train", "epsilon": {"a": 2, "b": 3}},
        {"round": 3, "sites": ["a"], "distance": 0.3, "flag": True},
    ]
    curves = {curve.title: curve.series for curve in curves_of(metrics)}
    assert list(curves) == [
        "Mean distance of samples to the noisy marginals",
        "Epsilon spent, by site",
    ]
    assert curves["Epsilon spent, by site"] == (("a", ((1, 1), (2, 2))), ("b", ((1, 1), (2, 3))))


def test_sites_that_spend_alike_share_one_line():
    metrics = [{"round": r, "epsilon": {"a": r, "b": r, "c": r}} for r in (1, 2)]
    assert curves_of(metrics)[0].series == (("3 sites alike", ((1, 1), (2, 2))),)


def test_one_round_is_no_curve():
    assert curves_of([{"round": 1, "distance": 0.1}]) == []
