"""Check tonight's raw rows against their suites before Spark touches them.

Fails when a critical expectation of raw users, items, interactions or exposures does not hold.
"""

from collections.abc import Sequence

from jobs.runtime import quality
from jobs.runtime.args import JobArgs, run
from jobs.tables.contracts import RAW_EXPOSURES, RAW_INTERACTIONS, RAW_ITEMS, RAW_USERS
from jobs.tables.lake import Lake


def main(argv: Sequence[str] | None = None) -> int:
    """Validate the raw tables and build their Data Docs."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    frames = quality.lake_frames(lake, RAW_USERS, RAW_ITEMS, (RAW_INTERACTIONS, RAW_EXPOSURES))
    lake.write_json("check_raw", quality.check(args, "check_raw", frames))
    return 0


if __name__ == "__main__":
    run(main)
