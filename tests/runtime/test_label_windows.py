"""A label window is made once and carried over with the outcomes known later, unless what it was made of changed."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jobs.runtime import label_windows
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.label_windows import Plan
from jobs.runtime.site import Outcome, Ranker, Site
from jobs.tables.contracts import CANDIDATES, EXPOSURES, INTERACTIONS, ITEMS, PAIR_DAYS, USERS
from jobs.tables.lake import FIRST_DAY, Lake
from jobs.tables.schema import Table
from jobs.transforms import calendar

FIRST = date(2024, 3, 4)
WEEK = timedelta(days=7)
LATE = 3  # days that each night reads again


@pytest.fixture
def first(tmp_path: Path) -> JobArgs:
    environment = Environment(tmp_path, tmp_path, str(tmp_path / "lake"), {})
    how = Site(site="shop", outcome=Outcome(event_types=("purchase",)), ranker=Ranker(label_windows=3))
    return JobArgs(how, FIRST, environment)


def rows(windows: Sequence[date], users: int = 40) -> pd.DataFrame:
    """Two items a user and window, the first with an outcome; all of weight 1."""
    keys = [(f"u{n}", item, day) for n in range(users) for item in ("i0", "i1") for day in windows]
    frame = pd.DataFrame(keys, columns=["user_id", "item_id", "as_of"])
    return frame.assign(label=(frame["item_id"] == "i0").astype(int), weight=1.0)


def table_of(table: Table, frame: pd.DataFrame) -> pa.Table:
    """The frame in the table's columns; what it lacks is null, or nothing of its kind."""
    nothing = {pa.string(): "", pa.bool_(): False}
    columns = {}
    for field in table.arrow_schema:
        if field.name in frame:
            columns[field.name] = pa.array(frame[field.name], field.type)
        else:
            value = None if field.nullable else nothing.get(field.type, 0)
            columns[field.name] = pa.repeat(pa.scalar(value, field.type), len(frame))
    return pa.table(columns, schema=table.arrow_schema)


def put(lake: Lake, table: Table, frame: pd.DataFrame, covers: tuple[date, date] | None = None) -> None:
    lake.write_arrow(table, table_of(table, frame), covers)


def night(args: JobArgs, read_from: date | None = None, bought: Sequence[tuple[str, str, date]] = ()) -> Plan:
    """A night that follows its plan; ``read_from`` is the first day it read, ``bought`` what PAIR_DAYS holds."""
    lake, earlier = Lake(args), Lake(args).dates(INTERACTIONS)
    start = read_from or (earlier[-1] - timedelta(days=LATE) if earlier else FIRST_DAY)
    for log in (INTERACTIONS, EXPOSURES):
        put(lake, log, pd.DataFrame(columns=log.names), (start, args.date))
    put(lake, USERS, pd.DataFrame({"user_id": [f"u{n}" for n in range(39)]}))
    put(lake, ITEMS, pd.DataFrame({"item_id": ["i0", "i1"]}))
    days = pd.DataFrame(bought, columns=["user_id", "item_id", "event_day"])
    put(lake, PAIR_DAYS, days.assign(outcomes=1))
    plan = label_windows.plan(args, lake)
    lake.write_json(label_windows.PLAN, plan.document())
    assert Plan.read(lake) == plan
    put(lake, CANDIDATES, rows([*plan.made, *plan.carried]))
    label_windows.write(args, lake, plan)
    return plan


def later(args: JobArgs, days: int) -> JobArgs:
    return replace(args, date=args.date + timedelta(days=days))


def test_the_first_night_makes_all_windows_and_the_next_only_the_newest(first: JobArgs) -> None:
    assert night(first) == Plan((FIRST - 3 * WEEK, FIRST - 2 * WEEK, FIRST - WEEK), {})
    assert night(later(first, 7)) == Plan((FIRST,), dict.fromkeys((FIRST - WEEK, FIRST - 2 * WEEK), FIRST))
    third = night(later(first, 14))
    assert third.made == (FIRST + WEEK,) and set(third.carried.values()) == {FIRST + WEEK}
    assert third.retrieval_days(FIRST + 2 * WEEK) == (FIRST + WEEK, FIRST + 2 * WEEK)


def test_a_night_every_day_carries_over_what_was_made_a_week_ago(first: JobArgs) -> None:
    for shift in range(7):
        assert len(night(later(first, shift)).made) == 3
    for shift in range(7, 10):
        plan = night(later(first, shift))
        assert plan.made == (FIRST + timedelta(days=shift - 7),)
        assert set(plan.carried.values()) == {FIRST + timedelta(days=shift - 7)}


def test_the_same_night_again_makes_the_same_whatever_came_after_it(first: JobArgs) -> None:
    night(first)
    second = night(later(first, 7))
    night(later(first, 14))
    assert night(later(first, 7)) == second
    assert len(night(first).made) == 3


@pytest.mark.parametrize("change", ["site", "code", "files", "unwritten"])
def test_windows_that_were_made_otherwise_are_made_again(
    first: JobArgs, change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    night(first)
    following = later(first, 7)
    if change == "site":
        how = first.site.model_copy(update={"outcome": Outcome(event_types=("purchase", "order"))})
        following = replace(following, site=how)
    elif change == "code":
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "other.py").write_text("")
        monkeypatch.setattr(label_windows, "files", lambda package: tmp_path / "code")
    elif change == "files":
        put(Lake(first), CANDIDATES, rows([FIRST - WEEK], users=3))
    else:
        (tmp_path / "lake" / "shop" / label_windows.WRITTEN / f"run_date={FIRST}" / "manifest.json").unlink()
    assert night(following) == Plan(tuple(calendar.label_days(following.site, following.date)), {})


def test_code_that_comes_as_a_zip_is_the_same_code(tmp_path: Path) -> None:
    """As spark-submit ships it to a cluster."""
    packed = shutil.make_archive(str(tmp_path / "jobs"), "zip", Path(label_windows.__file__).parents[2], "jobs")
    code = "from importlib.resources import files; from jobs import transforms;"
    code += (
        "print(transforms.__file__); print(sorted(f.name for f in files(transforms).iterdir() if f.name[-3:] == '.py'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": packed},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    place, names = done.stdout.splitlines()
    assert packed in place
    assert names == str(sorted(path.name for path in Path(label_windows.transforms.__path__[0]).glob("*.py")))


def test_windows_whose_past_was_read_again_are_made_again(first: JobArgs) -> None:
    night(first)
    read_from = FIRST - 2 * WEEK + timedelta(days=1)  # what was before the older window stands
    assert night(later(first, 7), read_from).carried == {FIRST - 2 * WEEK: FIRST}
    assert night(later(first, 14), FIRST_DAY).carried == {}


def test_outcomes_are_looked_up_again_and_what_is_gone_is_left_out(first: JobArgs) -> None:
    night(first)
    day, second = FIRST - WEEK, later(first, 7)
    bought = [("u1", "i1", day), ("u2", "i0", FIRST - timedelta(days=1)), ("u3", "i0", FIRST), ("u4", "i0", day - WEEK)]
    plan = night(second, bought=bought)
    lake = Lake(second)
    found = pa.Table.from_batches(list(label_windows.carried(second, lake, plan))).to_pandas()
    assert set(found["as_of"]) == {day, day - WEEK}
    assert set(found["user_id"]) <= {f"u{n}" for n in range(39)}  # u39 is no user any more
    positive = found[found["label"] == 1]
    assert sorted(zip(positive["user_id"], positive["item_id"], positive["as_of"], strict=True)) == [
        ("u1", "i1", day), ("u2", "i0", day), ("u4", "i0", day - WEEK),
    ]  # fmt: skip
    assert (positive["weight"] == 1).all()
    rest = found[found["label"] == 0]
    share = second.site.ranker.negative_share
    assert np.allclose(rest["weight"], 1 / share) and 0.5 * share < len(rest) / (2 * 39 * 2) < 1.5 * share


def test_rows_that_were_thinned_are_not_thinned_again(first: JobArgs) -> None:
    frame = rows([FIRST]).assign(label=0, weight=5.0)
    (batch,) = table_of(CANDIDATES, frame).to_batches()
    outcomes = label_windows.keys(batch.slice(0, 1), batch.slice(0, 1)["as_of"])
    again = label_windows.relabelled(batch, outcomes, 0.2).to_pandas()
    assert len(again) == len(frame) and again["label"].tolist() == [1] + [0] * (len(frame) - 1)
    assert again["weight"].tolist() == [1.0] + [5.0] * (len(frame) - 1)
