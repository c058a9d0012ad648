"""Reads the first frame of a DICOM file as a grey image of the schema's size.

All that turns stored numbers into levels is public or stands in the file itself: the file's own
slope and intercept give values of the modality (Hounsfield units for CT; PS3.3, C.11.1), the
schema's window says which of them are black and white, and a mean over areas brings the picture to
the schema's size. A window that a scanner or a reader left in the file is not used: it would make
the levels of two sites mean two things.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import DataError
from fedloom.common.records.image import ImageSettings

__all__ = ["DICOM", "read_dicom"]

Array = NDArray[Any]

DICOM = ".dcm"
# Whether the smallest value is black; colour is another photometric interpretation.
_BLACK_FIRST = {"MONOCHROME1": False, "MONOCHROME2": True}


def read_dicom(path: Path, settings: ImageSettings) -> Array:
    """Returns an image (height, width, 1) uint8.

    Args:
      path: of the file.
      settings: the schema's size and window.

    Raises:
      DataError: pydicom is missing, the schema has no window, or the file is no grey picture.
    """
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
        from pydicom.pixels.processing import apply_rescale
    except ImportError:
        raise DataError(
            f"{path}: DICOM is read with pydicom; install it: pip install 'fedloom[dicom]'"
        ) from None
    if settings.window is None or settings.channels != 1:
        raise DataError(
            f"{path}: DICOM needs channels = 1 and a window in the schema's [image], the values "
            "that are black and white, such as window = [-1000, 400] for lungs in CT; agree on one"
        )
    try:
        data = dcmread(path)
        kind = str(data.PhotometricInterpretation)
        if kind not in _BLACK_FIRST:
            raise DataError(f"{path}: is {kind}; only MONOCHROME1 and MONOCHROME2 are read")
        values = np.asarray(apply_rescale(data.pixel_array, data), dtype=np.float64)
    except (OSError, InvalidDicomError, AttributeError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: cannot be read as DICOM: {error}") from None
    except RuntimeError as error:  # no decoder for its compression
        raise DataError(f"{path}: cannot be decoded: {error}; write it uncompressed") from None
    frame = values[0] if values.ndim == 3 else values
    low, high = settings.window
    light = np.clip((frame - low) / (high - low), 0.0, 1.0)
    if not _BLACK_FIRST[kind]:
        light = 1.0 - light
    light = _means(settings.height, light.shape[0]) @ light
    light = light @ _means(settings.width, light.shape[1]).T
    levels: Array = np.rint(np.clip(light, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels[..., None]


def _means(places: int, size: int) -> Array:
    """Returns the weights (places, size) that make means over equal parts of a line.

    >>> _means(2, 3).round(3).tolist()
    [[0.667, 0.333, 0.0], [0.0, 0.333, 0.667]]
    """
    edges = np.arange(places + 1) * (size / places)
    cells = np.arange(size)
    shared = np.minimum(edges[1:, None], cells + 1.0) - np.maximum(edges[:-1, None], cells)
    weights: Array = np.maximum(shared, 0.0) * (places / size)
    return weights
