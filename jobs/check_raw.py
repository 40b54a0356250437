"""Check the night's raw rows: suites raw_users, raw_items, raw_interactions, raw_exposures.

Fails when an export is broken beyond what the cleaner may repair (empty, half without ids, unknown ids, rows of the
future). Mend the source or the load, then rerun from extract.
"""

from collections.abc import Sequence

import pyarrow as pa

from jobs.runtime.args import JobArgs, run
from jobs.runtime.quality import check, is_known, light_frame, suite_columns
from jobs.tables import contracts
from jobs.tables.contracts import Table
from jobs.tables.lake import Lake


def read_for_suite(lake: Lake, table: Table) -> pa.Table:
    """Tonight's rows of a table in the columns its suite names and the table has."""
    return lake.read_arrow(table, [name for name in suite_columns(table.name) if name in table.columns])


def with_known(data: pa.Table, users: pa.Table, items: pa.Table) -> pa.Table:
    """Events or exposures with ``user_known`` and ``item_known``: do their ids stand in the two tables?"""
    for column, ids in (("user", users), ("item", items)):
        known = is_known(data.column(f"{column}_id"), ids.column(f"{column}_id"))
        data = data.append_column(f"{column}_known", known)
    return data


def main(argv: Sequence[str] | None = None) -> int:
    """Validate tonight's increments; DataError where one is broken."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    users, items = read_for_suite(lake, contracts.RAW_USERS), read_for_suite(lake, contracts.RAW_ITEMS)
    frames = {"raw_users": light_frame(users, ("user_id",)), "raw_items": light_frame(items, ("item_id",))}
    for table in (contracts.RAW_INTERACTIONS, contracts.RAW_EXPOSURES):
        data = with_known(read_for_suite(lake, table), users, items)
        frames[table.name] = light_frame(data, table.key)
    lake.write_json("check_raw", check(args, "check_raw", frames))
    return 0


if __name__ == "__main__":
    run(main)
