"""The champion's effects are judged on tonight's trials, or it is said why they cannot be."""

from dataclasses import replace
from datetime import date

import pytest

from jobs.models.scoring import EffectModel
from jobs.runtime.args import JobArgs
from jobs.runtime.choices import Champion, Registered
from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Site
from jobs.train_uplift import judge_champion
from tests.models.nights import ADJUSTED, HOW, night

SHOP = Site(site="shop", outcome=Outcome(event_types=("purchase",)), effects=HOW)
MADE = Registered("3", "models:/shop-uplift/3", "f" * 64)


@pytest.fixture
def args() -> JobArgs:
    return JobArgs(SHOP, date(2024, 1, 8), Environment.load())


@pytest.fixture
def champion() -> Champion:
    """The effect model of another night of the same world."""
    _, before = night(seed=1).fit()
    model = EffectModel(before.propensity, before.effects, HOW.folds, HOW.overlap_eps, ADJUSTED)
    return Champion(MADE, model.files(), "")


def test_a_champion_is_pinned_by_its_number_with_its_qini_on_tonights_trials(args: JobArgs, champion: Champion) -> None:
    trials, tonight = night().fit()
    found = judge_champion(args, champion, ADJUSTED, trials, tonight.predicted)
    assert {name: found[name] for name in ("version", "model_uri", "sha256")} == MADE.document()
    assert not found["missing"] and found["qini"]["low"] > 0
    assert judge_champion(args, champion, ADJUSTED, trials, tonight.predicted) == found


def test_a_champion_that_adjusts_for_other_columns_than_the_graph_cannot_be_used(
    args: JobArgs, champion: Champion
) -> None:
    trials, tonight = night().fit()
    found = judge_champion(args, champion, ADJUSTED[1:], trials, tonight.predicted)
    assert "other columns than the site's causal graph" in found["missing"]
    assert found["qini"] is None and "version" not in found


def test_no_champion_is_said_to_be_none(args: JobArgs, champion: Champion) -> None:
    trials, tonight = night().fit()
    none = replace(champion, registered=None, files={}, missing="there is none")
    expected = {"missing": "there is none", "qini": None}
    assert judge_champion(args, none, ADJUSTED, trials, tonight.predicted) == expected
