"""Tuning finds settings that rank better, never with less variety, and starts from the site's own."""

from collections.abc import Iterator

import optuna
import pandas as pd
import pytest

from jobs.models import lists, tuning
from jobs.runtime.labelled import InMemory
from jobs.runtime.recipes import Recipe
from jobs.runtime.site import Ranking, Site
from jobs.tables.contracts import SOURCES
from tests.labelled_windows import DAYS, candidates, real, site

NOTHING = lists.ItemFacets(pd.Series(dtype=object), pd.DataFrame())


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def own(shop: Site, retrieval: bool = False, **changed: object) -> Recipe:
    params = tuning.own_params(shop, retrieval) | changed
    return tuning.suggest(optuna.trial.FixedTrial(params), shop, retrieval)


def ask(seed: int, shop: Site, retrieval: bool) -> Recipe:
    """A recipe at random."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return tuning.suggest(study.ask(), shop, retrieval)


def studied(shop: Site, trials: int) -> optuna.Study:
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
    )
    frame = candidates()
    study.enqueue_trial(tuning.own_params(shop, False), user_attrs={tuning.OWN: True})
    study.optimize(tuning.objective(InMemory(frame, 0), real(frame), shop, NOTHING, False), n_trials=trials)
    return study


def test_the_sites_own_settings_are_tried_first_and_the_best_is_never_worse() -> None:
    study = studied(site(), 6)
    first, mine = study.trials[0], tuning.own_trial(study)
    assert mine is not None and mine.number == first.number == 0 and first.value is not None
    assert study.best_value >= first.value > 0.5
    assert all(set(trial.intermediate_values) <= {0, 1} for trial in study.trials)
    assert tuning.suggest(optuna.trial.FixedTrial(first.params), site(), False) == Recipe.of_site(site())


def test_settings_that_learn_nothing_are_found_out() -> None:
    poor = site(
        ranker=site().ranker.model_copy(
            update={"label_windows": 2, "max_depth": 3, "learning_rate": 0.03, "ranking_rounds": 0}
        )
    )
    study = studied(poor, 6)
    assert study.best_trial.number > 0 and study.best_value > study.trials[0].value


def test_a_list_that_is_less_varied_than_the_sites_own_is_pruned_however_good() -> None:
    shop = site(ranking=Ranking(max_per_category=5, variety="calibrated", variety_weight=0.6))
    frame = candidates().assign(category_share_91d=1 / 3)  # everybody had a third of each category ...
    frame["outcomes_28d"] += 2.0 * (frame["category"] == "c0")  # ... and now wants one
    frame["label"] = (frame["outcomes_28d"] > 0.8).astype("int32")
    run = tuning.objective(InMemory(frame, 0), real(frame), shop, NOTHING, False)
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(tuning.own_params(shop, False), user_attrs={tuning.OWN: True})
    study.enqueue_trial(tuning.own_params(shop, False) | {"variety": "none"})
    study.optimize(run, n_trials=2)
    mine, plain = study.trials
    assert mine.state is optuna.trial.TrialState.COMPLETE and plain.state is optuna.trial.TrialState.PRUNED
    assert plain.user_attrs[tuning.VARIETY] < tuning.LESS * mine.user_attrs[tuning.VARIETY]
    assert plain.intermediate_values[1] > mine.intermediate_values[1], "it ranks better, and is not taken for it"
    assert study.best_trial.number == 0


def test_what_fills_lists_and_the_caps_are_never_tried_away() -> None:
    shop = site(ranking=Ranking(max_per_category=2, max_per_brand=1))
    recipes = [ask(seed, shop, retrieval=True) for seed in range(20)]
    always = set(tuning.ALWAYS) & set(SOURCES)
    assert always and all(always <= set(recipe.sources) <= set(SOURCES) for recipe in recipes)
    assert len({recipe.sources for recipe in recipes}) > 1
    assert all(2 <= recipe.ranker.label_windows <= 3 for recipe in recipes)
    assert not {"max_per_category", "max_per_brand"} & set(Recipe.model_fields)
    assert {ask(seed, shop, retrieval=False).sources for seed in range(5)} == {SOURCES}


def test_the_trees_that_order_the_top_are_tried_where_there_are_some() -> None:
    ranker = [ask(seed, site(), retrieval=False).ranker for seed in range(40)]
    low, high = tuning.RANKING_ROUNDS
    tried = {one.ranking_rounds for one in ranker if one.objective == "binary:logistic"}
    assert len(tried) > 5 and low <= min(tried) and max(tried) <= high
    assert {one.ranking_rounds for one in ranker if one.objective == "rank:ndcg"} == {site().ranker.ranking_rounds}
    many = site(ranker=site().ranker.model_copy(update={"ranking_rounds": 500}))
    assert own(many).ranker.ranking_rounds == high, "the site's own are tried as near as may be"
    listwise = site(ranker=site().ranker.model_copy(update={"objective": "rank:ndcg"}))
    assert own(listwise) == Recipe.of_site(listwise)


def test_a_window_is_predicted_from_those_before_it_only() -> None:
    frame, shop = candidates(), site()
    later = frame["as_of"] >= DAYS[1]
    changed = frame.assign(label=frame["label"].where(~later, 1 - frame["label"]))
    first, second = (tuning.lists_of(InMemory(each, 0), DAYS[1], own(shop), shop, NOTHING) for each in (frame, changed))
    pd.testing.assert_frame_equal(first, second)
    assert first.groupby("user_id")["position"].agg(list).map(lambda places: places == [1, 2, 3, 4, 5]).all()


def test_a_source_left_out_and_an_owned_item_are_not_listed() -> None:
    frame, shop = candidates(), site()
    frame["from_item_cf"], frame["from_popularity"] = frame["item_id"] >= "i10", frame["item_id"] < "i10"
    frame.loc[frame["item_id"] == "i00", "days_since_last"] = 3.0
    data = InMemory(frame, 0)

    def items(recipe: Recipe, shop: Site) -> set[str]:
        return set(tuning.lists_of(data, DAYS[2], recipe, shop, NOTHING)["item_id"])

    everything = items(own(shop, True), shop)
    assert max(everything) >= "i10" and "i00" in everything
    assert max(items(own(shop, True, from_item_cf=False), shop)) < "i10"
    never = site(ranking=Ranking(max_per_category=4, owned="never"))
    assert items(own(never, True), never) == everything - {"i00"}


def test_ndcg_is_one_for_the_best_list_and_misses_count() -> None:
    listed = pd.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"], "position": [1, 2], "category": ["x", "y"]})
    wanted = pd.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"]})
    assert tuning.ndcg(listed, wanted, 2) == pytest.approx(1.0)
    assert tuning.ndcg(listed, pd.concat([wanted, wanted.assign(user_id="v")]), 2) == pytest.approx(0.5)
    assert tuning.variety(listed, 4) == 0.5
