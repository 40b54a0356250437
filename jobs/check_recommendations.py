"""Check tonight's lists, the features behind them, and both beside the last nights, before anything is published.

The features are checked here and not where they are built: Great Expectations is loaded here anyway, and nobody has
seen yet what rests on a broken feature. Fails when a critical expectation does not hold, or a column has drifted from
the last published nights beyond ``drift.fail``; yesterday's version then stays published.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa

from jobs.models import drift
from jobs.runtime import quality
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.site import Drift
from jobs.tables import drift_samples
from jobs.tables.contracts import ITEM_FEATURE_TABLE, NIGHTS, RECOMMENDATIONS, SCORES, USER_FEATURE_TABLE, USERS
from jobs.tables.lake import Lake
from jobs.tables.listable import listable


def with_list_columns(lists: pd.DataFrame, candidates: pd.Series, list_length: int) -> pd.DataFrame:
    """``lists`` with what a rule about neighbours needs as columns.

    Args:
        lists: user_id, rank and score, in any order.
        candidates: how many candidate items each user had, indexed by user_id.
        list_length: places of a whole list.
    """
    lists = lists.sort_values(["user_id", "rank"], kind="stable", ignore_index=True)
    by_user = lists.groupby("user_id", sort=False, observed=True)
    before = by_user["score"].shift()
    length = by_user["rank"].transform("size")
    possible = lists["user_id"].astype(str).map(candidates).clip(upper=list_length)
    return lists.assign(
        rank_is_next=lists["rank"] == by_user.cumcount() + 1,
        score_not_above_previous=before.isna() | (lists["score"] <= before),
        list_is_whole=length == possible,
    )


def count_candidates(args: JobArgs, lake: Lake) -> tuple["pd.Series[int]", int]:
    """How many candidates of each user may be listed, by user_id, and how many users are left without any."""
    where = listable(args, lake)
    counts = [
        lake.read_arrow(SCORES, ["user_id"], rule).group_by("user_id").aggregate([("user_id", "count")])
        for rule in ([where] if where is None else [where, None])
    ]
    spared = counts[-1].num_rows - counts[0].num_rows
    if spared:
        print(f"warning: {spared:,} users have no list: nothing of what was retrieved for them may be listed")
    return counts[0].to_pandas().set_index("user_id")["user_id_count"], spared


def compare_figures(args: JobArgs, lake: Lake, days: Sequence[date]) -> pa.Table:
    """NIGHTS of tonight against the published nights ``days``; written to the lake."""
    (tonight,) = drift_samples.figures(args, [args.date])
    found = drift.beside(tonight, drift_samples.figures(args, days))
    table = pa.Table.from_pylist([found], schema=NIGHTS.arrow_schema)
    lake.write_arrow(NIGHTS, table)
    return table


def require_stable(record: Mapping[str, Any], how: Drift, where: str) -> None:
    """Print the columns beyond ``warn``; DataError names those beyond ``fail``. ``record``: adjust's, of drift."""
    if not record["nights"]:
        print("drift: no earlier published night to compare with")
        return
    since = f"{len(record['nights'])} nights from {min(record['nights'])}"
    failed = drift.moved(record["shifts"], how.fail)
    for said in drift.moved(record["shifts"], how.warn)[len(failed) :]:
        print(f"warning: {said} has drifted from {since}")
    if failed:
        raise DataError(
            f"{where}: population stability index above drift.fail = {how.fail:g} against {since}: {', '.join(failed)};"
            " mend the source and clear the night, or, if the change was meant, set drift.since to tonight's date"
        )
    print(f"drift: {len(record['shifts'])} columns within {how.fail:g} of {since}")


def main(argv: Sequence[str] | None = None) -> int:
    """Validate lists, features and the night's figures, build their Data Docs, and judge drift."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    columns = [name for name in quality.suite_columns(RECOMMENDATIONS.name) if name in RECOMMENDATIONS.columns]
    lists = quality.light_frame(lake.read_arrow(RECOMMENDATIONS, columns))
    candidates, spared = count_candidates(args, lake)
    frames = {RECOMMENDATIONS.name: with_list_columns(lists, candidates, args.site.list_length)} | {
        table.name: quality.light_frame(lake.read_arrow(table, quality.suite_columns(table.name)))
        for table in (USER_FEATURE_TABLE, ITEM_FEATURE_TABLE)
    }
    shifts = lake.read_json("drift")
    days = [date.fromisoformat(day) for day in shifts["nights"]]
    frames[NIGHTS.name] = quality.light_frame(compare_figures(args, lake, days))
    users = int(lake.manifest(USERS)["rows"]) - spared
    record = quality.check(args, "check_recommendations", frames, list_length=args.site.list_length, users=users)
    lake.write_json("check_recommendations", record)
    require_stable(shifts, args.site.drift, f"drift of {args.site.site}, {args.date}")
    return 0


if __name__ == "__main__":
    run(main)
