"""Nights of features, scores and lists that are alike, or of which one thing has moved."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from jobs import adjust
from jobs.runtime.args import JobArgs
from jobs.tables import contracts
from jobs.tables.lake import Lake
from jobs.tables.schema import Table
from tests import small_night

USERS, ITEMS = 400, 300
FIGURES = {
    "users": (4.0, None, None),
    "list_rows": (8.0, None, None),
    "identified_share": (0.6, None, None),
    "average_effect": (0.02, 0.01, 0.03),
}


def _table(table: Table, rows: int, seed: int, **given: Any) -> pa.Table:
    """Rows whose every other number is drawn anew each night from the same distribution."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for name, kind in table.columns.items():
        zero: Any = {"string": "x", "bool": False, "int32": 0, "int64": 0}.get(kind.rstrip("?"))
        columns[name] = given.get(name, rng.gamma(2.0, 2.0, rows) + 1.0 if zero is None else [zero] * rows)
    return pa.Table.from_pandas(pd.DataFrame(columns), schema=table.arrow_schema, preserve_index=False)


def write(
    job: JobArgs, day: date, effect: float = 0.0, state: str = "published", figures: dict[str, Any] | None = None
) -> JobArgs:
    """A night up to ``adjust``; ``effect`` is added to all effects, ``state`` is what became of its lists."""
    job, seed = replace(job, date=day), day.toordinal()
    version = f"{seed:08x}"
    small_night.write(job, version, day)
    lake, rng = Lake(job), np.random.default_rng(seed)
    people, things = [f"u{n}" for n in range(USERS)], [f"i{n}" for n in range(ITEMS)]
    both = [day - timedelta(days=7)] * USERS + [day] * USERS
    features = {"user_tenure_days": rng.normal(300.0 + seed % 1000, 1.0, 2 * USERS)}
    days = {name: np.full(2 * USERS, 5.0) for name in contracts.USER_FEATURES if "active" in name or "outcomes" in name}
    users = dict(user_id=people * 2, as_of=both, **features, **days)
    counts = {name: np.full(ITEMS, 5.0) for name in contracts.ITEM_FEATURES if "outcomes" in name or "buyers" in name}
    items = dict(item_id=things, as_of=[day] * ITEMS, item_shown_users_28d=np.full(ITEMS, 0.5), **counts)
    items["item_sentiment"] = np.full(ITEMS, np.nan)
    pairs = dict(user_id=people * 2, as_of=both)
    drawn = rng.normal(0.02, 0.01, USERS)
    scores = dict(user_id=people, relevance=rng.beta(2.0, 20.0, USERS), effect=drawn + effect)
    given = (
        (contracts.USER_FEATURE_TABLE, 2 * USERS, users),
        (contracts.ITEM_FEATURE_TABLE, ITEMS, items),
        (contracts.CANDIDATES, 2 * USERS, pairs),
        (contracts.SCORES, USERS, scores),
    )
    for table, rows, values in given:
        lake.write_arrow(table, _table(table, rows, seed, **values))
    always = dict.fromkeys(("available_from", "available_until"), [None] * ITEMS)
    lake.write_arrow(contracts.ITEMS, _table(contracts.ITEMS, ITEMS, seed, item_id=things, **always))
    lake.write_arrow(contracts.USERS, pa.table({"user_id": [f"u{n}" for n in range(4)]}))
    metrics = small_night.beside(FIGURES | (figures or {}))[contracts.RUN_METRICS.name]
    lake.write_arrow(contracts.RUN_METRICS, metrics)
    adjust.compare_nights(job, lake)
    lake.write_json("published", {"state": state, "version_id": version})
    return job
