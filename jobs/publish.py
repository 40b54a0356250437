"""Publish tonight's lists: load the version beside the old one, audit it, move the pointer.

Fails when an audit of the new version fails; yesterday's version then stays published.
"""

from collections.abc import Sequence

from jobs.runtime.args import JobArgs, run
from jobs.tables import versions
from jobs.tables.contracts import ITEM_EFFECTS, RECOMMENDATIONS, RELEVANCE_LISTS, RUN_METRICS, USER_PROFILES
from jobs.tables.lake import Lake


def main(argv: Sequence[str] | None = None) -> int:
    """Publish RECOMMENDATIONS and the tables beside them."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    passed = lake.read_json("effects_gate")["passed"]
    verdict = "effects proved: adjusted lists" if passed else "effects NOT proved: relevance lists for everyone"
    if args.dry_run:
        print(f"dry run: {verdict}; nothing was published")
        lake.write_json("published", {"state": "dry run", "verdict": verdict})
        return 0
    beside = {
        table.name: lake.read_arrow(table, table.names)
        for table in (ITEM_EFFECTS, USER_PROFILES, RUN_METRICS, RELEVANCE_LISTS)
    }
    lists = lake.read_arrow(RECOMMENDATIONS, RECOMMENDATIONS.names)
    done = versions.publish(args.site, args.environment, lists, beside, verdict, args.force)
    lake.write_json("published", {name: str(value) for name, value in done.items()} | {"verdict": verdict})
    print(f"{done['state']}: version {done['version_id']} of {args.date}, {done['rows']:,} rows; {verdict}")
    return 0


if __name__ == "__main__":
    run(main)
