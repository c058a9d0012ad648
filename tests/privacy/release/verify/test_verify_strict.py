"""What no format knows, what can be read in two ways and what would never end: all are refused."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedloom.common.digest import canonical_json
from fedloom.common.typed import plain
from fedloom.privacy.keys import public_key_hex, sign
from fedloom.privacy.release.manifest import list_files
from tests.tampering import failed, manifest_of, sign_again, verify

PARQUET = "data/synthetic.parquet"


def last_line(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Verifies for people, and returns the last line of the error."""
    capsys.readouterr()
    assert verify(folder) == 4
    return capsys.readouterr().err.rstrip("\n").splitlines()[-1]


def write_parquet(built: Any, table: pa.Table, **options: Any) -> None:
    pq.write_table(table, built.release / PARQUET, **{"compression": "NONE", **options})


@pytest.mark.parametrize("name", ["data/original_records.csv", "notes.md", "ledger/../x", "a/b/c"])
def test_a_signed_file_that_no_format_knows_is_refused(built, capsys, name):
    path = built.release / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("id,name\n1,Ada\n", "utf-8")
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release, "--key", built.public_key) == {"files"}
    line = last_line(capsys, built.release)
    assert "'files'" in line and Path(name).name in line and "no format knows it" in line


def test_a_file_that_the_manifest_leaves_out_altogether_is_missed(built, capsys):
    (built.release / "codebook.md").unlink()
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"files"}


def test_a_release_signed_by_another_than_the_plan_s_coordinator_is_refused(built, capsys):
    stranger = Ed25519PrivateKey.generate()
    public_key = public_key_hex(stranger)
    sign_again(built.release, stranger)
    assert failed(capsys, built.release, "--key", public_key) == {"publisher"}


def test_a_manifest_that_lists_a_path_twice_is_refused(built, capsys):
    manifest = manifest_of(built.release)
    wrong = {**manifest["files"][0], "sha256": "0" * 64}
    data = canonical_json({**manifest, "files": [wrong, *manifest["files"]]})
    (built.release / "manifest.json").write_bytes(data)
    signature = sign(built.coordinator, b"fedloom release manifest\n" + data)
    (built.release / "manifest.sig").write_text(signature + "\n", "ascii")
    assert failed(capsys, built.release) == {"manifest"}


def test_a_key_twice_in_the_generator_s_config_is_refused(built, capsys):
    path = built.release / "generator" / "config.json"
    path.write_text('{"kind":"vae",' + path.read_text("utf-8").lstrip()[1:], "utf-8")
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"generator"}


@pytest.mark.parametrize("what", ["text", "twice"])
def test_arrays_with_free_text_or_a_name_twice_are_refused(built, capsys, what):
    path = built.release / "generator" / "model.safetensors"
    if what == "text":
        arrays = safetensors.numpy.load_file(path)
        safetensors.numpy.save_file(arrays, path, metadata={"records": "1,Ada"})
    else:
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = data[8 : 8 + length].rstrip()
        first = json.dumps(next(iter(json.loads(header).items()))[0])
        header = (
            b'{%s:{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' % first.encode() + header[1:]
        )
        path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"generator"}


@pytest.fixture
def endless(built) -> int:
    """Puts five million equal rows into the Parquet file, in a few kilobytes."""
    frame = pd.read_parquet(built.release / PARQUET).iloc[:1]
    row = pa.Table.from_pandas(frame, preserve_index=False)
    many = row.take(pa.array(np.zeros(1_000_000, dtype=np.int64)))
    with pq.ParquetWriter(built.release / PARQUET, row.schema, compression="NONE") as writer:
        for _ in range(5):
            writer.write_table(many)
    assert (built.release / PARQUET).stat().st_size < 500_000
    return 5_000_000


def test_parquet_with_more_rows_than_stated_is_refused_unread(built, capsys, endless, monkeypatch):
    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("the rows must not be read")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", read)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"data"}
    assert f"{endless:,} rows" in last_line(capsys, built.release)


def test_rows_that_the_csv_does_not_have_are_not_read_either(built, capsys, endless, monkeypatch):
    pieces = []
    read = pq.ParquetFile.iter_batches

    def counted(self: Any, **options: Any) -> Any:
        for batch in read(self, **options):
            pieces.append(len(batch))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    sign_again(built.release, built.coordinator, rows=endless)
    assert "data" in failed(capsys, built.release)
    assert sum(pieces) < 300_000


def long_texts(rows: int) -> pa.Array:
    """Texts that are a megabyte in the file, and one a row when they are repeated."""
    return pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int32), ["x" * 1_000_000])


@pytest.mark.parametrize(
    "broken, words",
    [
        (lambda t: (t, {"compression": "GZIP"}), "compressed"),
        (lambda t: (t.replace_schema_metadata({"records": "1,Ada"}), {}), "footer"),
        (lambda t: (t.rename_columns([*t.column_names[:-1], "ssn"]), {}), "columns"),
        (lambda t: (t.append_column("ssn", t.column(0)), {}), "columns"),
        (lambda t: (t.set_column(0, "age", t.column(0).cast(pa.float64())), {}), "its type"),
        (
            lambda t: (t.set_column(1, "sex", long_texts(len(t))), {"store_schema": False}),
            "no value that the schema knows",
        ),
    ],
)
def test_parquet_of_another_form_is_refused(built, capsys, broken, words):
    table, options = broken(pq.read_table(built.release / PARQUET))
    write_parquet(built, table, **options)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"data"}
    assert words in last_line(capsys, built.release)


def test_parquet_written_otherwise_but_equal_is_no_problem(built, capsys):
    """The twin of those above: several row groups and no dictionary hold the same rows."""
    table = pq.read_table(built.release / PARQUET)
    write_parquet(built, table, row_group_size=100, use_dictionary=False)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == set()


@pytest.mark.parametrize("column, value", [("income", "12.000000001"), ("seen", "2020-03-01")])
def test_a_value_of_the_csv_that_differs_within_its_bin_is_seen(built, capsys, column, value):
    path = built.release / "data" / "synthetic.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[7, column] = value
    frame.to_csv(path, index=False, lineterminator="\n")
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"data"}


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "data/.DS_Store", "Thumbs.db", "desktop.ini", "data/._synthetic.csv", "~$x.csv"],
)
def test_what_file_managers_leave_is_named_as_harmless_with_what_to_do(built, capsys, name):
    (built.release / name).write_bytes(b"\0\0\0\1Bud1")
    assert failed(capsys, built.release) == {"files"}
    line = last_line(capsys, built.release)
    assert "harmless" in line and f": {name} was added" in line and "delete it" in line
    (built.release / name).unlink()
    assert failed(capsys, built.release) == set()


def test_clutter_does_not_hide_a_file_that_is_worse(built, capsys):
    (built.release / ".DS_Store").write_bytes(b"\0")
    (built.release / "README.md").write_text("other", "utf-8")
    line = last_line(capsys, built.release)
    assert ": README.md was changed" in line and "fetch the release again" in line


def test_clutter_that_is_signed_is_no_part_of_a_release(built, capsys):
    (built.release / ".DS_Store").write_bytes(b"\0")
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"files"}
    assert "no format knows it" in last_line(capsys, built.release)


def test_json_names_file_and_remedy_of_what_failed(built, capsys):
    (built.release / "Thumbs.db").write_bytes(b"\0")
    capsys.readouterr()
    assert verify(built.release, "--json") == 4
    result = json.loads(capsys.readouterr().out)
    check = next(check for check in result["checks"] if check["ok"] is False)
    assert (check["name"], check["file"]) == ("files", "Thumbs.db")
    assert "delete it" in check["remedy"] and check["remedy"] in result["failure"]
    assert all(c["file"] is None for c in result["checks"] if c["ok"] is not False)


@pytest.mark.parametrize("name", ["plan.json", "manifest.json", "manifest.sig", "README.md", "new"])
def test_a_pipe_is_refused_and_not_waited_for(built, capsys, name):
    (built.release / name).unlink(missing_ok=True)
    os.mkfifo(built.release / name)
    check = "manifest" if name.startswith("manifest") else "files"
    assert failed(capsys, built.release) == {check}
    (built.release / name).unlink()


@pytest.mark.parametrize("name", ["manifest.json", "generator/model.safetensors", "data"])
def test_a_link_to_what_never_ends_is_not_followed(built, capsys, tmp_path, name):
    path = built.release / name
    if path.is_dir():
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.unlink()
        path.symlink_to("/dev/zero")
    check = "manifest" if name.startswith("manifest") else "files"
    assert failed(capsys, built.release) == {check}


def test_a_statement_beyond_the_largest_size_is_refused_unread(built, capsys):
    with (built.release / "dp_statement.json").open("r+b") as file:
        file.truncate((1 << 26) + 1)
    manifest = manifest_of(built.release)
    entries = {entry["path"]: entry for entry in plain(list_files(built.release))}
    assert manifest["files"] != list(entries.values())
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) >= {"files", "statement"}
