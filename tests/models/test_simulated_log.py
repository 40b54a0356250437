"""Rows learnt from are dated before what they predict, and count what the night's own counting would."""

import numpy as np
import pytest

from jobs.models import prior, ranker, simulated_log
from jobs.models.simulated_log import Log, Masks
from jobs.runtime.site import Effects, Outcome, Ranker, Site
from jobs.tables.contracts import FEATURES

USERS, ITEMS, PERIODS = 12, 7, 6
SITE = Site(
    site="simulated",
    outcome=Outcome(event_types=("purchase",)),
    history_periods=4,
    ranker=Ranker(label_windows=2),
    effects=Effects(max_trials=1_000, folds=2),
)


@pytest.fixture
def log() -> Log:
    rng = np.random.default_rng(0)
    made = Log(np.arange(ITEMS) % 3)
    for _ in range(PERIODS):
        active = rng.random(USERS) < 0.8
        shown = active[:, None] & (rng.random((USERS, ITEMS)) < 0.4)
        outcome = active[:, None] & (rng.random((USERS, ITEMS)) < 0.3)
        made.add(active, shown, outcome, np.where(shown, 0.4, np.nan))
    return made


def column(log: Log, name: str, now: int = PERIODS) -> np.ndarray:
    return log.features(now)[name]


def test_windows_count_what_happened_in_them(log: Log) -> None:
    outcome, shown = np.array(log.outcome), np.array(log.shown)
    assert (column(log, "outcomes_28d") == outcome[-4:].sum(axis=0)).all()
    assert (column(log, "item_outcomes_7d")[0] == outcome[-1].sum(axis=0)).all()
    assert (column(log, "user_outcomes_91d")[:, 0] == outcome.sum(axis=(0, 2))).all()
    seen = shown.any(axis=0)
    assert (column(log, "shown_7d")[seen] == shown[-1][seen]).all()
    assert np.isnan(column(log, "shown_7d")[~seen]).all()
    decayed = sum(0.5 ** (7 * age / 28) * outcome[-age] for age in range(1, PERIODS + 1))
    assert column(log, "outcomes_decayed_28d") == pytest.approx(decayed)


def test_days_since_the_last_are_whole_weeks(log: Log) -> None:
    outcome = np.array(log.outcome)
    for user in range(USERS):
        for item in range(ITEMS):
            weeks = [PERIODS - period for period in range(PERIODS) if outcome[period, user, item]]
            found = column(log, "days_since_last")[user, item]
            assert found == 7 * min(weeks) if weeks else np.isnan(found)


def test_a_category_s_outcomes_are_its_items(log: Log) -> None:
    total = np.array(log.outcome).sum(axis=0)
    assert (column(log, "category_outcomes_91d")[:, 1] == total[:, [1, 4]].sum(axis=1)).all()


def test_features_know_nothing_of_what_comes_after(log: Log) -> None:
    before = {name: values.copy() for name, values in log.features(4).items()}
    log.counted.clear()
    for part in (log.shown, log.outcome, log.active):
        part[4:] = [~values for values in part[4:]]
    assert all(np.array_equal(values, log.features(4)[name], equal_nan=True) for name, values in before.items())


def test_every_counted_feature_is_a_column_of_the_models(log: Log) -> None:
    assert set(log.features(3)) <= set(ranker.COLUMNS)
    assert len(set(log.features(3)) & set(FEATURES)) >= 20


def test_masks_count_the_trials_of_a_pair(log: Log) -> None:
    counts = Masks.of(log, log, 4).counts().reshape(USERS, ITEMS, 4)
    active, shown, outcome = (np.array(part[-4:]) for part in (log.active, log.shown, log.outcome))
    control = active[:, :, None] & shown.any(axis=1)[:, None, :] & ~shown
    assert (counts[..., 0] == shown.sum(axis=0)).all()
    assert (counts[..., 1] == (shown & outcome).sum(axis=0)).all()
    assert (counts[..., 2] == control.sum(axis=0)).all()
    assert (counts[..., 3] == (control & outcome).sum(axis=0)).all()


def test_a_twin_s_counts_are_his_own_and_play_is_the_site_s(log: Log) -> None:
    twin = Log(log.category)
    for period in range(PERIODS):
        nothing = np.zeros((USERS, ITEMS), bool)
        twin.add(log.active[period], nothing, nothing, nothing.astype(float))
    counts = Masks.of(twin, log, 4).counts()
    assert not counts[:, :2].any()
    assert counts[:, 2].any()


def test_trials_are_of_the_later_half_with_counts_from_before_them(log: Log) -> None:
    pairs = simulated_log.trials(log, SITE)
    trials = pairs.trials
    possible = sum(
        int((log.active[now][:, None] & log.shown[now].any(axis=0)[None, :]).sum())
        for now in (PERIODS - 2, PERIODS - 1)
    )
    assert len(trials.outcome) == possible and (trials.weight == 1).all()
    assert trials.treated.sum() == log.shown[-1].sum() + log.shown[-2].sum()
    assert trials.outcome.sum() == sum(
        (log.outcome[now] & log.active[now][:, None] & log.shown[now].any(axis=0)).sum() for now in (-2, -1)
    )
    assert (pairs.counts[:, 0] + pairs.counts[:, 2]).max() <= 3, "at most the three periods before the last"
    assert (np.isfinite(pairs.logged) == (trials.treated == 1)).all()


def test_a_sample_weighs_as_much_as_all(log: Log) -> None:
    few = SITE.model_copy(
        update={"effects": Effects.model_construct(**(SITE.effects.model_dump() | {"max_trials": 60}))}
    )
    every, drawn = (simulated_log.trials(log, site).trials for site in (SITE, few))
    assert 30 < len(drawn.outcome) < 90
    assert drawn.weight[0] == pytest.approx(len(every.outcome) / 60)


def test_the_prior_takes_all_pairs(log: Log) -> None:
    found, both = simulated_log.fit_prior(log, SITE)
    assert found.weights.shape == (3, ITEMS + 1, len(prior.EFFECT))
    assert both == frozenset(simulated_log.names("i", ITEMS))


def test_labels_are_the_outcomes_of_the_period_after_the_features(log: Log) -> None:
    frame = simulated_log.labelled(log, SITE)
    assert sorted(frame["as_of"].unique()) == [PERIODS - 2, PERIODS - 1]
    latest = frame[frame["as_of"] == PERIODS - 1]
    assert (latest["label"].to_numpy() == log.outcome[-1].ravel()).all()
    assert (latest["outcomes_28d"].to_numpy() == np.array(log.outcome[1:-1]).sum(axis=0).ravel()).all()
