"""Labelled candidates and the ranker fitted on them: in memory, or on Spark executors where they are too many."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from jobs.models import ranker
from jobs.models.ranker import Fitted
from jobs.runtime.args import JobArgs
from jobs.runtime.recipes import Recipe
from jobs.tables.contracts import CANDIDATES, SHOWN_POSITION
from jobs.tables.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

IS_LABELLED = ds.field("label").is_valid()


@dataclass(frozen=True)
class InMemory:
    """Candidates of the label windows in one frame, sorted by their key."""

    frame: pd.DataFrame
    seed: int

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.frame)

    @property
    def outcomes(self) -> int:
        """How many with an outcome."""
        return int(self.frame["label"].sum())

    @property
    def days(self) -> list[pd.Timestamp]:
        """The windows' as-of days, ascending."""
        return sorted(self.frame["as_of"].unique())

    def window(self, day: pd.Timestamp) -> pd.DataFrame:
        """All candidates of one window, as they were before it."""
        return self.frame[self.frame["as_of"] == day].assign(**{SHOWN_POSITION: np.float32(np.nan)})

    def fit(self, recipe: Recipe, before: pd.Timestamp | None = None, like: Fitted | None = None) -> Fitted:
        """The recipe's ranker, fitted on its ``windows`` by this process: see ``ranker.fit``."""
        mine = ranker.kept(self.frame, recipe.sources)
        learnt = windows(self.days, recipe, before)
        if len(learnt) < len(self.days):
            mine &= self.frame["as_of"].isin(learnt).to_numpy()
        part = self.frame if mine.all() else self.frame[mine].reset_index(drop=True)
        return ranker.fit(part, recipe.ranker, self.seed, like)


@dataclass(frozen=True)
class InSpark:
    """Rows that stay in the lake and on the executors, but for the window that is asked for."""

    lake: Lake
    table: "DataFrame"
    days: list[pd.Timestamp]
    rows: int
    outcomes: int
    seed: int

    def window(self, day: pd.Timestamp) -> pd.DataFrame:
        """All candidates of one window, as they were before it; they do come into memory."""
        frame = read(self.lake, IS_LABELLED & (ds.field("as_of") == day.date()))
        return frame.assign(**{SHOWN_POSITION: np.float32(np.nan)})

    def fit(self, recipe: Recipe, before: pd.Timestamp | None = None, like: Fitted | None = None) -> Fitted:
        """The same by ``ranker.workers`` Spark tasks."""
        from pyspark.sql import functions as F

        from jobs.runtime import spark_ranker

        learnt = [day.date() for day in windows(self.days, recipe, before)]
        table = self.table.where(F.col("as_of").isin(learnt))
        table = table.where(" OR ".join(recipe.sources)) if len(recipe.sources) < len(ranker.SOURCES) else table
        return spark_ranker.fit(table, recipe.ranker, self.seed, like)


Labelled = InMemory | InSpark


def windows(days: Sequence[pd.Timestamp], recipe: Recipe, before: pd.Timestamp | None) -> list[pd.Timestamp]:
    """The windows a ranker is fitted on: the recipe's latest, or where it is judged in one, those of them before it."""
    most = recipe.ranker.label_windows
    return list(days)[-most:] if before is None else [day for day in days if day < before][1 - most :]


def read(lake: Lake, where: ds.Expression) -> pd.DataFrame:
    """CANDIDATES in memory with as_of as a timestamp, sorted by their key."""
    frame = lake.read_pandas(CANDIDATES, where=where)
    frame["as_of"] = pd.to_datetime(frame["as_of"])
    return frame


@contextmanager
def labelled(args: JobArgs, lake: Lake) -> Iterator[Labelled]:
    """Tonight's labelled candidates, on Spark where they are more than the site's ``ranker.distributed_rows``."""
    most, seed = args.site.ranker.distributed_rows, args.site.seed
    counted = lake.read_arrow(CANDIDATES, ["as_of", "label"], IS_LABELLED) if most is not None else None
    if most is None or counted is None or counted.num_rows <= most:
        yield InMemory(read(lake, IS_LABELLED), seed)
        return
    from jobs.runtime.spark import spark_session

    print(f"{counted.num_rows:,} labelled candidates, more than {most:,}: Spark executors train the ranker")
    known = counted.to_pandas()
    days = sorted(pd.to_datetime(known["as_of"].unique()))
    with spark_session(args, "train_ranker", classic=True) as spark:
        table = lake.read_spark(spark, CANDIDATES).where("label IS NOT NULL")
        yield InSpark(lake, table, days, len(known), int(known["label"].sum()), seed)
