"""Feature rows from arrays: bits across words, what is missing, and any order of what happened."""

from random import Random

import numpy as np
import pyarrow as pa
import pytest

from jobs.tables import contracts
from jobs.transforms import pairs, people
from tests.transforms.rows import PEOPLE, event, person

RUN_DAY = 19_000


def read(row: dict) -> people.Person:
    (one,) = people.read(pa.RecordBatch.from_pylist([row], PEOPLE))
    return one


def words(ages: list[int], reach: int = 240) -> list[int]:
    """The bits of PAIR_SHOWN_DAYS for showings so many days before the run day."""
    out = [0] * (reach // pairs.WORD)
    for age in ages:
        out[(age - 1) // pairs.WORD] |= 1 << ((age - 1) % pairs.WORD)
    return out


def things(as_of: int) -> pairs.Things:
    table = np.arange(3 * len(contracts.ITEM_FEATURES), dtype=np.float32).reshape(3, -1)
    return pairs.Things(RUN_DAY, np.array([0, 0, -1]), {as_of: table})


@pytest.mark.parametrize("back", [0, 1, 59, 60, 61, 119, 130])
def test_showings_are_counted_back_from_any_day(back: int) -> None:
    random = Random(back)
    shown = {item: sorted({random.randint(1, 239) for _ in range(9)} | {back + 60, back + 61}) for item in (0, 1)}
    rows = [{"item": item, "days": words(ages)} for item, ages in shown.items()]
    found = pairs.features(read(person("u", shown=rows)), np.arange(3), RUN_DAY - back, things(RUN_DAY - back))
    for item, ages in shown.items():
        since = [age - back for age in ages if 1 <= age - back <= pairs.SHOWN_DAYS]
        assert found["days_since_shown"][item] == min(since)
        assert found["shown_7d"][item] == sum(age <= 7 for age in since)
        assert found["shown_28d"][item] == sum(age <= 28 for age in since)
    assert np.isnan([found[name][2] for name in ("days_since_shown", "shown_7d", "shown_28d")]).all()


def test_a_showing_of_92_days_ago_and_one_of_today_count_as_none() -> None:
    rows = [{"item": 0, "days": words([3, 10 + 92])}]
    found = pairs.features(read(person("u", shown=rows)), np.arange(1), RUN_DAY - 10, things(RUN_DAY - 10))
    assert np.isnan(found["days_since_shown"][0])


def test_any_order_of_what_happened_gives_the_same_row() -> None:
    random = Random(1)
    events = [
        event(RUN_DAY - age, item, outcomes=n, feedback=0.1 * n, votes=1.0, voters=1.0, vote_change=0.3)
        for item in (0, 1, 2)
        for age, n in ((3, 1.0), (40, 2.0), (100, 0.0), (250, 1.0))
    ]
    first = pairs.features(read(person("u", history=events)), np.arange(3), RUN_DAY, things(RUN_DAY))
    random.shuffle(events)
    again = pairs.features(read(person("u", history=events)), np.arange(3), RUN_DAY, things(RUN_DAY))
    assert all(np.array_equal(first[name], again[name], equal_nan=True) for name in contracts.FEATURES)
    assert first["mean_gap_days"][0] == pytest.approx((250 - 3) / 2)
    assert first["category_outcomes_91d"].tolist()[:2] == [6.0, 6.0]
    assert np.isnan(first["category_outcomes_91d"][2]), "an item without a category"
    assert np.isnan(first["category_share_91d"]).all(), "no row of the user's own features"


def test_a_user_without_a_past_has_the_items_features_alone() -> None:
    found = pairs.features(read(person("u")), np.arange(3), RUN_DAY, things(RUN_DAY))
    assert list(found) == list(contracts.FEATURES)
    for place, name in enumerate(contracts.ITEM_FEATURES):
        assert found[name].tolist() == [
            place,
            len(contracts.ITEM_FEATURES) + place,
            2 * len(contracts.ITEM_FEATURES) + place,
        ]
    for name in (*contracts.USER_FEATURES, *contracts.PAIR_FEATURES):
        assert np.isnan(found[name]).all(), name
