import numpy as np
import pandas as pd

from jobs.models import pooling


def periods_of(rng, effects, periods=12, rate=0.1, shown_share=0.4):
    bits = 1 << np.arange(periods)
    shown = rng.random((len(effects), periods)) < shown_share
    bought = rng.random((len(effects), periods)) < rate + shown * effects[:, None]
    return pd.DataFrame({"shown": shown @ bits, "outcome": bought @ bits, "eligible": (1 << periods) - 1})


def test_split_halves_recover_the_variance_between_pairs():
    rng = np.random.default_rng(0)
    effects = rng.choice([0.0, 0.3], 20_000)
    variance, said = pooling.pair_variance(np.full(20_000, 0.15), periods_of(rng, effects), np.ones(20_000))
    assert said > 10_000
    assert abs(variance - 0.0225) < 0.006


def test_no_variance_between_pairs_is_the_floor_or_close():
    rng = np.random.default_rng(1)
    variance, _ = pooling.pair_variance(np.full(20_000, 0.1), periods_of(rng, np.full(20_000, 0.1)), np.ones(20_000))
    assert pooling.FLOOR <= variance < 0.004


def test_posterior_shrinks_and_covers():
    rng = np.random.default_rng(2)
    effects = rng.normal(0.3, 0.1, 20_000)
    counts = pooling.half_counts(periods_of(rng, effects, rate=0.3, shown_share=0.5), pooling.ODD | pooling.EVEN)
    items = {"item_id": ["a"], "offset": [0.0], "offset_variance": [0.0]}
    items |= {"rate_treated": [0.6], "rate_control": [0.3], "both_arms": [True]}
    made = pooling.Pooling(1.0, 0.0, 0.0, 0.01, 0.0, 0.6, 0.3, items)
    found = pooling.posterior(made, np.full(20_000, 0.3), np.full(20_000, "a"), counts)
    raw, _ = pooling.own_difference(counts, np.full(20_000, 0.6), np.full(20_000, 0.3))
    covered = ((found["low"] <= effects) & (effects <= found["high"])).mean()
    assert 0.86 < covered < 0.94
    assert ((found["effect"] - effects) ** 2).mean() < 0.5 * ((raw - effects) ** 2).mean()


def test_pair_without_an_arm_keeps_the_prior():
    counts = pd.DataFrame(
        {"treated": [0, 3], "treated_outcomes": [0, 3], "control": [9, 0], "control_outcomes": [5, 0]}
    )
    made = pooling.Pooling(
        1.0,
        0.01,
        0.0,
        0.01,
        0.002,
        0.2,
        0.1,
        {name: [] for name in ("item_id", "offset", "offset_variance", "rate_treated", "rate_control", "both_arms")},
    )
    found = pooling.posterior(made, np.array([0.04, 0.04]), ["x", "y"], counts)
    assert np.allclose(found["effect"], 0.05)
    assert not found["both_arms"].any()


def test_calibration_slope_stays_within_its_bounds():
    rng = np.random.default_rng(3)
    predicted = rng.normal(size=2_000)
    users = np.arange(2_000).astype(str)
    for factor, slope in ((-1.0, 0.0), (0.5, 0.5), (5.0, 1.5)):
        found, _, _ = pooling.calibrate(predicted, factor * predicted, np.ones(2_000), users)
        assert np.isclose(found, slope)
