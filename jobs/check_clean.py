"""Check the clean tables: suites users, items, interactions, exposures; and that no row was lost without a reason.

Fails when a clean table breaks its promise or when rows in differ from rows kept plus rows quarantined. That is a
fault of the cleaning, not of the data: look at the task log of clean, then rerun it.
"""

from collections.abc import Sequence

import pandas as pd

from jobs.check_raw import read_for_suite, with_known
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.quality import check, light_frame
from jobs.tables import contracts
from jobs.tables.lake import Lake


def require_counts_add_up(counts: pd.DataFrame) -> None:
    """DataError where a table's rows in are not its rows kept plus its rows quarantined by reason."""
    problems = []
    for table, part in counts.groupby("table"):
        rows = part.groupby("reason")["rows"].sum()
        entered, kept = int(rows.get("in", 0)), int(rows.get("kept", 0))
        dropped = int(rows.drop(["in", "kept"], errors="ignore").sum())
        if entered != kept + dropped:
            problems.append(f"{table}: {entered:,} in, {kept:,} kept + {dropped:,} quarantined")
    if problems:
        raise DataError(f"clean_counts do not add up: {'; '.join(problems)}; rerun clean and read its log")


def main(argv: Sequence[str] | None = None) -> int:
    """Validate tonight's clean partitions; DataError where one is broken."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    require_counts_add_up(lake.read_pandas(contracts.CLEAN_COUNTS))
    users, items = read_for_suite(lake, contracts.USERS), read_for_suite(lake, contracts.ITEMS)
    frames = {"users": light_frame(users, ("user_id",)), "items": light_frame(items, ("item_id",))}
    for table in (contracts.INTERACTIONS, contracts.EXPOSURES):
        frames[table.name] = light_frame(with_known(read_for_suite(lake, table), users, items), table.key)
    bounds = args.site.clean
    record = check(args, "check_clean", frames, max_value=bounds.max_value, max_quantity=bounds.max_quantity)
    lake.write_json("check_clean", record)
    return 0


if __name__ == "__main__":
    run(main)
