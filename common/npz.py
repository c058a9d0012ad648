"""Writes arrays as an .npz file, the same under every version of NumPy that is admitted.

`numpy.savez` takes arrays by keyword, so one called `file` cannot be written, and whether
`allow_pickle` is an option or one more array follows from NumPy's version.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

__all__ = ["npz_bytes"]


def npz_bytes(arrays: Mapping[str, NDArray[Any]], *, compressed: bool) -> bytes:
    """Returns the bytes of an .npz file; nothing in it needs pickle.

    Args:
      arrays: by name.
      compressed: deflated, or stored as they are.

    Raises:
      ValueError: an array holds Python objects.
    """
    stream = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, np.asanyarray(array), allow_pickle=False)
    return stream.getvalue()
