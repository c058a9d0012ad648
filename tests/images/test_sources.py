"""A site's images: three ways to keep them, and what is refused."""

from __future__ import annotations

import struct
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fedloom.client.image_check import check_images
from fedloom.client.sources.images import load_images
from fedloom.common.errors import DataError, SchemaError
from fedloom.common.images.coder import PIXELS, ImageCoder
from fedloom.common.schema import Schema
from tests.images.conftest import AGE, SCHEMA


@pytest.fixture
def few(digits):
    return digits["image"][:12], digits["digit"][:12]


def save_npz(folder, images, labels):
    path = folder / "records.npz"
    np.savez(path, image=images, digit=labels)
    return path


def save_npy(folder, images, labels):
    path = folder / "records.npy"
    np.save(path, images)
    pd.DataFrame({"digit": labels}).to_csv(folder / "records.csv", index=False)
    return path


def save_folder(folder, images, labels):
    path = folder / "pictures"
    path.mkdir()
    names = [f"scan {number}.png" for number in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(path / name)
    pd.DataFrame({"file": names, "digit": labels}).to_csv(path / "list.csv", index=False)
    return path


def save_classes(folder, images, labels):
    path = folder / "classes"
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (path / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path / label / f"{number}.png")
    return path


def pairs(labels, images):
    return {(label, image.tobytes()) for label, image in zip(labels, images, strict=True)}


@pytest.mark.parametrize("save", [save_npz, save_npy, save_folder, save_classes])
def test_records_are_the_same_however_they_are_kept(tmp_path, schema, few, save):
    images, labels = few
    frame = load_images(save(tmp_path, images, labels), schema)
    assert sorted(frame["digit"]) == sorted(labels)
    assert pairs(frame["digit"], frame["image"]) == pairs(labels, images)
    assert check_images(frame, schema).fits
    coded = ImageCoder(schema, "digit").coded(frame)
    assert coded.features[PIXELS].shape == (12, 8, 8, 1)
    assert coded.classes.tolist() == [int(label) for label in frame["digit"]]


def test_colour_and_further_columns_are_read(tmp_path):
    path = tmp_path / "schema.toml"
    path.write_text(SCHEMA.replace("width = 8", "width = 9\nchannels = 3") + AGE)
    schema = Schema.load(path)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 9, 3), dtype=np.uint8)
    save = tmp_path / "records.npz"
    np.savez(save, image=images, digit=np.array(list("01234")), age=np.arange(5), other=np.ones(5))
    frame = load_images(save, schema)
    assert list(frame.columns) == ["digit", "age", "image"]
    coded = ImageCoder(schema, "digit").coded(frame)
    np.testing.assert_array_equal(coded.features[PIXELS], images)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda images: images.astype(np.float32), "uint8"),
        (lambda images: images[:, :7], "shape"),
        (lambda images: images[:-1], "images"),
    ],
)
def test_images_of_another_type_shape_or_number_are_refused(tmp_path, schema, few, change, words):
    images, labels = few
    np.savez(tmp_path / "records.npz", image=change(images), digit=labels)
    with pytest.raises(DataError, match=words):
        load_images(tmp_path / "records.npz", schema)


def test_a_file_outside_the_folder_is_refused(tmp_path, schema, few):
    path = save_folder(tmp_path, *few)
    Image.fromarray(few[0][0]).save(tmp_path / "else.png")
    table = pd.read_csv(path / "list.csv").assign(file="../else.png")
    table.to_csv(path / "list.csv", index=False)
    with pytest.raises(DataError, match="folder"):
        load_images(path, schema)


def test_what_is_no_image_is_refused(tmp_path, schema, few):
    path = save_folder(tmp_path, *few)
    (path / "scan 3.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"scan 3\.png"):
        load_images(path, schema)


@pytest.mark.parametrize("mode", ["I;16", "RGB", "RGBA", "P", "LA", "1"])
def test_a_picture_of_another_mode_is_refused_and_never_converted(tmp_path, schema, few, mode):
    path = save_folder(tmp_path, *few)
    Image.new(mode, (8, 8)).save(path / "scan 3.png")
    with pytest.raises(DataError, match=r"scan 3\.png.* mode " + mode) as refused:
        load_images(path, schema)
    assert refused.value.exit_code == 2


def test_a_grey_picture_is_refused_where_the_schema_says_colour(tmp_path, few):
    (tmp_path / "schema.toml").write_text(SCHEMA.replace("width = 8", "width = 8\nchannels = 3"))
    with pytest.raises(DataError, match="RGB"):
        load_images(save_folder(tmp_path, *few), Schema.load(tmp_path / "schema.toml"))


def test_a_picture_with_a_transparent_value_is_refused(tmp_path, schema, few):
    path = save_folder(tmp_path, *few)
    Image.new("L", (8, 8)).save(path / "scan 3.png", transparency=0)
    with pytest.raises(DataError, match="transparency"):
        load_images(path, schema)


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def test_colour_of_sixteen_bits_is_refused_though_it_opens_as_rgb(tmp_path, few):
    (tmp_path / "schema.toml").write_text(SCHEMA.replace("width = 8", "width = 8\nchannels = 3"))
    path = save_folder(tmp_path, *few)
    rows = (b"\0" + bytes(8 * 3 * 2)) * 8
    picture = path / "scan 0.png"
    picture.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    with Image.open(picture) as opened:
        assert opened.mode == "RGB"
    with pytest.raises(DataError, match="16 bits"):
        load_images(path, Schema.load(tmp_path / "schema.toml"))


@pytest.mark.parametrize("kept", ["records.npy", "records.npz"])
@pytest.mark.parametrize("length", [0, 100])
def test_an_empty_or_cut_file_of_arrays_is_refused(tmp_path, schema, few, kept, length):
    save_npz(tmp_path, *few), save_npy(tmp_path, *few)
    path = tmp_path / kept
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=kept) as refused:
        load_images(path, schema)
    assert refused.value.exit_code == 2


def test_a_damaged_member_of_an_npz_is_refused(tmp_path, schema, few):
    path = tmp_path / "records.npz"
    np.savez_compressed(path, image=few[0], digit=few[1])
    held = bytearray(path.read_bytes())
    held[100:200] = b"\xff" * 100
    path.write_bytes(held)
    with pytest.raises(DataError):
        load_images(path, schema)


def test_an_empty_member_of_an_npz_is_refused(tmp_path, schema):
    path = tmp_path / "records.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"")
    with pytest.raises(DataError):
        load_images(path, schema)


def test_a_picture_that_claims_too_many_pixels_is_refused(tmp_path, schema, few):
    path = save_folder(tmp_path, *few)
    (path / "scan 3.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0"))
    )
    with pytest.raises(DataError, match=r"scan 3\.png") as refused:
        load_images(path, schema)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("order", [lambda images: images[::-1, ::-1], np.asfortranarray])
def test_images_of_any_order_in_memory_are_read_as_they_look(tmp_path, schema, few, order):
    images = order(few[0])
    frame = load_images(save_npz(tmp_path, images, few[1]), schema)
    assert pairs(frame["digit"], frame["image"]) == pairs(few[1], images)


@pytest.mark.parametrize("kind", ["int8", "uint16", "bool"])
def test_an_npz_of_another_type_of_values_is_refused(tmp_path, schema, few, kind):
    with pytest.raises(DataError, match="uint8"):
        load_images(save_npz(tmp_path, few[0].astype(kind), few[1]), schema)


def test_a_column_of_objects_in_an_npz_is_not_opened(tmp_path, schema, few):
    with pytest.raises(DataError):
        load_images(save_npz(tmp_path, few[0], few[1].astype(object)), schema)


def test_a_pickle_in_an_npz_is_not_opened(tmp_path, schema):
    np.savez(tmp_path / "records.npz", image=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError):
        load_images(tmp_path / "records.npz", schema)


def test_what_fits_no_schema_counts_as_a_dark_image_once_a_study_runs(schema, few):
    images, labels = few
    frame = pd.DataFrame({"digit": labels, "image": list(images[..., None])})
    frame.at[3, "image"] = None
    coded = ImageCoder(schema, "digit").coded(frame)
    assert not coded.features[PIXELS][3].any() and coded.unknown["image"] == 1
    assert not check_images(frame, schema).fits


@pytest.mark.parametrize(
    "text",
    [
        SCHEMA.replace("height = 8", "height = 7"),
        SCHEMA.replace("height = 8", "height = 65"),
        SCHEMA.replace("width = 8", "width = 8\nchannels = 2"),
        SCHEMA.replace("width = 8", "width = 8\ndepth = 3"),
    ],
)
def test_a_section_that_no_image_fits_is_refused(tmp_path, text):
    (tmp_path / "schema.toml").write_text(text)
    with pytest.raises(SchemaError):
        Schema.load(tmp_path / "schema.toml")


def test_a_column_called_image_is_refused(tmp_path):
    (tmp_path / "schema.toml").write_text(SCHEMA.replace("digit", "image"))
    with pytest.raises(SchemaError):
        ImageCoder(Schema.load(tmp_path / "schema.toml"), "image")
