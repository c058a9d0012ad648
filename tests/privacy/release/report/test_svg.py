"""Charts are well-formed XML, carry what they were given, and escape every name."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from fedloom.privacy.release.report.svg import budget_bars, curve_chart, heat_map, marginal_chart

HOSTILE = '<script>alert("x")</script>&'


def test_marginal_chart_draws_each_code_once_and_escapes_labels():
    text = marginal_chart(
        title=HOSTILE,
        labels=[HOSTILE, "b"],
        synthetic=[0.25, 0.75],
        noisy=[0.3, 0.7],
        errors=[0.01, 0.02],
        ordered=0,
    )
    bars = ET.fromstring(text).find("path[@class='syn']")
    assert bars is not None and bars.get("d", "").count("z") == 2
    assert "<script" not in text


@pytest.mark.parametrize("count", [1, 2, 64, 400])
def test_ordered_chart_stays_small_and_well_formed(count):
    labels = [f"{k} to {k + 1}" for k in range(count)] + ["0", "(missing)", "(other)"]
    shares = [1 / len(labels)] * len(labels)
    text = marginal_chart(
        title="t",
        labels=labels,
        synthetic=shares,
        noisy=shares,
        errors=[0.01] * len(labels),
        ordered=count,
    )
    ET.fromstring(text)
    assert len(text) < 3000 + 130 * count


def test_heights_are_proportional_to_shares():
    text = marginal_chart(
        title="t",
        labels=["a", "b"],
        synthetic=[0.2, 0.4],
        noisy=[0.2, 0.4],
        errors=[0.0, 0.0],
        ordered=0,
    )
    path = ET.fromstring(text).find("path[@class='syn']").get("d")
    tops = [float(part.split("h")[0].split(" ")[1]) for part in path.split("M")[1:]]
    base = float(path.split("V")[1].split("h")[0])
    assert (base - tops[1]) / (base - tops[0]) == pytest.approx(2.0, rel=0.01)


def test_heat_map_leaves_unknown_pairs_empty():
    root = ET.fromstring(heat_map(title="t", names=["a", HOSTILE], values=[[1.0, None], [0.3, 1]]))
    assert root.find("path[@class='unknown']").get("d").count("z") == 1
    assert root.find("path[@class='heat-3']").get("d").count("z") == 1
    assert root.find("path[@class='heat-9']").get("d").count("z") == 2


def test_heat_map_of_sixty_columns_is_small():
    names = [f"column_{k}" for k in range(60)]
    text = heat_map(title="t", names=names, values=[[0.5] * 60 for _ in names])
    ET.fromstring(text)
    assert len(text) < 200_000


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.0], [-3.0, 5.0], [1e-9, 2e-9], [1e9, 1.0]])
def test_curves_of_any_scale_lie_inside_the_chart(values):
    text = curve_chart(title="t", x_label="round", series=[("s", [(1, values[0]), (2, values[1])])])
    line = ET.fromstring(text).find("path[@class='line line-0']").get("d")
    for point in line[1:].split("L"):
        x, y = map(float, point.split(" "))
        assert 0 <= x <= 360 and 0 <= y <= 190


def test_budget_bars_are_proportional_to_epsilon():
    root = ET.fromstring(budget_bars([("north", 1.0, 4.0), (HOSTILE, 2.0, 4.0)]))
    widths = [float(rect.get("width")) for rect in root.findall("rect[@class='this']")]
    assert widths[1] / widths[0] == pytest.approx(2.0, rel=0.01)


def test_budget_bars_write_the_names_of_institutions_out():
    root = ET.fromstring(budget_bars([("georgetown-county-hospital", 1.0, 4.0), ("b", 1.0, 4.0)]))
    label = root.find("text[@class='site']")
    assert label.text == "georgetown-county-hospital"
    amount = root.find("text[@class='amount']")
    assert label.get("text-anchor") is None and amount.get("text-anchor") == "end"
    ends = float(label.get("x")) + 6.5 * len(label.text)
    assert ends < float(amount.get("x")) - 6.5 * len(amount.text), "they would run into each other"
    assert float(amount.get("x")) <= float(root.get("width"))
    long = ET.fromstring(budget_bars([("x" * 64, 1.0, 4.0)])).find("text[@class='site']")
    assert len(long.text) == 32 and long.text.endswith("…")
