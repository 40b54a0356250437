"""Check the lists of the night before they are published: suites recommendations and user_features.

Fails when a reader would see a broken list: a gap in the ranks, an item twice, scores out of order, an effect outside
its interval, a place without a propensity or a reason, a user without a list. Nothing is published then, and the
version of the night before stays. Mend adjust, then rerun it.
"""

from collections.abc import Sequence

import pandas as pd

from jobs.check_raw import read_for_suite
from jobs.runtime.args import JobArgs, run
from jobs.runtime.quality import check, light_frame, suite_columns
from jobs.tables import contracts
from jobs.tables.lake import Lake


def with_list_rules(lists: pd.DataFrame, list_length: int) -> pd.DataFrame:
    """Lists with rules on the whole of one: rank_is_next, score_not_above_previous, list_is_whole."""
    lists = lists.sort_values(["user_id", "rank"], kind="stable", ignore_index=True)
    groups = lists.groupby("user_id", observed=True, sort=False)
    before = groups["score"].shift()
    return lists.assign(
        rank_is_next=lists["rank"] == groups.cumcount() + 1,
        score_not_above_previous=before.isna() | (lists["score"] <= before),
        list_is_whole=groups["rank"].transform("size") == list_length,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Validate tonight's lists; DataError where one is broken."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    lists = lake.read_arrow(
        contracts.RECOMMENDATIONS,
        sorted(
            {"user_id", "rank", "score", *suite_columns("recommendations")} & set(contracts.RECOMMENDATIONS.columns)
        ),
    )
    expected = lake.read_arrow(contracts.USERS, ["user_id"]).num_rows
    frames = {
        "recommendations": with_list_rules(light_frame(lists), args.site.list_length),
        "user_features": light_frame(read_for_suite(lake, contracts.USER_FEATURE_TABLE)),
    }
    record = check(args, "check_recommendations", frames, list_length=args.site.list_length, users=expected)
    lake.write_json("check_recommendations", record)
    return 0


if __name__ == "__main__":
    run(main)
