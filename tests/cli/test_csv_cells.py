"""CSV files cell by cell: what is replaced is replaced, every other byte stays."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.cli.csv_cells import CsvCells
from fedloom.client.sources import Source
from fedloom.common.errors import DataError

cells = st.text(st.sampled_from('ab ,"\n\t1é'), max_size=4)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(cells, min_size=width, max_size=width).filter(any), min_size=1, max_size=5
    )
)


def written(rows, separator, end, quoting):
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator=end, quoting=quoting).writerows(rows)
    return stream.getvalue()


@settings(max_examples=150, deadline=None)
@given(
    rows=tables,
    ending=st.sampled_from(["csv", "tsv"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    last=st.booleans(),
    data=st.data(),
)
def test_a_reader_sees_the_replaced_cells_and_the_others_as_before(
    tmp_path_factory, rows, ending, end, quoting, last, data
):
    separator = {"csv": ",", "tsv": "\t"}[ending]
    rows = [[f"c{i}" for i in range(len(rows[0]))], *rows]
    text = written(rows, separator, end, quoting)
    text = text if last else text.removesuffix(end)
    path = tmp_path_factory.mktemp("csv") / f"table.{ending}"
    path.write_bytes(text.encode())
    table = CsvCells(Source(path=path))
    assert table.names == rows[0] and table.num_rows == len(rows) - 1
    assert table.replaced({}) == text.encode()
    row, place = (
        data.draw(st.integers(0, len(rows) - 2)),
        data.draw(st.integers(0, len(rows[0]) - 1)),
    )
    changed = data.draw(cells.filter(bool))
    after = table.replaced({row: {place: changed}}).decode()
    rows[row + 1][place] = changed
    assert list(csv.reader(io.StringIO(after, newline=""), delimiter=separator)) == rows


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n\xff,1\n")
    with pytest.raises(DataError, match="save it as UTF-8"):
        CsvCells(Source(path=path))
