"""Judge every published version still inside its outcome window by what users did after it.

Fails when the warehouse cannot be reached. On a first night there is nothing to judge, and it says so.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from psycopg import sql

from jobs.models import feedback
from jobs.models.metrics import Estimate, as_document
from jobs.runtime import tracking
from jobs.runtime.args import JobArgs, run
from jobs.tables import warehouse
from jobs.tables.contracts import EXPOSURES, INTERACTIONS, Table
from jobs.tables.lake import Lake

COLUMNS = ["user_id", "item_id", "rank", "policy"]


@dataclass(frozen=True)
class Judged:
    """One published version, whether the log says it was shown, and how it did; lift is None where it cannot be told.

    ``figures`` have the names of ``feedback.quality_by_policy``.
    """

    version: str
    run_date: date
    shown: bool
    figures: Mapping[str, Estimate]
    lift: Estimate | None

    def metrics(self, tonight: date) -> dict[str, Estimate]:
        """The figures named by the days they rest on, so that lists of the same age compare from night to night."""
        all_figures = {**self.figures, **({"feedback_lift": self.lift} if self.lift else {})}
        return {f"{name}_{(tonight - self.run_date).days}d": figure for name, figure in all_figures.items()}

    def document(self) -> dict[str, Any]:
        """The version for JSON."""
        return {
            "version_id": self.version,
            "run_date": self.run_date.isoformat(),
            "shown": self.shown,
            "figures": {name: as_document(figure) for name, figure in self.figures.items()},
            "lift": self.lift.document() if self.lift else None,
        }


def published_versions(args: JobArgs) -> list[tuple[str, date]]:
    """Version and run date of what was published last for each run date whose outcome window reaches tonight.

    A version that was loaded but never pointed at (a newer night was published) is not among them.
    """
    mart = args.site.warehouse.mart_schema
    oldest = args.date - timedelta(days=args.site.outcome.window_days)
    with warehouse.connect(args.environment) as connection:
        if "published_at" not in warehouse.column_types(connection, mart, "versions"):
            return []
        query = sql.SQL(
            "SELECT DISTINCT ON (run_date) version_id, run_date FROM {} WHERE published_at IS NOT NULL"
            " AND run_date >= %s AND run_date < %s ORDER BY run_date, published_at DESC"
        ).format(warehouse.ident(mart, "versions"))
        return connection.execute(query, (oldest, args.date)).fetchall()


def lists_of(args: JobArgs, version: str) -> pd.DataFrame:
    """user_id, item_id, rank and policy of a version's lists."""
    history = warehouse.ident(args.site.warehouse.mart_schema, "recommendations_history")
    query = sql.SQL("SELECT {} FROM {} WHERE version_id = {} ORDER BY user_id, rank").format(
        sql.SQL(", ").join(map(sql.Identifier, COLUMNS)), history, sql.Literal(version)
    )
    with warehouse.adbc_connect(args.environment) as connection, connection.cursor() as cursor:
        cursor.execute(warehouse.text(query))
        return cursor.fetch_arrow_table().to_pandas()


def history(lake: Lake, table: Table, columns: Sequence[str], where: ds.Expression) -> Iterator[pa.Table]:
    """Rows of an incremental table's whole past that ``where`` wants, a part at a time."""
    day = ds.field(str(table.incremental))
    for part in lake.history(table):
        mine = where if part.end is None else where & (day < part.end)
        yield ds.dataset(list(part.files), filesystem=lake.fs).to_table(columns=list(columns), filter=mine)


def outcomes_since(args: JobArgs, lake: Lake, day: date) -> pd.DataFrame:
    """user_id and item_id of the outcomes from ``day`` on and before tonight, one row an event."""
    start, end = (datetime.combine(moment, time(), UTC) for moment in (day, args.date))
    wanted = (
        (ds.field("event_ts") >= start)
        & (ds.field("event_ts") < end)
        & ds.field("event_type").isin(list(args.site.outcome.event_types))
    )
    return pa.concat_tables(history(lake, INTERACTIONS, ["user_id", "item_id"], wanted)).to_pandas()


def shown_versions(lake: Lake, versions: Collection[str]) -> set[str]:
    """Those of ``versions`` that any exposure, of whatever night, says it came from."""
    wanted = ds.field("version_id").isin(sorted(versions))
    return {
        version
        for part in history(lake, EXPOSURES, ["version_id"], wanted)
        for version in part["version_id"].unique().to_pylist()
    }


def judge(args: JobArgs, lake: Lake) -> list[Judged]:
    """Every version to be judged tonight, oldest first."""
    versions = published_versions(args)
    shown = shown_versions(lake, [version for version, _ in versions]) if versions else set()
    judged = []
    for version, day in versions:
        lists, outcomes = lists_of(args, version), outcomes_since(args, lake, day)
        figures = feedback.quality_by_policy(lists, outcomes, args.site.list_length)
        lift = feedback.measured_lift(lists, outcomes) if version in shown else None
        judged.append(Judged(version, day, version in shown, figures, lift))
    return judged


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figures of earlier lists to the lake and to a nested run."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    judged = judge(args, lake)
    metrics = {name: figure for one in judged for name, figure in one.metrics(args.date).items()}
    for one in judged:
        said = "no lift: no exposure says the list was shown"
        if one.shown:
            said = f"lift {one.lift.value:+.3f} outcomes a user" if one.lift else "no lift: a group has too few users"
        print(f"version {one.version} of {one.run_date}: {len(one.figures)} figures; {said}")
    if judged:
        with tracking.nested_run(args, "feedback", [INTERACTIONS, EXPOSURES]):
            tracking.log_estimates(metrics)
    else:
        print("no published version inside its outcome window: nothing to evaluate tonight")
    document = {name: as_document(figure) for name, figure in metrics.items()}
    lake.write_json("feedback", {"versions": [one.document() for one in judged], "metrics": document})
    return 0


if __name__ == "__main__":
    run(main)
