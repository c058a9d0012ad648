"""Tables written chunk by chunk: whole or absent, and the same as in one piece."""

from __future__ import annotations

import pandas as pd
import pytest

from fedloom.cli.table_file import write_chunks, write_csv, writer_of
from fedloom.common.errors import ConfigError
from fedloom.common.records.table import TABLE

CHUNKS = [
    pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "t": ["a", 'b,"c']}),
    pd.DataFrame({"n": pd.array([3, 4], dtype="Int64"), "t": [None, None]}).astype({"t": "str"}),
]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_chunks_are_one_table(tmp_path, ending):
    path, whole = tmp_path / f"rows.{ending}", tmp_path / f"whole.{ending}"
    path.write_text("what was there before")
    assert write_chunks(iter(CHUNKS), path, writer_of(path, TABLE)) == 4
    frame = pd.concat(CHUNKS, ignore_index=True)
    if ending == "csv":
        frame.to_csv(whole, index=False, lineterminator="\n")
        assert path.read_bytes() == whole.read_bytes()
    else:
        frame.to_parquet(whole, index=False)
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(whole))
    assert {p.name for p in tmp_path.iterdir()} == {path.name, whole.name}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_draw_that_fails_leaves_nothing_behind(tmp_path, ending):
    def chunks():
        yield CHUNKS[0]
        raise ConfigError("too rare")

    with pytest.raises(ConfigError, match="too rare"):
        path = tmp_path / f"rows.{ending}"
        write_chunks(chunks(), path, writer_of(path, TABLE))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        writer_of(tmp_path / "rows.xlsx", TABLE)
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        write_chunks(CHUNKS, tmp_path / "nowhere" / "rows.csv", write_csv)
