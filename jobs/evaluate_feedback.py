"""Judge every published version still inside its outcome window by what users did after it.

Fails when the warehouse cannot be reached. On a first night there is nothing to judge, and it says so.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset as ds
from psycopg import sql

from jobs.models import feedback
from jobs.models.metrics import as_document
from jobs.runtime.args import JobArgs, run
from jobs.tables import warehouse
from jobs.tables.contracts import EXPOSURES, INTERACTIONS
from jobs.tables.lake import Lake


def earlier_lists(args: JobArgs) -> dict[tuple[str, date], pd.DataFrame]:
    """The newest version of every earlier run date whose outcome window reaches tonight, by version and run date."""
    mart = args.site.warehouse.mart_schema
    oldest = args.date - timedelta(days=args.site.outcome.window_days)
    with warehouse.connect(args.environment) as connection:
        if not warehouse.column_types(connection, mart, "versions"):
            return {}
        versions = connection.execute(
            sql.SQL(
                "SELECT DISTINCT ON (run_date) version_id, run_date FROM {}"
                " WHERE run_date >= %s AND run_date < %s ORDER BY run_date, loaded_at DESC"
            ).format(warehouse.ident(mart, "versions")),
            (oldest, args.date),
        ).fetchall()
        query = sql.SQL("SELECT user_id, item_id, rank, policy FROM {} WHERE version_id = %s ORDER BY user_id, rank")
        history = warehouse.ident(mart, "recommendations_history")
        return {
            (version, day): pd.DataFrame(
                connection.execute(query.format(history), (version,)).fetchall(),
                columns=["user_id", "item_id", "rank", "policy"],
            )
            for version, day in versions
        }


def outcomes_since(args: JobArgs, lake: Lake, day: date) -> pd.DataFrame:
    """user_id and item_id of the outcomes from ``day`` on and before tonight, one row an event."""
    start = datetime.combine(day, time(), UTC)
    frames = []
    for part in lake.history(INTERACTIONS):
        until = datetime.combine(part.end or args.date, time(), UTC)
        wanted = (
            (ds.field("event_ts") >= start)
            & (ds.field("event_ts") < until)
            & ds.field("event_type").isin(list(args.site.outcome.event_types))
        )
        data = ds.dataset(list(part.files), filesystem=lake.fs)
        frames.append(data.to_table(columns=["user_id", "item_id"], filter=wanted).to_pandas())
    return pd.concat(frames, ignore_index=True)


def was_shown(lake: Lake, version: str) -> bool:
    """Whether any exposure of tonight's extract says it came from ``version``."""
    return bool(pc.any(pc.equal(lake.read_arrow(EXPOSURES, ["version_id"])["version_id"], version)).as_py())


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figures of earlier lists to the lake."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    judged: list[dict[str, Any]] = []
    for (version, day), lists in earlier_lists(args).items():
        outcomes = outcomes_since(args, lake, day)
        figures = feedback.quality_by_policy(lists, outcomes, args.site.list_length)
        shown = was_shown(lake, version)
        lift = feedback.measured_lift(lists, outcomes) if shown else None
        judged.append(
            {
                "version_id": version,
                "run_date": day.isoformat(),
                "shown": shown,
                "figures": {name: as_document(figure) for name, figure in figures.items()},
                "lift": lift.document() if lift else None,
            }
        )
        said = f"lift {lift.value:+.3f} outcomes a user" if lift else "no lift: no exposure says the list was shown"
        print(f"version {version} of {day}: {len(figures)} figures; {said}")
    if not judged:
        print("no earlier version inside its outcome window: nothing to evaluate tonight")
    lake.write_json("feedback", {"versions": judged})
    return 0


if __name__ == "__main__":
    run(main)
