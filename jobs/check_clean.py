"""Check the cleaned tables against their suites, and that no row was lost on the way.

Fails when a critical expectation does not hold, or rows in are not rows kept plus rows quarantined.
"""

from collections.abc import Sequence

import pandas as pd

from jobs.runtime import quality
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.tables.contracts import CLEAN_COUNTS, EXPOSURES, INTERACTIONS, ITEMS, USERS
from jobs.tables.lake import Lake


def require_balance(counts: pd.DataFrame) -> None:
    """DataError where rows in are not rows kept plus rows quarantined; ``counts`` has table, reason and rows."""
    for table, rows in counts.groupby("table"):
        by = rows.set_index("reason")["rows"]
        came, left = int(by.get("in", 0)), int(by.drop("in", errors="ignore").sum())
        if came != left:
            raise DataError(f"{table}: {came:,} rows in, but {left:,} kept or quarantined; the cleaner lost rows")


def main(argv: Sequence[str] | None = None) -> int:
    """Validate the clean tables and build their Data Docs."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    require_balance(lake.read_pandas(CLEAN_COUNTS))
    frames = quality.lake_frames(lake, USERS, ITEMS, (INTERACTIONS, EXPOSURES))
    bounds = args.site.clean
    record = quality.check(args, "check_clean", frames, max_value=bounds.max_value, max_quantity=bounds.max_quantity)
    lake.write_json("check_clean", record)
    return 0


if __name__ == "__main__":
    run(main)
