"""Masks, counts and sample of a world small enough to enumerate."""

from contextlib import redirect_stdout
from datetime import date, datetime, time, timedelta
from io import StringIO
from itertools import product

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.tables import contracts
from jobs.transforms import trials
from jobs.transforms.shown import Shown, pair_shown_days
from tests.transforms.rows import QUIET

FIRST = date(2024, 1, 1)
PERIODS = trials.Periods([FIRST + timedelta(days=7 * p) for p in range(3)], 7, 7)
EVENTS = [("u", "a", 0), ("u", "a", 6), ("u", "b", 7), ("v", "b", 8), ("v", "a", 20), ("w", "a", -1), ("w", "a", 21)]
SHOWN = [("u", "a", 0), ("v", "a", 3), ("v", "a", 10), ("v", "b", 7), ("u", "b", 14), ("v", "b", 13), ("w", "b", 14)]


def day(n: int) -> date:
    return FIRST + timedelta(days=n)


@pytest.fixture(scope="module")
def tables(spark: SparkSession) -> dict[str, DataFrame]:
    days = spark.createDataFrame(
        [(u, i, "c", day(n), 1, 1, 0.0, 0, *QUIET) for u, i, n in EVENTS], contracts.PAIR_DAYS.spark_ddl
    )
    exposures = spark.createDataFrame(
        [(u, i, day(n)) for u, i, n in SHOWN], "user_id string, item_id string, exposed_day date"
    )
    users = spark.createDataFrame([("u",), ("v",), ("w",)], "user_id string")
    items = spark.createDataFrame([("a", "c"), ("b", "c")], "item_id string, category string")
    shown = Shown(pair_shown_days(exposures, users, items, day(21), day(-91)), day(21))
    active = trials.user_periods(days, PERIODS)
    pairs = trials.pair_periods(days, shown, active, PERIODS)
    table = trials.item_periods(items, shown, pairs, active, PERIODS)
    return {"days": days, "active": active, "pairs": pairs, "items": table}


def by_hand() -> dict[tuple[str, str, int], tuple[bool, bool]]:
    """Every trial with (treated, outcome), enumerated."""
    active = {(u, n // 7) for u, _, n in EVENTS}
    play = {(i, n // 7) for _, i, n in SHOWN}
    shown = {(u, i, n // 7) for u, i, n in SHOWN}
    bought = {(u, i, n // 7) for u, i, n in EVENTS}
    return {
        (u, i, p): ((u, i, p) in shown, (u, i, p) in bought)
        for u, i, p in product("uvw", "ab", range(3))
        if (u, p) in active and (i, p) in play
    }


def test_counts_of_items_are_those_of_every_enumerated_trial(tables: dict[str, DataFrame]) -> None:
    whole = by_hand()
    assert whole
    for row in tables["items"].collect():
        mine = [cell for (_, i, _), cell in whole.items() if i == row.item_id]
        treated = [outcome for shown, outcome in mine if shown]
        control = [outcome for shown, outcome in mine if not shown]
        assert (row.treated, row.treated_outcomes) == (len(treated), sum(treated))
        assert (row.control, row.control_outcomes) == (len(control), sum(control))


def latest() -> dict[tuple[str, str, int], tuple[bool, bool]]:
    """The trials of the periods that are drawn from: all but the first."""
    assert PERIODS.first == 1
    return {trial: cell for trial, cell in by_hand().items() if trial[2] >= 1}


def draw(tables: dict[str, DataFrame], shares: trials.Rates, seed: int = 0) -> list[tuple[str, str, int]]:
    near = trials.with_outcome(tables["pairs"], tables["active"], tables["items"])
    drawn = trials.sample(tables["active"], tables["items"], near, PERIODS, shares, seed)
    return sorted((row.user_id, row.item_id, row.period) for row in drawn.collect())


def test_universe_and_a_full_sample_are_every_trial(tables: dict[str, DataFrame]) -> None:
    near = trials.with_outcome(tables["pairs"], tables["active"], tables["items"])
    (row,) = trials.universe(tables["active"], tables["items"], near, PERIODS).collect()
    with_outcome = {(u, i) for (u, i, _), (_, outcome) in by_hand().items() if outcome}
    assert (row.trials, row.near) == (len(latest()), sum((u, i) in with_outcome for u, i, _ in latest()))
    assert draw(tables, trials.Rates(1.0, 1.0, 1.0)) == sorted(latest())


def test_the_same_seed_draws_the_same_trials_and_another_seed_others(tables: dict[str, DataFrame]) -> None:
    half = trials.Rates(1.0, 0.5, 0.5)
    assert draw(tables, half, 3) == draw(tables, half, 3)
    assert len({tuple(draw(tables, half, seed)) for seed in range(6)}) > 1


def test_the_two_strata_share_no_trial_and_leave_none_out(tables: dict[str, DataFrame]) -> None:
    near = trials.with_outcome(tables["pairs"], tables["active"], tables["items"]).where("item_id = 'a'")
    found = {
        name: sorted(
            (row.user_id, row.item_id, row.period)
            for row in trials.sample(tables["active"], tables["items"], near, PERIODS, shares, 0).collect()
        )
        for name, shares in (("near", trials.Rates(1.0, 1.0, 0.0)), ("rest", trials.Rates(1.0, 0.0, 1.0)))
    }
    moved = {(u, i) for (u, i, _), (_, outcome) in by_hand().items() if outcome and i == "a"}
    assert found["near"] == sorted(trial for trial in latest() if trial[:2] in moved)
    assert found["rest"] == sorted(trial for trial in latest() if trial[:2] not in moved)
    assert found["near"] and found["rest"]


def test_rates_fill_the_room_and_favour_pairs_with_an_outcome() -> None:
    shares = trials.rates(1_000_000, 100_000, 65_000)
    assert shares.near * 100_000 == pytest.approx(0.7 * 65_000)
    assert shares.near * 100_000 + shares.rest * 900_000 == pytest.approx(65_000)
    assert trials.rates(100, 10, 1_000) == trials.Rates(1.0, 1.0, 1.0)
    assert trials.rates(1_000, 990, 100) == trials.Rates(1.0, 90 / 990, 1.0)


def test_labels_are_the_masks_the_first_logged_propensity_and_whether_a_random_slot_showed_it(
    spark: SparkSession, tables: dict[str, DataFrame]
) -> None:
    schema = "exposure_id string, user_id string, item_id string, exposed_at timestamp, exposed_day date, "
    schema += "propensity double, policy string"
    given = [("v", "a", 10, None, None), ("v", "a", 11, 0.4, "explore"), ("v", "a", 12, 0.9, None)]
    given += [("v", "b", 7, 0.3, "adjusted"), ("u", "b", 14, None, "explore"), ("u", "a", 3, 0.2, "explore")]
    exposures = spark.createDataFrame(
        [
            (str(n), u, i, datetime.combine(day(d), time(9)), day(d), e, policy)
            for n, (u, i, d, e, policy) in enumerate(given)
        ],
        schema,
    )
    drawn = spark.createDataFrame([(u, i, p) for u, i, p in latest()], "user_id string, item_id string, period int")
    labelled = trials.label(drawn, tables["pairs"], exposures, PERIODS)
    with redirect_stdout(StringIO()) as plan:
        labelled.explain()
    joins = [line for line in plan.getvalue().splitlines() if "LeftOuter" in line]
    assert len(joins) == 2 and all("SortMergeJoin" in line for line in joins), "a whole log fits no broadcast"
    found = labelled.collect()
    assert {(r.user_id, r.item_id, r.period): (r.treated == 1, r.outcome == 1) for r in found} == latest()
    logged = {(r.user_id, r.item_id, r.period): (r.logged_propensity, r.explored) for r in found}
    assert logged.pop(("v", "a", 1)) == (0.4, 1)
    assert logged.pop(("v", "b", 1)) == (0.3, 0)
    assert logged and set(logged.values()) == {(None, 0)}  # the random slots of inactive users are no trials
