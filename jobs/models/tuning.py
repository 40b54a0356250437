"""Settings of ranker, retrieval and list building, tried by the lists they would have made in later label windows."""

from collections.abc import Callable, Mapping
from datetime import date

import numpy as np
import optuna
import pandas as pd

from jobs.models import lists, ranker
from jobs.models.folds import threads
from jobs.models.lists import ItemFacets, ListSettings
from jobs.models.metrics import list_metrics
from jobs.models.selection import Mix
from jobs.runtime.labelled import InMemory
from jobs.runtime.recipes import Recipe
from jobs.runtime.site import Site
from jobs.tables.contracts import SOURCES

# without these lists may be short, of few categories, or never hold a new item
ALWAYS = ("from_repeat", "from_popularity", "from_category_popularity", "from_new")
OWN = "own"  # marks the trial of the site's own settings
VARIETY = "variety"  # mean share of a list's places that bring a category of their own
LESS = 0.99  # of the own settings' variety is as good as it
DEPTHS, RATES, WEIGHTS = (3, 9), (0.03, 0.3), (0.05, 0.6)
RANKING_ROUNDS = (0, 120)

Params = dict[str, object]


def suggest(trial: optuna.trial.BaseTrial, site: Site, retrieval: bool) -> Recipe:
    """The recipe of one trial; the caps of lists are not touched, they are what somebody wants.

    ``retrieval`` is whether sources are chosen among: where every item is a candidate there is nothing to choose.
    """
    learner = {
        "objective": trial.suggest_categorical("objective", ["binary:logistic", "rank:ndcg"]),
        "max_depth": trial.suggest_int("max_depth", *DEPTHS),
        "learning_rate": trial.suggest_float("learning_rate", *RATES, log=True),
        "label_windows": trial.suggest_int("label_windows", 2, site.ranker.label_windows),
    }
    if learner["objective"] == "binary:logistic":  # of rank:ndcg all trees are
        learner["ranking_rounds"] = trial.suggest_int("ranking_rounds", *RANKING_ROUNDS)
    chosen = [
        name for name in SOURCES if name in ALWAYS or not retrieval or trial.suggest_categorical(name, [True, False])
    ]
    variety = trial.suggest_categorical("variety", ["none", "mmr", "calibrated"])
    return Recipe(
        ranker=site.ranker.model_copy(update=learner),
        sources=tuple(chosen),
        variety=variety,
        variety_weight=site.ranking.variety_weight
        if variety == "none"
        else trial.suggest_float("variety_weight", *WEIGHTS),
    )


def own_params(site: Site, retrieval: bool) -> Params:
    """The site's own settings as parameters of a trial, as near as what is tried comes to them."""
    how, lists_ = site.ranker, site.ranking
    own: Params = {
        "objective": how.objective,
        "max_depth": int(np.clip(how.max_depth, *DEPTHS)),
        "learning_rate": float(np.clip(how.learning_rate, *RATES)),
        "label_windows": how.label_windows,
        "variety": lists_.variety,
    }
    if how.objective == "binary:logistic":
        own["ranking_rounds"] = int(np.clip(how.ranking_rounds, *RANKING_ROUNDS))
    if lists_.variety != "none":
        own["variety_weight"] = float(np.clip(lists_.variety_weight, *WEIGHTS))
    return own | ({name: True for name in SOURCES if name not in ALWAYS} if retrieval else {})


def objective(
    data: InMemory, real: Mapping[pd.Timestamp, pd.DataFrame], site: Site, about: ItemFacets, retrieval: bool
) -> Callable[[optuna.Trial], float]:
    """NDCG at the list's length, meaned over users and later windows, of lists that are as varied as the site's own.

    Args:
        data: labelled candidates; each window of ``real`` is predicted by what was learnt from windows before it.
        real: user_id and item_id of what had an outcome in each window that lists are judged in, by its as-of day.
        about: brands and vectors of the items.

    A trial is pruned where it is behind the median of the others after a window, or where its lists hold fewer
    categories than those of the site's own settings, which are tried first.
    """

    def run(trial: optuna.Trial) -> float:
        recipe = suggest(trial, site, retrieval)
        found, varied = [], []
        for step, (day, wanted) in enumerate(sorted(real.items())):
            listed = lists_of(data, day, recipe, site, about)
            found.append(ndcg(listed, wanted, site.list_length))
            varied.append(variety(listed, site.list_length))
            trial.report(float(np.mean(found)), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr(VARIETY, float(np.mean(varied)))
        own = own_trial(trial.study)
        if own is not None and np.mean(varied) < LESS * own.user_attrs[VARIETY]:
            raise optuna.TrialPruned
        return float(np.mean(found))

    return run


def own_trial(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """The trial of the site's own settings, or None before it ended."""
    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return next((trial for trial in done if OWN in trial.user_attrs), None)


def lists_of(data: InMemory, day: pd.Timestamp, recipe: Recipe, site: Site, about: ItemFacets) -> pd.DataFrame:
    """user_id, item_id, category and position of the lists by relevance of ``day``, learnt from the windows before."""
    fitted, test = data.fit(recipe, before=day), data.window(day)
    test = test[ranker.kept(test, recipe.sources) & ~(test["days_since_last"] <= site.owned_days).to_numpy()]
    test = test.reset_index(drop=True)
    scores = test[["user_id", "item_id", "category"]].assign(
        category_share=test["category_share_91d"], relevance=fitted.score(ranker.matrix(test), threads())
    )
    caps = site.ranking
    mix = Mix(site.list_length, caps.max_per_category, caps.max_per_brand, recipe.variety, recipe.variety_weight)
    picked = lists.pick(scores, ListSettings(site.site, date.min, mix, 0.0, 0.0, effects_hold=False), about)
    first = np.flatnonzero(~scores["user_id"].duplicated())
    rows = [start + one.likely for start, one in zip(first, picked, strict=True)]
    position = np.concatenate([np.arange(1, len(each) + 1) for each in rows])
    return scores.iloc[np.concatenate(rows)][["user_id", "item_id", "category"]].assign(position=position)


def ndcg(listed: pd.DataFrame, real: pd.DataFrame, k: int) -> float:
    """Mean NDCG@k over the users with an outcome."""
    ranked = listed.merge(real.assign(hit=1.0), how="left", on=["user_id", "item_id"]).fillna({"hit": 0.0})
    return float(list_metrics(ranked, real.groupby("user_id").size(), k)["ndcg"].mean())


def variety(listed: pd.DataFrame, k: int) -> float:
    """Mean number of categories in a list, as a share of its k places."""
    return float(listed.groupby("user_id")["category"].nunique().mean() / k)
