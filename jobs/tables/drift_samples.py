"""A sample of each night's features, scores and effects, small enough to keep, which later nights are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from jobs.models import drift
from jobs.runtime.args import JobArgs
from jobs.tables.contracts import (
    CANDIDATES,
    DRIFT_SAMPLES,
    ITEM_FEATURE_TABLE,
    ITEM_FEATURES,
    PAIR_FEATURES,
    RUN_METRICS,
    SCORES,
    USER_FEATURE_TABLE,
    USER_FEATURES,
)
from jobs.tables.lake import Lake
from jobs.tables.schema import Table

Columns = dict[str, NDArray[np.float32]]
ROWS = 10_000  # of each table: the PSI of two such samples is below 0.01 by chance
CLOCKS = ("user_tenure_days",)  # grow with the calendar: their distribution is meant to move
SOURCES: tuple[tuple[Table, Sequence[str]], ...] = (
    (USER_FEATURE_TABLE, USER_FEATURES),
    (ITEM_FEATURE_TABLE, ITEM_FEATURES),
    (CANDIDATES, PAIR_FEATURES),
    (SCORES, ("relevance", "effect")),
)


def take(args: JobArgs, lake: Lake) -> Columns:
    """Up to ROWS values of every column tonight, the same rows whenever the night is run."""
    found: Columns = {}
    for table, names in SOURCES:
        columns = [name for name in names if name not in CLOCKS]
        rows = _sample(lake, table, columns, args.date, args.site.seed)
        found |= {name: rows[name].to_numpy().astype(np.float32) for name in columns}
    return found | {"relevance": drift.smoothed(found["relevance"], args.site.seed).astype(np.float32)}


def _sample(lake: Lake, table: Table, columns: Sequence[str], day: date, seed: int) -> pa.Table:
    """Rows of tonight's partition (of its as-of day ``day``, where it has several), drawn without replacement."""
    source = ds.dataset(list(lake.history(table)[-1].files), filesystem=lake.fs, schema=table.arrow_schema)
    where = ds.field("as_of") == day if "as_of" in table.columns else None
    total = source.count_rows(filter=where)
    chosen = np.sort(np.random.default_rng(seed).permutation(total)[:ROWS])
    parts, seen = [], 0
    for batch in source.to_batches(columns=list(columns), filter=where, batch_readahead=2, fragment_readahead=1):
        mine = chosen[(chosen >= seen) & (chosen < seen + batch.num_rows)] - seen
        parts.append(batch.take(pa.array(mine)))
        seen += batch.num_rows
    return pa.Table.from_batches(parts)


def keep(lake: Lake, columns: Columns) -> None:
    """Write tonight's sample."""
    names = pa.array([name for name, values in columns.items() for _ in range(len(values))], pa.string())
    values = pa.array(np.concatenate(list(columns.values())), pa.float32(), from_pandas=True)
    lake.write_arrow(
        DRIFT_SAMPLES,
        pa.table([names, values], schema=DRIFT_SAMPLES.arrow_schema),
        inputs=[table for table, _ in SOURCES],
    )


def nights(args: JobArgs, lake: Lake) -> list[date]:
    """The last published nights that tonight is compared with, newest first; none on a site's first night."""
    how, there = args.site.drift, set(lake.dates(DRIFT_SAMPLES))
    days = [day for day, _ in lake.published_nights() if day in there and (how.since is None or day >= how.since)]
    return days[: how.nights]


def reference(args: JobArgs, days: Sequence[date]) -> Columns:
    """The samples of ``days`` together."""
    parts: dict[str, list[NDArray[np.float32]]] = {}
    for day in days:
        rows = Lake(replace(args, date=day)).read_arrow(DRIFT_SAMPLES)
        name = rows["column"].combine_chunks().dictionary_encode()
        values, codes = rows["value"].to_numpy(), name.indices.to_numpy()
        for code, column in enumerate(name.dictionary.to_pylist()):
            parts.setdefault(column, []).append(values[codes == code])
    return {column: np.concatenate(values) for column, values in parts.items()}


def figures(args: JobArgs, days: Sequence[date]) -> list[Mapping[str, dict[str, float | None]]]:
    """RUN_METRICS of each of ``days``, by metric."""
    tables = (Lake(replace(args, date=day)).read_arrow(RUN_METRICS).to_pylist() for day in days)
    return [{row["metric"]: {name: row[name] for name in ("value", "low", "high")} for row in rows} for rows in tables]
