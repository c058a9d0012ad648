"""One cell a record and block whatever the record holds, and codes that survive decoding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.encoding import Encoding
from fedloom.common.errors import DataError, SchemaError
from fedloom.common.schema import Column, Schema

NASTY = st.one_of(
    st.none(),
    st.sampled_from(["", "0", "1", "yes", "no", "north", "west", "inf", "nan", "2020-06-01", "x"]),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=True, allow_infinity=True),
    st.dates(),
    st.booleans(),
)
TARGETS = [None, "label", "town", "income", "health", "seen"]


def random_codes(encoding: Encoding, rows: int, seed: int) -> npt.NDArray[np.int32]:
    rng = np.random.default_rng(seed)
    cells = [rng.choice(np.flatnonzero(b.sampleable), size=rows) for b in encoding.blocks]
    return np.stack(cells, axis=1).astype(np.int32)


def gram(encoding: Encoding, frame: pd.DataFrame) -> npt.NDArray[np.int64]:
    """The class-wise Gram matrices, by the definition: sum of x x^T over one-hot rows."""
    codes = encoding.encode(frame).codes
    classes, features = encoding.classes(codes), encoding.feature_codes(codes)
    total = np.zeros((encoding.num_classes, encoding.width, encoding.width), dtype=np.int64)
    for row, label in zip(features, classes, strict=True):
        x = np.zeros(encoding.width, dtype=np.int64)
        for block, code in zip(encoding.features, row, strict=True):
            x[block.start + code] = 1
        total[label] += np.triu(np.outer(x, x))
    return total


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(TARGETS))
def test_any_added_record_changes_exactly_the_cells_that_are_paid_for(
    toy_schema: Schema, data: st.DataObject, target: str | None
) -> None:
    encoding = Encoding(toy_schema, target)
    rows = [[data.draw(NASTY) for _ in toy_schema.names] for _ in range(3)]
    frame = pd.DataFrame(rows, columns=list(toy_schema.names), dtype=object)
    before, after = gram(encoding, frame.iloc[:2]), gram(encoding, frame)
    m = len(encoding.features)
    change = after - before
    assert change.sum() == m * (m + 1) // 2
    assert set(np.unique(change)) <= {0, 1}
    assert np.count_nonzero(change.any(axis=(1, 2))) == 1


def test_a_record_in_two_cells_would_be_caught(toy_schema: Schema, toy_table: pd.DataFrame) -> None:
    """The twin: an encoding that also counts a missing value as a bin changes too many cells."""
    encoding = Encoding(toy_schema, "label")
    codes = encoding.encode(toy_table).codes
    x = np.zeros(encoding.width, dtype=np.int64)
    for block, code in zip(encoding.features, encoding.feature_codes(codes)[0], strict=True):
        x[block.start + code] = 1
    x[encoding.features[3].start : encoding.features[3].start + 2] = 1
    m = len(encoding.features)
    assert np.triu(np.outer(x, x)).sum() != m * (m + 1) // 2


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_encoding_one_record_depends_on_no_other(toy_schema: Schema, data: st.DataObject) -> None:
    encoding = Encoding(toy_schema, "label")
    codes = random_codes(encoding, 20, seed=3)
    others = encoding.decode(
        encoding.feature_codes(codes), encoding.classes(codes), np.random.default_rng(3)
    )
    row = [data.draw(NASTY) for _ in toy_schema.names]
    alone = pd.DataFrame([row], columns=list(toy_schema.names), dtype=object)
    among = pd.concat([others.astype(object), alone], ignore_index=True)
    assert (encoding.encode(alone).codes[0] == encoding.encode(among).codes[-1]).all()
    assert (encoding.encode(among).codes[:-1] == codes).all()


@pytest.mark.parametrize("target", TARGETS)
def test_codes_survive_decoding(toy_schema: Schema, target: str | None) -> None:
    encoding = Encoding(toy_schema, target)
    codes = random_codes(encoding, 2000, seed=5)
    classes = encoding.classes(codes)
    frame = encoding.decode(encoding.feature_codes(codes), classes, np.random.default_rng(5))
    assert list(frame.columns) == list(toy_schema.names)
    again = encoding.encode(frame)
    assert (again.codes == codes).all()
    assert not any(again.clamped.values()) and not any(again.unknown.values())
    text = frame.astype(object).where(frame.notna(), None).map(str, na_action="ignore")
    assert (encoding.encode(text).codes == codes).all()


def test_decoded_types_depend_on_no_record(toy_schema: Schema) -> None:
    encoding = Encoding(toy_schema, "label")
    codes = random_codes(encoding, 50, seed=2)
    dtypes = []
    for part in (codes, codes[:1], codes[:0]):
        rng = np.random.default_rng(0)
        frame = encoding.decode(encoding.feature_codes(part), encoding.classes(part), rng)
        dtypes.append(frame.dtypes.to_dict())
    assert dtypes[0] == dtypes[1] == dtypes[2]


def test_decoded_types(toy_schema: Schema, toy_table: pd.DataFrame) -> None:
    encoding = Encoding(toy_schema, "label")
    codes = encoding.encode(toy_table).codes
    rng = np.random.default_rng(0)
    frame = encoding.decode(encoding.feature_codes(codes), encoding.classes(codes), rng)
    assert str(frame["visits"].dtype) == "Int64"
    assert frame["income"].dtype == np.float64
    assert pd.api.types.is_datetime64_any_dtype(frame["seen"].dtype)
    assert pd.api.types.is_string_dtype(frame["town"].dtype)
    assert (frame["income"][toy_table["income"] == 0] == 0).all()
    assert (frame["visits"] == toy_table["visits"]).all()
    assert (frame["health"].isna() == toy_table["health"].isna()).all()
    assert set(frame["town"][toy_table["town"] == "west"]) == {"elsewhere"}


def test_misfits_are_clamped_or_go_to_other_and_are_counted(toy_schema: Schema) -> None:
    frame = pd.DataFrame(
        {
            "sex": ["0", "2", None],
            "visits": [-5, 999, None],
            "income": [1.0, 60_000.0, -1.0],
            "health": ["good", "50", ""],
            "seen": ["2019-01-01", "2021-01-01", "?"],
            "town": ["north", "west", "elsewhere"],
            "label": ["yes", "no", "no"],
        }
    )
    encoding = Encoding(toy_schema, "label")
    encoded = encoding.encode(frame)
    blocks = {block.name: block for block in encoding.blocks}
    label = {
        name: [block.labels[code] for code in encoded.codes[:, block.index]]
        for name, block in blocks.items()
    }
    assert label["sex"] == ["0", "(other)", "(other)"]
    assert label["visits"] == ["0", "20", "(other)"]
    assert label["income"][2] == "0"
    assert label["health"] == ["(other)", "40 to 60", "(other)"]
    assert label["seen"][0].startswith("2020-01-01") and label["seen"][2] == "(other)"
    assert label["town"] == ["north", "elsewhere", "elsewhere"]
    assert encoded.missing["sex"] == 1 and encoded.unknown["sex"] == 1
    assert encoded.clamped["visits"] == 2 and encoded.clamped["income"] == 2
    assert encoded.unknown["town"] == 1
    assert not blocks["sex"].sampleable[-1] and blocks["town"].sampleable[-1]


def test_features_leave_out_a_category_target_and_number_their_own_cells(
    toy_schema: Schema,
) -> None:
    encoding = Encoding(toy_schema, "sex")
    assert [block.name for block in encoding.features] == list(toy_schema.names)[1:]
    assert encoding.features[0].start == 0
    assert encoding.width == sum(block.size for block in encoding.features)
    assert encoding.class_labels == ("0", "1", "(other)")
    assert encoding.class_sampleable == (True, True, False)
    assert len(Encoding(toy_schema, None).features) == len(toy_schema.names)
    assert Encoding(toy_schema, None).num_classes == 1


def test_numeric_target_has_ten_classes_at_most_and_stays_a_feature() -> None:
    schema = Schema(
        (
            Column("age", "integer", minimum=0, maximum=120, nullable=True, special=(0,)),
            Column("x", "category", values=("a", "b")),
        )
    )
    encoding = Encoding(schema, "age")
    assert encoding.num_classes == 10 + 3
    assert len(encoding.features) == 2
    assert encoding.class_labels[0] == "1 to 12"
    assert encoding.class_labels[-3:] == ("0", "(missing)", "(other)")
    classes = np.repeat(np.arange(12), 50)
    rng = np.random.default_rng(1)
    frame = encoding.decode(np.zeros((600, 2), dtype=int), classes, rng)
    assert (encoding.classes(encoding.encode(frame).codes) == classes).all()


def test_what_cannot_be_encoded_is_refused(toy_schema: Schema, toy_table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no column 'town'"):
        Encoding(toy_schema).encode(toy_table.drop(columns="town"))
    with pytest.raises(SchemaError, match="no column 'nope'"):
        Encoding(toy_schema, "nope")
    with pytest.raises(SchemaError, match="needs others beside it"):
        Encoding(Schema((Column("c", "category", values=("a", "b")),)), "c")


def test_empty_table_is_encoded(toy_schema: Schema, toy_table: pd.DataFrame) -> None:
    encoding = Encoding(toy_schema, "label")
    codes = encoding.encode(toy_table.iloc[:0]).codes
    assert codes.shape == (0, 7)
    frame = encoding.decode(
        encoding.feature_codes(codes), encoding.classes(codes), np.random.default_rng(0)
    )
    assert frame.shape == (0, 7)


@pytest.mark.slow
def test_a_million_records_come_back_as_they_were(toy_schema: Schema) -> None:
    encoding = Encoding(toy_schema, "label")
    codes = random_codes(encoding, 1_000_000, seed=1)
    frame = encoding.decode(
        encoding.feature_codes(codes), encoding.classes(codes), np.random.default_rng(1)
    )
    assert (encoding.encode(frame).codes == codes).all()
