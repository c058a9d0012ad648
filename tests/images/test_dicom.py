"""DICOM files of a site: what becomes of their numbers, and which are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from fedloom.client.sources.images import load_images
from fedloom.common.errors import DataError, SchemaError
from fedloom.common.schema import Schema
from tests.images.conftest import SCHEMA

WINDOWED = SCHEMA.replace("width = 8\n", "width = 8\nwindow = [-1000, 1000]\n")


def write(path: Path, stored: np.ndarray[Any, Any], **more: Any) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        data.NumberOfFrames = len(stored)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.RescaleSlope, data.RescaleIntercept = 2, -1000
    # A reader's own window, which would make levels differ between sites.
    data.WindowCenter, data.WindowWidth = 40, 80
    data.PixelData = stored.astype("<i2").tobytes()
    for name, value in more.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)


@pytest.fixture
def windowed(tmp_path: Path) -> Schema:
    (tmp_path / "schema.toml").write_text(WINDOWED)
    return Schema.load(tmp_path / "schema.toml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "site"
    path.mkdir()
    pd.DataFrame({"file": ["a.dcm"], "digit": ["3"]}).to_csv(path / "records.csv", index=False)
    return path


def image(folder: Path, schema: Schema) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = load_images(str(folder), schema)["image"][0]
    assert found.shape == (8, 8, 1) and found.dtype == np.uint8
    return found[..., 0]


def test_values_of_the_modality_are_seen_through_the_schema_s_window(folder, windowed):
    stored = np.zeros((8, 8), dtype=int)  # 2 * stored - 1000 is the value
    stored[0, :4] = [0, 500, 1000, 1500]
    stored[1, 0] = -200
    write(folder / "a.dcm", stored)
    found = image(folder, windowed)
    assert found[0, :4].tolist() == [0, 128, 255, 255]
    assert found[1, 0] == 0


def test_a_picture_is_brought_to_the_schema_s_size_by_means_over_areas(folder, windowed):
    stored = np.random.default_rng(0).integers(0, 1000, (24, 16))
    write(folder / "a.dcm", stored)
    blocks = stored.reshape(8, 3, 8, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(image(folder, windowed), np.rint(blocks / 1000 * 255))


def test_the_first_frame_is_read_and_inverted_greys_are_turned(folder, windowed):
    stored = np.stack([np.full((8, 8), 250), np.full((8, 8), 900)])
    write(folder / "a.dcm", stored)
    assert (image(folder, windowed) == 64).all()
    write(folder / "a.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    assert (image(folder, windowed) == 191).all()


def test_a_folder_for_each_value_may_hold_dicom(tmp_path, windowed):
    for value in ("1", "2"):
        (tmp_path / "site" / value).mkdir(parents=True)
        write(tmp_path / "site" / value / "x.dcm", np.full((8, 8), 100 * int(value)))
    frame = load_images(str(tmp_path / "site"), windowed)
    assert frame["digit"].tolist() == ["1", "2"]
    assert frame["image"][0].max() < frame["image"][1].min()


@pytest.mark.parametrize("more", [{"PhotometricInterpretation": "RGB"}, {"PixelData": b"\0" * 6}])
def test_what_is_no_grey_picture_is_refused(folder, windowed, more):
    write(folder / "a.dcm", np.zeros((8, 8)), **more)
    with pytest.raises(DataError):
        image(folder, windowed)


def test_what_is_no_dicom_is_refused(folder, windowed):
    (folder / "a.dcm").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError):
        image(folder, windowed)


def test_dicom_without_a_window_of_the_schema_is_refused(folder, schema):
    write(folder / "a.dcm", np.zeros((8, 8)))
    with pytest.raises(DataError, match="window"):
        image(folder, schema)


def test_a_site_without_pydicom_is_told_how_to_get_it(folder, windowed, monkeypatch):
    write(folder / "a.dcm", np.zeros((8, 8)))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"fedloom\[dicom\]"):
        image(folder, windowed)


@pytest.mark.parametrize("window", ["[5, 5]", "[5, 1]", "[1]", "[nan, 1]", "[1, inf]"])
def test_a_window_without_width_is_refused(tmp_path, window):
    (tmp_path / "schema.toml").write_text(WINDOWED.replace("[-1000, 1000]", window))
    with pytest.raises(SchemaError):
        Schema.load(tmp_path / "schema.toml")


def test_a_window_goes_with_the_schema_and_is_told_to_stewards(windowed):
    assert windowed.records.window == (-1000, 1000)
    assert "-1000 is black" in windowed.records.in_words()[0]
