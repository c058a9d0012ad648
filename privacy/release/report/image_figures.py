"""A report's figures of records with images: contact sheets, then their columns as of a table."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from fedloom.common.marginals import NoisyMarginals
from fedloom.common.records.image import IMAGE
from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.privacy.release.render import render
from fedloom.privacy.release.report.sheets import contact_sheets
from fedloom.privacy.release.report.table_figures import table_figures
from fedloom.privacy.release.report.vote_sheets import vote_sheets

__all__ = ["image_figures"]


def image_figures(frame: pd.DataFrame, statistics: NoisyMarginals, *, secure: bool) -> Markup:
    """Returns sheets of synthetic images by class, and the comparison of the columns.

    Args:
      frame: the synthetic records.
      statistics: the noisy sums over sites.
      secure: whether the coordinator saw sums over sites alone.
    """
    encoding, columns = statistics.encoding, frame.drop(columns=[IMAGE])
    classes = encoding.classes(encoding.encode(columns).codes)
    labels = [encoding.class_labels[label] for label in classes]
    sheets = contact_sheets(list(frame[IMAGE]), labels)
    figures = render(
        "image_figures.html",
        sheets=sheets,
        votes=vote_sheets(statistics) if isinstance(statistics, NoisyImages) else [],
        columns=table_figures(columns, statistics, secure=secure),
    )
    return Markup(figures)
