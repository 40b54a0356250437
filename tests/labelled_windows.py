"""Labelled candidates of three windows in which one feature decides, in memory and as the lake of a night has them."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from jobs.models import ranker
from jobs.runtime.args import JobArgs
from jobs.runtime.site import Outcome, Ranker, Ranking, Site, Tuning
from jobs.tables.contracts import (
    CANDIDATES,
    ITEM_VECTORS,
    ITEMS,
    LISTED,
    PAIR_COUNTS,
    PAIR_DAYS,
    SHOWN_POSITION,
    SOURCES,
)
from jobs.tables.lake import Lake
from jobs.tables.schema import Table

DAYS = pd.to_datetime(["2024-01-01", "2024-01-08", "2024-01-15"])
NIGHT = date(2024, 1, 22)
TRIALS = 5
THINGS = 15


def site(**changed: object) -> Site:
    """A site whose ranker is quick, and starts with trees too small and too few to find the feature."""
    how = Ranker(
        rounds=12, early_stopping_rounds=5, max_depth=3, learning_rate=0.1, negative_share=1.0, label_windows=3
    )
    settings: dict[str, object] = {
        "ranker": how,
        "list_length": 5,
        "ranking": Ranking(max_per_category=4),
        "tuning": Tuning(trials=TRIALS),
    }
    return Site(site="shop", outcome=Outcome(event_types=("purchase",)), **(settings | changed))  # type: ignore[arg-type]


def candidates(users: int = 60) -> pd.DataFrame:
    """Fifteen items of three categories for every user; ``outcomes_28d`` and chance decide what has an outcome."""
    rng = np.random.default_rng(0)
    rows = users * THINGS * len(DAYS)
    frame = pd.DataFrame({name: np.zeros(rows, np.float32) for name in ranker.COLUMNS})
    frame = frame.assign(**dict.fromkeys(SOURCES, False))
    frame["from_popularity"] = True
    frame[SHOWN_POSITION] = np.float32(np.nan)
    frame["user_id"] = np.repeat([f"u{n:02d}" for n in range(users)], THINGS * len(DAYS))
    frame["item_id"] = np.tile(np.repeat([f"i{n:02d}" for n in range(THINGS)], len(DAYS)), users)
    frame["as_of"] = np.tile(DAYS, users * THINGS)
    frame["category"] = "c" + (frame["item_id"].str[1:].astype(int) % 3).astype(str)
    frame["days_since_last"] = np.float32(np.nan)
    frame["outcomes_28d"] = rng.normal(size=rows).astype(np.float32)
    frame["label"] = (frame["outcomes_28d"] + 0.3 * rng.normal(size=rows) > 0.8).astype(np.int32)
    return frame.assign(weight=np.float32(1))


def real(frame: pd.DataFrame) -> dict[pd.Timestamp, pd.DataFrame]:
    """What had an outcome in the two later windows."""
    bought = frame[frame["label"] == 1]
    return {day: bought.loc[bought["as_of"] == day, ["user_id", "item_id"]] for day in DAYS[1:]}


def write(job: JobArgs, day: date = NIGHT, **changed: object) -> JobArgs:
    """The night of ``day`` up to ``generate_candidates``, and its site's file."""
    how = site(**changed).model_copy(update={"site": job.site.site, "warehouse": job.site.warehouse})
    (job.environment.sites / f"{how.site}.yaml").write_text(yaml.safe_dump(how.model_dump(mode="json")))
    args = replace(job, site=how, date=day)
    frame = candidates()
    tonight = frame[frame["as_of"] == DAYS[-1]].assign(as_of=pd.Timestamp(day), label=None)
    every = pd.concat([frame.astype({"label": object}), tonight.astype({"label": object})])
    every = every.assign(**dict.fromkeys((*PAIR_COUNTS, *LISTED)))
    put(args, CANDIDATES, every.assign(as_of=every["as_of"].dt.date))
    bought = frame[frame["label"] == 1].assign(event_day=lambda rows: rows["as_of"].dt.date, outcomes=1, events=1)
    quiet = {name: 0 for name in PAIR_DAYS.columns if name not in bought}
    put(args, PAIR_DAYS, bought.assign(**quiet))
    names = sorted(frame["item_id"].unique())
    put(args, ITEMS, pd.DataFrame({"item_id": names, "category": "x"}).reindex(columns=ITEMS.names).astype(object))
    put(args, ITEM_VECTORS, pd.DataFrame({"item_id": names[:10], "vector": ["[1.0, 0.0]", "[0.0, 1.0]"] * 5}))
    return args


def put(args: JobArgs, table: Table, frame: pd.DataFrame) -> None:
    """Write a frame as the night's partition."""
    rows = pa.Table.from_pandas(frame[table.names], schema=table.arrow_schema, preserve_index=False)
    Lake(args).write_arrow(table, rows)
