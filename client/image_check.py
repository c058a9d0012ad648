"""Holds a site's records with images against the schema, for the steward's eyes alone."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from fedloom.client.data_check import Report, check
from fedloom.common.images.coder import fitting, image_settings
from fedloom.common.records.image import IMAGE
from fedloom.common.schema import Schema

__all__ = ["check_images"]


def check_images(
    private_frame: pd.DataFrame,
    schema: Schema,
    *,
    where: str = "the table",
    id_column: str | None = None,
) -> Report:
    """Compares records with their schema.

    Args:
      private_frame: as it was loaded.
      schema: the public schema, with images.
      where: name of the source, for messages.
      id_column: column of the persons' ids, if there is one.
    """
    report = check(private_frame.drop(columns=[IMAGE]), schema, where=where, id_column=id_column)
    shape = image_settings(schema).shape
    pixels = (shape.height, shape.width, shape.channels)
    wrong = sum(not fitting(cell, pixels) for cell in private_frame[IMAGE])
    if not wrong:
        return report
    problem = f"{where}: {wrong} of {report.records} images are not {pixels} of uint8"
    return replace(report, problems=(*report.problems, problem))
