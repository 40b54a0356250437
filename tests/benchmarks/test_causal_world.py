import numpy as np
import pandas as pd
import pytest

from benchmarks import causal_world
from benchmarks.causal_world import PERIODS, RUN_DATE, World

USERS, ITEMS = 40, 300


@pytest.fixture
def world() -> World:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.0, 0.3, (USERS, ITEMS))
    users, items = (np.array([f"{kind}{n}" for n in range(size)]) for kind, size in (("u", USERS), ("i::", ITEMS)))
    return World(users, items, base + rng.uniform(0.0, 0.4, base.shape), base, rng.uniform(0.1, 0.9, base.shape))


def test_the_oracle_is_best_and_chance_finds_the_mean_effect(world):
    best = causal_world.metrics(world.effect, world.effect)
    chance = causal_world.metrics(np.random.default_rng(1).random(world.effect.shape), world.effect)
    assert best["cp_10"] == pytest.approx(np.sort(world.effect, axis=1)[:, -10:].mean())
    assert chance["cp_10"] == pytest.approx(world.effect.mean(), abs=0.02)
    assert all(best[name] > chance[name] for name in best)


def test_personalized_shows_each_user_as_much_and_the_likeliest_most(world):
    other = world.personalized()
    assert other.propensity.sum(axis=1) == pytest.approx(causal_world.SHOWN_PER_USER)
    order = np.argsort(-world.relevance, axis=1)
    assert (np.diff(np.take_along_axis(other.propensity, order, axis=1), axis=1) <= 0).all()
    assert np.array_equal(other.effect, world.effect)


def test_smoothed_rates_lie_between_own_and_item(world):
    outcomes, trials = np.array([[3.0, 0.0], [1.0, 0.0]]), np.array([[4.0, 0.0], [4.0, 2.0]])
    found = causal_world._smooth(outcomes, trials)
    assert found[0, 0] == pytest.approx((0.75 + 0.4 * 0.5) / 1.4)
    assert found[0, 1] == 0.0


def test_bayes_limit_is_the_posterior_over_the_other_users(world):
    drawn = causal_world.draw(world, 0)
    counts = drawn.counts()
    user, item = 3, 7
    n1, y1, n0, y0 = (count[user, item] for count in counts)
    others = np.arange(USERS) != user
    a, b = world.shown[others, item], world.not_shown[others, item]
    chance = a**y1 * (1 - a) ** (n1 - y1) * b**y0 * (1 - b) ** (n0 - y0)
    assert causal_world.bayes_limit(world, counts)[user, item] == pytest.approx(chance @ (a - b) / chance.sum())


def test_a_pair_without_a_trial_has_the_difference_of_its_item():
    counts = tuple(np.array(count)[:, None] for count in ([2, 0], [1, 0], [4, 0], [1, 0]))
    found = causal_world.shrunken_difference(counts)
    assert found[1, 0] == pytest.approx(1 / 2 - 1 / 4) and found[0, 0] == pytest.approx(1.5 / 3 - 1.25 / 5)


def test_raw_tables_hold_every_trial_in_its_week(world, tmp_path):
    drawn = causal_world.draw(world, 0)
    causal_world.write(world, drawn, tmp_path / "raw", True, 0)
    tables = {name: pd.read_parquet(tmp_path / "raw" / f"{name}.parquet") for name in ("interactions", "exposures")}
    start = pd.Timestamp(RUN_DATE, tz="UTC") - pd.Timedelta(weeks=PERIODS)
    bought = tables["interactions"].query("event_type == 'purchase'")
    for table, moment, truth in (
        (tables["exposures"], "exposed_at", drawn.treated),
        (bought, "event_ts", drawn.outcome),
    ):
        again = np.zeros(truth.shape, dtype=bool)
        week = ((table[moment] - start).dt.days // 7).to_numpy()
        user, item = (
            pd.Index(names).get_indexer(table[column])
            for names, column in ((world.users, "user_id"), (world.items, "item_id"))
        )
        again[week, user, item] = True
        assert np.array_equal(again, truth) and len(table) == truth.sum()
    logged = tables["exposures"]
    user, item = pd.Index(world.users).get_indexer(logged.user_id), pd.Index(world.items).get_indexer(logged.item_id)
    assert np.array_equal(logged["propensity"], world.propensity[user, item])
    visits = tables["interactions"].query("event_type == 'visit'")
    assert len(visits) == USERS * PERIODS and set(visits.item_id) == {causal_world.FIXED}
