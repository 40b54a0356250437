"""Check tonight's lists, and the features behind them, before anything is published.

The features are checked here and not where they are built: Great Expectations is loaded here anyway, and nobody has
seen yet what rests on a broken feature. Fails when a critical expectation does not hold; yesterday's version then stays
published.
"""

from collections.abc import Sequence

import pandas as pd

from jobs.runtime import quality
from jobs.runtime.args import JobArgs, run
from jobs.tables.contracts import ITEM_FEATURE_TABLE, RECOMMENDATIONS, SCORES, USER_FEATURE_TABLE, USERS
from jobs.tables.lake import Lake


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


def main(argv: Sequence[str] | None = None) -> int:
    """Validate lists and features, and build their Data Docs."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    columns = [name for name in quality.suite_columns(RECOMMENDATIONS.name) if name in RECOMMENDATIONS.columns]
    lists = quality.light_frame(lake.read_arrow(RECOMMENDATIONS, columns))
    pairs = lake.read_arrow(SCORES, ["user_id"]).group_by("user_id").aggregate([("user_id", "count")]).to_pandas()
    candidates = pairs.set_index("user_id")["user_id_count"]
    frames = {RECOMMENDATIONS.name: with_list_columns(lists, candidates, args.site.list_length)} | {
        table.name: quality.light_frame(lake.read_arrow(table, quality.suite_columns(table.name)))
        for table in (USER_FEATURE_TABLE, ITEM_FEATURE_TABLE)
    }
    users = int(lake.manifest(USERS)["rows"])
    record = quality.check(args, "check_recommendations", frames, list_length=args.site.list_length, users=users)
    lake.write_json("check_recommendations", record)
    return 0


if __name__ == "__main__":
    run(main)
