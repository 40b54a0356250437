"""Comparisons of challenger and champion find who is better, and by pairs of the same users."""

import numpy as np
import pandas as pd
import pytest

from jobs.models import champions, effect_figures
from jobs.models.engine import Fitted
from jobs.models.metrics import Estimate
from jobs.models.scoring import EffectModel
from tests.models.nights import ADJUSTED, HOW, night

USERS, ITEMS = 300, 20


def later_period(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Candidates, what was bought in the later period, and how much each was wanted."""
    rng = np.random.default_rng(seed)
    wanted = rng.normal(size=USERS * ITEMS)
    keys = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{n:03d}" for n in range(USERS)], ITEMS),
            "item_id": np.tile([f"i{n:02d}" for n in range(ITEMS)], USERS),
        }
    )
    bought = rng.random(len(keys)) < 1 / (1 + np.exp(3 - 2 * wanted))
    return keys, keys[bought], wanted


def test_the_better_ranker_leads_and_the_worse_one_lags() -> None:
    keys, real, wanted = later_period()
    noise = np.random.default_rng(1).normal(size=len(wanted))
    good, bad = wanted + 0.2 * noise, wanted + 2 * noise
    lead = champions.paired_ndcg(keys, real, (good, bad), 10, 0)
    lag = champions.paired_ndcg(keys, real, (bad, good), 10, 0)
    assert lead is not None and lag is not None
    assert lead.low > 0.05
    assert lag.value == -lead.value and lag.high < -0.05


def test_a_model_against_itself_has_no_lead_at_all() -> None:
    keys, real, wanted = later_period()
    lead = champions.paired_ndcg(keys, real, (wanted, wanted), 10, 0)
    assert lead is not None and (lead.value, lead.low, lead.high) == (0.0, 0.0, 0.0)


def test_pairs_of_the_same_users_make_the_interval_narrow() -> None:
    keys, real, wanted = later_period()
    noise = np.random.default_rng(1).normal(size=(2, len(wanted)))
    lead = champions.paired_ndcg(keys, real, (wanted + 0.1 * noise[0], wanted + 0.1 * noise[1]), 10, 0)
    assert lead is not None and lead.low < 0 < lead.high and lead.high - lead.low < 0.02


def test_nothing_bought_is_nothing_to_compare() -> None:
    keys, real, wanted = later_period()
    assert champions.paired_ndcg(keys, real.iloc[:0], (wanted, wanted), 10, 0) is None


def qini(model: Fitted) -> float:
    """Lower end of the Qini of a model fitted on another night, on the trials of tonight."""
    trials, tonight = night().fit()
    champion = EffectModel(model.propensity, model.effects, HOW.folds, HOW.overlap_eps, ADJUSTED)
    return champions.champion_qini(champions.says(champion, trials), trials, tonight.predicted, HOW, 0).low


def test_tonights_own_model_as_champion_differs_from_the_challenger_by_its_calibration_only() -> None:
    trials, tonight = night().fit()
    model = EffectModel(tonight.propensity, tonight.effects, HOW.folds, HOW.overlap_eps, ADJUSTED)
    found = champions.champion_qini(champions.says(model, trials), trials, tonight.predicted, HOW, 0)
    challenger = effect_figures.figures(trials, tonight, HOW.bootstrap, 0)["qini"]
    assert isinstance(challenger, Estimate) and found.value == pytest.approx(challenger.value, rel=0.1)


def test_a_champion_that_holds_is_told_from_one_whose_effects_have_gone() -> None:
    _, then = night(seed=1).fit()
    _, stale = night(seed=2, scale=0.0).fit()
    assert qini(then) > 0
    assert qini(then) > qini(stale)
