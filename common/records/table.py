"""Records that are rows of a table: the schema's columns and nothing else."""

from __future__ import annotations

from typing import ClassVar

from fedloom.common.records.base import RecordKind, RecordSettings

__all__ = ["TABLE", "TableSettings"]


class TableSettings(RecordSettings, frozen=True, kw_only=True):
    """Nothing: a schema without a section of another kind describes a table."""

    kind: ClassVar[str] = "table"


TABLE = RecordKind(
    settings=TableSettings,
    only_columns=True,
    default_model="tree",
    coder="fedloom.common.encoding:Encoding",
    loader="fedloom.client.sources.table:load_table",
    check="fedloom.client.data_check:check",
    sampler="fedloom.common.sampling.draw:Sampler",
    distance="fedloom.server.metrics:distance_to_noisy_marginals",
    writers={
        ".csv": "fedloom.cli.table_file:write_csv",
        ".parquet": "fedloom.cli.table_file:write_parquet",
    },
    data="fedloom.privacy.release.table_files:TableFiles",
    figures="fedloom.privacy.release.report.table_figures:table_figures",
    evaluation="fedloom.common.scores:EvaluationQueries",
    positions="fedloom.common.positions:table_positions",
)
