"""What a user has, and what is not there all day, is not listed; each domain has its own rule of what is owned."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Ranking, Site
from jobs.tables.contracts import ITEMS, SCORES
from jobs.tables.lake import Lake
from jobs.tables.listable import listable

DAY = date(2024, 1, 8)


@pytest.fixture
def args(tmp_path: Path) -> JobArgs:
    """A night with an item that leaves at noon, one that comes then, one that lasts the day, and one for ever."""
    site = Site(site="shop", outcome=Outcome(event_types=("purchase",)))
    args = JobArgs(site, DAY, Environment(tmp_path, tmp_path, str(tmp_path), {}))
    noon, midnight = pd.Timestamp("2024-01-08T12:00Z"), pd.Timestamp("2024-01-09T00:00Z")
    spans = {"leaves": (None, noon), "comes": (noon, None), "lasts": (pd.Timestamp(DAY, tz="UTC"), midnight)}
    ids = ["ever", *spans]
    items = pd.DataFrame({"item_id": ids}).reindex(columns=ITEMS.names).assign(category="x")
    items["available_from"], items["available_until"] = zip((None, None), *spans.values(), strict=True)
    Lake(args).write_arrow(ITEMS, pa.Table.from_pandas(items, schema=ITEMS.arrow_schema, preserve_index=False))
    rows = pd.DataFrame({"item_id": ids * 2, "user_id": ["had it"] * 4 + ["did not"] * 4})
    rows["days_since_last"] = [30.0] * 4 + [None] * 4
    rows = rows.reindex(columns=SCORES.names)
    rows = rows.fillna({name: 0 for name, kind in SCORES.columns.items() if kind in ("float64", "int32")})
    rows = rows.assign(category="x", identified=True)
    Lake(args).write_arrow(SCORES, pa.Table.from_pandas(rows, schema=SCORES.arrow_schema, preserve_index=False))
    return args


def left(args: JobArgs, **changed: object) -> set[tuple[str, str]]:
    """Pairs that may be listed."""
    args = replace(args, site=Site.model_validate(args.site.model_dump() | changed))
    rows = Lake(args).read_arrow(SCORES, ["user_id", "item_id"], listable(args, Lake(args))).to_pylist()
    return {(row["user_id"], row["item_id"]) for row in rows}


def test_an_item_that_is_not_there_all_day_is_listed_to_nobody(args: JobArgs) -> None:
    assert left(args) == {(user, item) for user in ("had it", "did not") for item in ("ever", "lasts")}


@pytest.mark.parametrize(
    ("owned", "spared"), [("allowed", False), ("never", True), (29, False), (30, True), (None, False)]
)
def test_what_a_user_has_is_listed_again_as_the_site_says(args: JobArgs, owned: object, spared: bool) -> None:
    found = {user for user, _ in left(args, ranking={"owned": owned})}
    assert found == ({"did not"} if spared else {"did not", "had it"})


@pytest.mark.parametrize(
    ("domain", "spared"),
    [("ecommerce", False), ("health", False), ("education", True), ("finance", True), ("social", True)],
)
def test_a_domain_has_its_own_rule_that_the_site_may_overrule(args: JobArgs, domain: str, spared: bool) -> None:
    assert ("had it" not in {user for user, _ in left(args, domain=domain)}) == spared
    assert "had it" in {user for user, _ in left(args, domain=domain, ranking={"owned": "allowed"})}


def test_where_everything_may_be_listed_nothing_is_filtered(args: JobArgs) -> None:
    lake = Lake(args)
    ever = lake.read_arrow(ITEMS).slice(0, 1)
    lake.write_arrow(ITEMS, ever)
    assert listable(args, lake) is None
    assert Ranking().owned is None
