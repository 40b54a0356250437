"""Lists under caps and with variety: properties that hold for every user and any scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.models import selection
from jobs.models.selection import Facets, Mix

USERS, ITEMS, LENGTH = 6, 40, 8


def world(seed: int, users: int = USERS, items: int = ITEMS) -> tuple[np.ndarray, np.ndarray, Facets]:
    """Order, score and facets of users with the same items; every tenth score is a tie."""
    rng = np.random.default_rng(seed)
    rows = users * items
    user, item = np.repeat(np.arange(users), items), np.tile(np.arange(items), users)
    score = np.round(rng.normal(size=rows), 1)
    kind = rng.integers(0, 5, items)
    vector = rng.normal(size=(items, 4)).astype(np.float32)
    vector /= np.linalg.norm(vector, axis=1, keepdims=True)
    share = rng.dirichlet(np.ones(5), users)
    facets = Facets(user, kind[item], rng.integers(-1, 6, items)[item], share[user, kind[item]], vector[item])
    return np.lexsort((item, -score, user)), score, facets


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    variety=st.sampled_from(["none", "mmr", "calibrated"]),
    weight=st.floats(0, 1),
    brands=st.none() | st.integers(1, 3),
)
def test_every_list_is_full_without_repeats_and_in_order(
    seed: int, variety: selection.Variety, weight: float, brands: int | None
) -> None:
    order, score, facets = world(seed)
    rows = selection.select(order, score, facets, Mix(LENGTH, 3, brands, variety, weight))
    assert len(set(rows)) == len(rows)
    assert np.bincount(facets.user[rows]).tolist() == [LENGTH] * USERS
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    assert (np.diff(place[rows]) > 0).all()


@pytest.mark.parametrize("variety", ["none", "mmr", "calibrated"])
def test_caps_hold_where_there_is_enough_else(variety: selection.Variety) -> None:
    for seed in range(5):
        order, score, facets = world(seed)
        rows = selection.select(order, score, facets, Mix(LENGTH, 3, 2, variety, 0.5))
        for user in range(USERS):
            mine = rows[facets.user[rows] == user]
            brand = facets.brand[mine]
            assert np.bincount(facets.category[mine]).max() <= 3
            assert np.bincount(brand[brand >= 0]).max() <= 2


def test_without_variety_it_is_the_best_under_the_cap_one_after_the_other() -> None:
    order, score, facets = world(1)
    rows = selection.select(order, score, facets, Mix(LENGTH, 2))
    for user in range(USERS):
        taken: list[int] = []
        for row in order[facets.user[order] == user]:
            kinds = facets.category[taken]
            if len(taken) < LENGTH and (kinds == facets.category[row]).sum() < 2:
                taken.append(int(row))
        assert rows[facets.user[rows] == user].tolist() == taken


def test_what_was_passed_over_fills_a_list_the_caps_leave_short() -> None:
    order, score, facets = world(2)
    same = Facets(facets.user, facets.category * 0, facets.brand, facets.share, facets.vector)
    rows = selection.select(order, score, same, Mix(LENGTH, 2))
    assert np.bincount(facets.user[rows]).tolist() == [LENGTH] * USERS
    assert rows.tolist() == selection.select(order, score, facets, Mix(LENGTH, ITEMS)).tolist()


@pytest.mark.parametrize("variety", ["mmr", "calibrated"])
def test_weight_zero_is_the_score_alone(variety: selection.Variety) -> None:
    order, score, facets = world(3)
    plain, mixed = (
        selection.select(order, score, facets, Mix(LENGTH, 3, None, kind, 0.0)) for kind in ("none", variety)
    )
    assert plain.tolist() == mixed.tolist()


def test_marginal_relevance_equals_a_slow_one() -> None:
    order, score, facets = world(4, users=1)
    rows = selection.select(order, score, facets, Mix(LENGTH, ITEMS, None, "mmr", 0.6))
    level = (score - score.min()) / (score.max() - score.min())
    picked: list[int] = []
    while len(picked) < LENGTH:
        value = {
            row: 0.4 * level[row]
            - 0.6 * max((max(float(facets.vector[row] @ facets.vector[other]), 0.0) for other in picked), default=0.0)
            for row in order
            if row not in picked
        }
        picked.append(max(order[[row not in picked for row in order]], key=lambda row: value[row]))
    assert sorted(rows) == sorted(picked)


def test_more_weight_makes_lists_less_alike() -> None:
    order, score, facets = world(5)

    def alike(weight: float) -> float:
        rows = selection.select(order, score, facets, Mix(LENGTH, ITEMS, None, "mmr", weight))
        mine = (facets.vector[rows[facets.user[rows] == user]] for user in range(USERS))
        return float(np.mean([(one @ one.T)[np.triu_indices(LENGTH, 1)].mean() for one in mine]))

    assert alike(0.9) < alike(0.5) < alike(0.0)


def test_a_calibrated_list_has_the_users_shares() -> None:
    items = 100
    user, kind = np.zeros(items, dtype=np.int64), np.arange(items) % 4
    wanted = np.array([0.5, 0.3, 0.2, 0.0])
    score = np.where(kind == 3, 1.0, 0.5) - np.arange(items) / 1e4  # the best are of a category the user never had
    facets = Facets(user, kind, user - 1, wanted[kind], np.zeros((items, 1), np.float32))
    order = np.argsort(-score, kind="stable")
    rows = selection.select(order, score, facets, Mix(10, items, None, "calibrated", 0.99))
    assert np.bincount(kind[rows], minlength=4).tolist() == [5, 3, 2, 0]
    alone = selection.select(order, score, facets, Mix(10, items, None, "calibrated", 0.0))
    assert np.bincount(kind[alone], minlength=4).tolist() == [0, 0, 0, 10]


def test_equal_scores_go_to_the_earlier_row_whatever_the_variety() -> None:
    order, _, facets = world(6)
    flat = np.zeros(len(order))
    by_id = np.arange(len(order))
    for variety in ("none", "calibrated"):
        first, again = (selection.select(by_id, flat, facets, Mix(LENGTH, 3, 2, variety, 0.0)) for _ in range(2))
        assert first.tolist() == again.tolist()
    plain = selection.select(by_id, flat, facets, Mix(LENGTH, ITEMS))
    assert plain.tolist() == [row for row in by_id if row % ITEMS < LENGTH]


def test_no_candidate_is_no_list() -> None:
    _, score, facets = world(0)
    none = np.zeros(0, dtype=np.int64)
    for mix in (Mix(LENGTH, 3), Mix(LENGTH, 3, 1, "mmr", 0.5)):
        assert selection.select(none, score[:0], facets.take(none), mix).tolist() == []
