"""Retrieval in a shop of two tastes: neighbours, availability, what a label may know, and users without a past."""

from datetime import date, timedelta
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.tables import contracts
from jobs.transforms import candidates, histories, peers, people
from jobs.transforms.sources import Limits
from tests.transforms.rows import ABOUT, PEOPLE, QUIET, event, person, things, unlearnt, unoffered

RUN_DATE = date(2024, 3, 1)
WINDOW = 7
LABEL_DAY = RUN_DATE - timedelta(days=WINDOW)
AS_OFS = [LABEL_DAY, RUN_DATE]
ITEMS = [f"{taste}{n}" for taste in "ab" for n in range(10)]
WITHDRAWN = "a9"  # not available on the run date
LIMITS = Limits(
    repeat=5,
    popularity=8,
    item_cf=12,
    factorisation=0,
    window_days=WINDOW,
    trending=2,
    per_category=3,
    user_cf=6,
    content=2,
)
RISING = "a7"
RISE = np.where(np.array(ITEMS) == RISING, 3.0, -1.0)
Events = list[tuple[str, str, int]]


def events() -> Events:
    """Thirty users a taste buy seven of its ten items 10 to 100 days ago; everyone buys the first two of taste b."""
    random = Random(0)
    bought = [
        (f"{t}{n}", i, random.randint(10, 100))
        for t in "ab"
        for n in range(30)
        for i in random.sample([f"{t}{k}" for k in range(10)], 7)
    ]
    return bought + [(f"a{n}", item, 50) for n in range(30) for item in ("b0", "b1")]


def pair_days(spark: SparkSession, rows: Events) -> DataFrame:
    days = [(u, i, i[0], RUN_DATE - timedelta(days=n), 1, 1, 0.0, 0, *QUIET) for u, i, n in rows]
    return spark.createDataFrame(days, contracts.PAIR_DAYS.spark_ddl)


def catalogue() -> candidates.Catalogue:
    allowed = np.ones((2, len(ITEMS)), dtype=bool)
    allowed[1, ITEMS.index(WITHDRAWN)] = False
    order = np.array([ITEMS.index(f"{taste}{n}") for n in range(9, -1, -1) for taste in "ab"])
    popular = [order[allowed[k][order]] for k in range(2)]
    about = [dict.fromkeys(ABOUT, np.ones(len(ITEMS)))] * 2
    category = np.array([item[0] == "b" for item in ITEMS], dtype=np.int64)
    days = [(day - people.EPOCH).days for day in AS_OFS]
    return candidates.Catalogue(
        ITEMS, days, allowed, popular, [0, 1], category, about, things(days, category), np.zeros(len(ITEMS), np.int64),
        [RISE] * 2, [np.ones(len(ITEMS))] * 2, np.zeros((2, len(ITEMS)), dtype=bool),
        unoffered(len(ITEMS)),
    )  # fmt: skip


def history_of(spark: SparkSession, rows: Events) -> DataFrame:
    numbers = spark.createDataFrame(list(zip(ITEMS, range(len(ITEMS)), strict=True)), "item_id string, item int")
    return histories.histories(pair_days(spark, rows), numbers)


def models(history: DataFrame) -> candidates.Models:
    one = catalogue()
    size, places = len(ITEMS), candidates.NEIGHBOURS
    near, cosine = np.full((2, size, places), -1, np.int32), np.zeros((2, size, places), np.float32)
    for row in candidates.neighbours(history, one, tuple(one.days)).collect():
        near[row.model, row.a, row.place - 1], cosine[row.model, row.a, row.place - 1] = row.b, row.cosine
    compared = peers.sample(history, 60).toArrow()
    taste = np.array([[item[0] == "a", item[0] == "b"] for item in ITEMS], np.float32)
    return candidates.Models([np.zeros((size, 2), np.float32)] * 2, list(near), list(cosine), taste, compared)


def retrieve(spark: SparkSession, rows: Events, learnt: candidates.Models) -> list[dict[str, Any]]:
    users = spark.createDataFrame([(u,) for u in sorted({u for u, _, _ in events()} | {"cold"})], "user_id string")
    numbers = spark.createDataFrame(list(zip(ITEMS, range(len(ITEMS)), strict=True)), "item_id string, item int")

    def nothing(schema: str) -> DataFrame:
        return spark.createDataFrame([], schema)

    everyone = people.people(
        users,
        pair_days(spark, rows),
        nothing(contracts.PAIR_SHOWN_DAYS.spark_ddl),
        nothing(contracts.USER_FEATURE_TABLE.spark_ddl),
        numbers,
        {
            "masks": nothing(contracts.PAIR_PERIODS.spark_ddl),
            "active": nothing(contracts.USER_PERIODS.spark_ddl),
            "listed": nothing("user_id string, item_id string, rank int, score double"),
            "placed": nothing("user_id string, item_id string, day int, position int"),
        },
    )
    retrieval = candidates.retrieve(catalogue(), [item[0] for item in ITEMS], learnt, LIMITS)
    return [row.asDict() for row in everyone.mapInArrow(retrieval, contracts.CANDIDATES.spark_ddl).collect()]


@pytest.fixture(scope="module")
def learnt(spark: SparkSession) -> candidates.Models:
    return models(history_of(spark, events()))


@pytest.fixture(scope="module")
def found(spark: SparkSession, learnt: candidates.Models) -> list[dict[str, Any]]:
    return retrieve(spark, [*events(), ("a0", "a0", 3)], learnt)


def test_neighbours_are_the_cosines_of_sets_of_users(learnt: candidates.Models) -> None:
    buyers = {item: {u for u, i, _ in events() if i == item} for item in ITEMS}
    near, cosine = learnt.neighbours[1], learnt.cosines[1]
    for number, item in enumerate(ITEMS):
        there = near[number] >= 0
        assert there.sum() >= 9
        for other, value in zip(near[number][there], cosine[number][there], strict=True):
            both = len(buyers[item] & buyers[ITEMS[other]])
            assert value == pytest.approx(both / (len(buyers[item]) * len(buyers[ITEMS[other]])) ** 0.5)
        assert (np.diff(cosine[number][there]) <= 0).all()


def test_neighbours_bring_the_rest_of_a_users_taste(found: list[dict[str, Any]]) -> None:
    bought = {(u, i) for u, i, _ in events()}
    tonight = {(r["user_id"], r["item_id"]) for r in found if r["as_of"] == RUN_DATE and r["from_item_cf"]}
    users = [f"{taste}{n}" for taste in "ab" for n in range(30)]
    new = {(user, f"{user[0]}{k}") for user in users for k in range(10)} - bought - {(u, WITHDRAWN) for u in users}
    assert len(new) > 100
    assert new <= tonight


def test_an_item_withdrawn_is_no_candidate_from_that_day_on(found: list[dict[str, Any]]) -> None:
    days = {row["as_of"] for row in found if row["item_id"] == WITHDRAWN}
    assert days == {LABEL_DAY}


def test_only_users_with_an_outcome_in_the_window_have_a_label(found: list[dict[str, Any]]) -> None:
    assert {row["user_id"] for row in found if row["as_of"] == LABEL_DAY} == {"a0"}
    labelled = {row["item_id"]: row["label"] for row in found if row["as_of"] == LABEL_DAY}
    assert labelled["a0"] == 1
    assert sum(labelled.values()) == 1
    assert {row["label"] for row in found if row["as_of"] == RUN_DATE} == {None}


def test_a_label_window_ends_and_what_retrieves_its_items_lies_before_it(
    spark: SparkSession, learnt: candidates.Models
) -> None:
    def of_window(rows: Events) -> dict[str, tuple[Any, ...]]:
        found = retrieve(spark, rows, learnt)
        return {
            row["item_id"]: (*(row[name] for name in (*contracts.SOURCES, *contracts.RETRIEVAL_FEATURES)), row["label"])
            for row in found
            if (row["user_id"], row["as_of"]) == ("a0", LABEL_DAY)
        }

    first = of_window([*events(), ("a0", "b5", WINDOW)])
    assert first
    later = of_window([*events(), ("a0", "b5", WINDOW), ("a0", "b6", 0), ("a0", "b6", -30)])
    assert later == first  # neither the run date nor what follows is read
    inside = of_window([*events(), ("a0", "b5", WINDOW), ("a0", "a1", 1)])
    assert {item: row[:-1] for item, row in inside.items()} == {item: row[:-1] for item, row in first.items()}
    assert (first["a1"][-1], inside["a1"][-1]) == (0, 1)


def test_neighbours_of_a_day_know_nothing_from_it_on(spark: SparkSession, learnt: candidates.Models) -> None:
    later = models(history_of(spark, [*events(), *((f"a{n}", "b7", 5) for n in range(30))]))
    assert (later.neighbours[0] == learnt.neighbours[0]).all()
    assert (later.neighbours[1] != learnt.neighbours[1]).any()


def test_a_user_without_a_past_gets_the_popular_items(found: list[dict[str, Any]]) -> None:
    mine = sorted((row["popularity_rank"], row["item_id"]) for row in found if row["user_id"] == "cold")
    assert [item for _, item in mine] == [ITEMS[n] for n in catalogue().popular[1][: LIMITS.popularity]]
    assert [rank for rank, _ in mine] == list(range(1, LIMITS.popularity + 1))


def test_sources_keep_to_their_limits(found: list[dict[str, Any]]) -> None:
    for user in ("a0", "b3"):
        mine = [row for row in found if (row["user_id"], row["as_of"]) == (user, RUN_DATE)]
        assert [sum(row[name] for row in mine) for name in contracts.SOURCES] == [5, 8, 12, 0, 1, 0, 6, 2, 0]
        assert len({row["item_id"] for row in mine}) == len(mine)


def test_what_rises_is_a_candidate_of_everybody(found: list[dict[str, Any]]) -> None:
    users = {row["user_id"] for row in found if row["from_trending"] and row["as_of"] == RUN_DATE}
    assert users == {row["user_id"] for row in found}
    assert {row["item_id"] for row in found if row["from_trending"]} == {RISING}


def test_the_best_of_each_category_are_for_new_users_only(found: list[dict[str, Any]]) -> None:
    brought = [(row["user_id"], row["item_id"]) for row in found if row["from_category_popularity"]]
    best = [ITEMS[n] for n in catalogue().popular[1]]
    assert sorted(brought) == sorted(("cold", item) for kind in "ab" for item in [i for i in best if i[0] == kind][:3])


def test_those_with_the_same_items_bring_the_rest_of_theirs(found: list[dict[str, Any]]) -> None:
    brought = [(row["user_id"], row["item_id"]) for row in found if row["from_user_cf"] and row["as_of"] == RUN_DATE]
    assert {user for user, _ in brought} == {row["user_id"] for row in found} - {"cold"}
    assert {item[0] for user, item in brought if user[0] == "b"} == {"b"}
    assert set(brought) - {(user, item) for user, item, _ in events()}, "some of it is new to the user"
    scores = [row["user_cf_share"] for row in found if row["as_of"] == RUN_DATE]
    assert min(scores) >= 0 and 0.1 < max(scores) < 0.2, "shares of some ten habits"


def test_users_are_compared_by_what_they_had_before_each_as_of_day(spark: SparkSession) -> None:
    rows = [("x", "a0", 20), ("x", "a1", 3), ("y", "a2", 7), ("z", "a3", 0)]
    compared = peers.sample(history_of(spark, rows), 3).toArrow()
    for day, known in zip(
        catalogue().days, ({"x": [0], "y": [], "z": []}, {"x": [0, 1], "y": [2], "z": []}), strict=True
    ):
        one = peers.Peers.of(compared, len(ITEMS), day)
        assert {user: one.shares[[n]].indices.tolist() for user, n in one.place.items()} == known
    many = [(f"u{n}", "a0", 20) for n in range(400)]
    drawn = peers.sample(history_of(spark, many), 4 * peers.SAMPLE).collect()
    assert 60 <= len(drawn) <= 140, "a quarter of them, as if there were four times as many as are compared"


def test_content_brings_more_of_a_users_taste_and_nothing_the_user_had(found: list[dict[str, Any]]) -> None:
    had = {(u, i) for u, i, _ in events()} | {("a0", "a0")}
    brought = {(row["user_id"], row["item_id"]) for row in found if row["from_content"] and row["as_of"] == RUN_DATE}
    assert {user for user, _ in brought} == {row["user_id"] for row in found} - {"cold"}
    assert not brought & had
    kinds = {(user[0], item[0]) for user, item in brought if user[0] == "b"}
    assert kinds == {("b", "b")}
    scores = {row["item_id"]: row["content_score"] for row in found if row["user_id"] == "b3"}
    assert {item[0]: value for item, value in scores.items()} == {"a": 0.0, "b": 1.0}


def test_users_of_an_item_are_counted_before_the_day(spark: SparkSession) -> None:
    rows = [("x", "a0", 8), ("y", "a0", 7), ("y", "a0", 1), ("z", "a0", 0), ("x", "a1", -1)]
    counted = candidates.item_users(pair_days(spark, rows), AS_OFS).collect()
    assert {(row.item_id, row.as_of): row.users for row in counted} == {
        ("a0", LABEL_DAY): 1, ("a0", RUN_DATE): 2, ("a1", LABEL_DAY): 0, ("a1", RUN_DATE): 0,
    }  # fmt: skip


def test_what_items_are_like_is_summed_over_users_before_each_day(spark: SparkSession) -> None:
    rows = [("x", "a0", 20), ("x", "a0", 8), ("y", "a0", 7), ("y", "a0", 1), ("y", "a1", 1)]
    days = [(day - people.EPOCH).days for day in AS_OFS]
    counted = {(row.day, row.item): row for row in candidates.item_counts(history_of(spark, rows), days).collect()}
    assert set(counted) == {(0, 0), (1, 0), (1, 1)}
    before, tonight = counted[0, 0], counted[1, 0]
    assert (before.users, before.days, before.gaps, before.gap_days) == (1, 2, 1, 12)
    assert (tonight.users, tonight.days, tonight.gaps, tonight.gap_days) == (2, 4, 2, 12 + 6)


def test_only_windows_before_the_latest_lose_negatives_and_never_an_outcome() -> None:
    days = np.array([19_000 - 14, 19_000 - 7, 19_000])
    about = [dict.fromkeys(ABOUT, np.ones(100))] * 3
    everything = [np.arange(100)] * 3
    allowed, category = np.ones((3, 100), dtype=bool), np.zeros(100, np.int64)
    ids, about_items = [f"{n:02d}" for n in range(100)], things(days.tolist(), category)
    in_play = np.zeros(100, np.int64)
    one = candidates.Catalogue(
        ids, days.tolist(), allowed, everything, [0, 0, 0], category, about, about_items, in_play,
        [np.zeros(100)] * 3, [np.ones(100)] * 3, np.zeros((3, 100), dtype=bool), unoffered(100),
    )  # fmt: skip
    bought = [(18_900, 1), *((int(day), 5) for day in days[:2])]
    users = pa.RecordBatch.from_pylist(
        [person(f"u{n:03d}", history=[event(day, item) for day, item in bought]) for n in range(200)], PEOPLE
    )
    limits = Limits(1, 100, 0, 0, WINDOW, negative_share=0.2)
    found = pa.Table.from_batches(candidates._retriever(one, unlearnt(), limits)(iter([users]))).to_pandas()
    rows = found.groupby("as_of_day").size().to_dict()
    assert rows[days[1]] == rows[days[2]] == 200 * 100
    assert rows[days[0]] == pytest.approx(200 * (1 + 99 * 0.2), rel=0.05)
    thinned = found[found.as_of_day == days[0]]
    assert thinned[thinned.label == 1].groupby("user_id").size().tolist() == [1] * 200
    assert set(thinned[thinned.label == 0].weight) == {5.0}
    assert set(found[(found.as_of_day != days[0]) | (found.label == 1)].weight) == {1.0}
    assert len(set(map(tuple, thinned.groupby("user_id")["item"].agg(list)))) > 190  # each user loses others


def test_tonights_counts_are_those_of_the_masks_and_a_label_day_has_none() -> None:
    active, in_play = 0b110111, np.array([0b111111, 0b011110, 0])
    masks = {0: (0b000101, 0b100001), 1: (0b000010, 0b010000)}  # shown and outcome by period; item 2 has no row
    rows = [{"item": item, "shown": shown, "outcome": outcome} for item, (shown, outcome) in masks.items()]
    listed = [{"item": 1, "rank": 3, "score": 0.5}, {"item": 2, "rank": 1, "score": 0.75}]
    row = person("u", masks=rows, active=[{"active": active}], listed=listed)
    (one,) = people.read(pa.RecordBatch.from_pylist([row], PEOPLE))
    found = candidates.trials_of(one, np.arange(3), in_play, tonight=True)
    for item in range(3):
        shown, outcome = masks.get(item, (0, 0))
        could = [p for p in range(6) if active & in_play[item] & ~shown & (1 << p)]
        treated = [p for p in range(6) if shown & (1 << p)]
        counts = [
            len(treated),
            sum(outcome >> p & 1 for p in treated),
            len(could),
            sum(outcome >> p & 1 for p in could),
        ]
        assert [found[name][item] for name in contracts.PAIR_COUNTS] == counts
    assert found["listed_position"].tolist() == [4, 3, 1]
    assert np.array_equal(found["listed_score"], np.array([np.nan, 0.5, 0.75], np.float32), equal_nan=True)
    before = candidates.trials_of(one, np.arange(3), in_play, tonight=False)
    assert all((before[name] == -1).all() for name in contracts.PAIR_COUNTS)
    assert all(np.isnan(before[name]).all() for name in contracts.LISTED)
    assert np.isnan(candidates.trials_of(_nobody(), np.arange(3), in_play, tonight=True)["listed_position"]).all()


def _nobody() -> people.Person:
    (one,) = people.read(pa.RecordBatch.from_pylist([person("nobody")], PEOPLE))
    return one


def test_a_place_is_the_best_of_its_label_window_and_tonight_has_none() -> None:
    start = 19_000
    placed = [(0, start, 4), (0, start + 6, 2), (1, start - 1, 1), (1, start + 7, 1), (3, start + 3, 9)]
    rows = [{"item": item, "day": day, "position": place} for item, day, place in placed]
    (one,) = people.read(pa.RecordBatch.from_pylist([person("u", placed=rows)], PEOPLE))
    found = candidates.position_of(one.more["placed"], np.array([0, 1, 2, 3]), start, WINDOW)
    assert found.dtype == np.float32
    np.testing.assert_equal(found, np.array([2, np.nan, np.nan, 9], np.float32))
    assert np.isnan(candidates.position_of(one.more["placed"], np.arange(4), start + 8, WINDOW)).all()
    (nobody,) = people.read(pa.RecordBatch.from_pylist([person("u")], PEOPLE))
    assert np.isnan(candidates.position_of(nobody.more["placed"], np.arange(4), start, WINDOW)).all()
