"""A text file as lines: what kind of file it is, in which encoding, and where it is damaged.

Two things are taken from the file itself because the file says them outright: that it is packed by
gzip, and the mark of UTF-8, UTF-16 or UTF-32 at its beginning. Everything else that does not fit is
an error with the number of the line.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fedloom.client.sources.options import remedy
from fedloom.common.errors import DataError

__all__ = ["codec_of", "lines_of", "refuse_other_kinds"]

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_HEAD_BYTES = 512
_AS_SHEET = "save the sheet as CSV, or as .xlsx and give that file"
_KINDS = (
    (
        b"\xd0\xcf\x11\xe0",
        "an Excel file of the old kind (.xls), or one with a password",
        _AS_SHEET,
    ),
    (b"PAR1", "a Parquet file", "give it the ending .parquet"),
    (b"ARROW1", "an Arrow file", "write it as Parquet or CSV"),
    (b"SQLite format 3\0", "an SQLite database", "give it by url and query"),
    (b"$FL", "an SPSS file", "export it as CSV"),
    (b"%PDF", "a PDF file", "export the table as CSV"),
    (b"BZh", "packed by bzip2", "unpack it, or pack it by gzip"),
    (b"\xfd7zXZ", "packed by xz", "unpack it, or pack it by gzip"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it, or pack it by gzip"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32", "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16", "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16", "utf-16-be"),
)
_MARK = "\ufeff"
_CONTROL = re.compile("[\0\x1b\x80-\x9f]")
_WINDOWS = bytes(range(0x80, 0xA0))  # letters and quotes in Windows' encodings, nothing in Latin-1


def lines_of(path: Path, encoding: str | None) -> Iterator[str]:
    """Yields the lines of a text file with their ends, as they are.

    Args:
      path: The file, plain or packed by gzip, whatever its name.
      encoding: What the source says; None is the file's mark, or UTF-8.

    Raises:
      DataError: it is another kind of file, damaged, or in another encoding.
    """
    refuse_other_kinds(path)
    codec = codec_of(path, encoding)
    number = 0
    try:
        with _opened(path) as stream, io.TextIOWrapper(stream, codec, newline="") as text:
            for number, line in enumerate(text, 1):
                found = _CONTROL.search(line)
                if found is not None:
                    raise _control(path, number, found.group(), codec)
                yield line.removeprefix(_MARK) if number == 1 else line
    except UnicodeError:
        raise _undecodable(path, codec, encoding) from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read after line {number}: {error}") from None


def refuse_other_kinds(path: Path) -> None:
    """Refuses a file that is no text, whatever its name says.

    Raises:
      DataError: says what kind of file it is.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith(_ZIP):
        what, what_to_do = _in_zip(path)
        raise DataError(f"{path}: {what}; {what_to_do}")
    for magic, what, what_to_do in _KINDS:
        if head.startswith(magic):
            raise DataError(f"{path}: is {what} and no text file; {what_to_do}")
    start = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<table", b"<?xml", b"<stata")):
        raise DataError(
            f"{path}: is a web page or XML, as some systems name .csv or .xls, and no text table; "
            f"open it in a spreadsheet and save it as .xlsx or CSV"
        )


def _in_zip(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        what = "begins as Excel files and zip archives do (PK), but cannot be opened as one"
        return what, "save the sheet again, as .xlsx or as CSV"
    if any(name.startswith("xl/") for name in names):
        return "is an Excel file, no text", "give it the ending .xlsx, or save the sheet as CSV"
    if "content.xml" in names:
        return "is an OpenDocument file (.ods), no text", "save it as .xlsx or CSV"
    return "is a zip archive, no text", "unpack it, or pack the table by gzip"


def _opened(path: Path) -> BinaryIO:
    stream = path.open("rb")
    packed = stream.read(2) == _GZIP
    stream.seek(0)
    if not packed:
        return stream
    stream.close()
    return gzip.open(path)  # type: ignore[return-value]


def codec_of(path: Path, encoding: str | None) -> str:
    """Returns how a file's bytes are decoded; a mark at its beginning becomes U+FEFF.

    Raises:
      DataError: the file's mark, or its bytes, contradict the encoding that is said.
    """
    try:
        with _opened(path) as stream:
            head = stream.read(4)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    for mark, family, codec in _MARKS:
        if head.startswith(mark):
            if encoding is not None and not encoding.startswith(family):
                raise DataError(
                    f'{path}: begins with the mark of {family.upper()}, but encoding = "{encoding}"'
                    " is said; leave encoding out"
                )
            return codec
    codec = encoding or "utf-8"
    if not codec.startswith("utf") and _is_utf8(path):
        raise DataError(
            f'{path}: encoding = "{encoding}" is said, but the file is in UTF-8: its letters would '
            'be read as pairs such as "Ã¤"; leave encoding out'
        )
    return codec


def _is_utf8(path: Path) -> bool:
    """Tells whether a file has letters beyond ASCII, and all are of UTF-8: never by accident."""
    decoder, beyond = codecs.getincrementaldecoder("utf-8")(), False
    try:
        with _opened(path) as stream:
            while part := stream.read(1 << 20):
                beyond |= not decoder.decode(part).isascii()
            decoder.decode(b"", final=True)
    except (UnicodeDecodeError, OSError, EOFError):
        return False
    return beyond


def _undecodable(path: Path, codec: str, encoding: str | None) -> DataError:
    """Finds the line that cannot be decoded, and says how other encodings would read it."""
    if codec != "utf-8":
        said = "its mark says" if encoding is None else f'encoding = "{encoding}" says'
        return DataError(
            f"{path}: is not in {codec}, as {said}; correct the encoding, or save it as UTF-8"
        )
    with _opened(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                if b"\0" in line:
                    break
                word = _word_around(line, error.start)
                other = "cp1252" if any(byte in _WINDOWS for byte in line) else "latin-1"
                return DataError(
                    f"{path}, line {number}: the byte {line[error.start]:#04x} is not UTF-8. If "
                    f'the text there reads "{word.decode(other, "replace")}", '
                    f"{remedy(encoding=other)}; otherwise name the encoding of the system that "
                    "wrote the file, or save it as UTF-8"
                )
    return DataError(f"{path}: is not in UTF-8; {remedy(encoding='utf-16')}")


def _word_around(line: bytes, place: int) -> bytes:
    start, end = place, place
    while start > 0 and (line[start - 1] >= 0x80 or chr(line[start - 1]).isalnum()):
        start -= 1
    while end < len(line) and (line[end] >= 0x80 or chr(line[end]).isalnum()):
        end += 1
    return line[start:end]


def _control(path: Path, number: int, mark: str, codec: str) -> DataError:
    if mark == "\0":
        hint = (
            f"if every second byte is zero, {remedy(encoding='utf-16-le')}; otherwise the file is "
            "damaged: write it again"
        )
    elif mark > "\x7f" and not codec.startswith("utf"):
        hint = f"such bytes are letters and quotes of Windows: {remedy(encoding='cp1252')}"
    else:
        hint = "take it out, or name the encoding of the system that wrote the file"
    return DataError(
        f"{path}, line {number}: holds the control character U+{ord(mark):04X}; {hint}"
    )
