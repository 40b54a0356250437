"""Effect learners of CausalML, cross-fitted by user and taken out as plain XGBoost boosters with a recipe.

Scoring needs neither CausalML nor pickle: a fold is a dictionary of boosters, and the recipe says how their outputs
become an effect. Each fold learns twice, from all columns and from the pair's history alone, and says the mean of the
two: features find whom an item moves, but trees that may ask for them ask less for what a pair's own few trials say
(bagging: Breiman, Machine Learning 1996). Sources: Kunzel et al., PNAS 2019 (S, T, X); Nie and Wager, Biometrika 2021
(R); Kennedy 2020 (DR); ``forest`` for the causal forest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xgboost import XGBRegressor

from jobs.models import forest, prior
from jobs.models.boosting import predict, to_bytes
from jobs.models.doubly_robust import Trials
from jobs.models.folds import threads
from jobs.models.prior import Posterior
from jobs.models.propensity import clip
from jobs.runtime.site import Effects
from jobs.tables.contracts import USER_FEATURES

Floats = NDArray[np.float64]
Boosters = dict[str, bytes]
RECIPES = {
    "s": "m(x, 1) - m(x, 0), the treatment being the first column",
    "t": "m1 - m0",
    "x": "e * tau_c + (1 - e) * tau_t",
    "r": "tau",
    "dr": "mean of tau_0, tau_1, tau_2",
    "causal_forest": "tau",
}


VARIANCE_FLOOR = 0.01  # of an outcome, in the weights of the learner
ALL, HISTORY = "all", "history"  # views: every column; the last ones, which are the prior's
COLUMN_SHARE = 0.3  # of all columns, that a question is chosen from: most features say little


def names(adjusted: Sequence[str]) -> tuple[str, ...]:
    """Columns of the learner's matrix where the features ``adjusted`` are adjusted for.

    Features of the user are left out: one value stands in hundreds of a user's trials, and boosting learns it by heart.
    """
    return (*(name for name in adjusted if name not in USER_FEATURES), *prior.COLUMNS)


def columns(
    features: NDArray[np.float32], adjusted: Sequence[str], posterior: Posterior, counts: NDArray[Any]
) -> NDArray[np.float32]:
    """The learner's matrix: item and pair features, and what the prior makes of the pair's own ``counts`` (n, 4).

    ``features`` has the columns ``adjusted``; the result has the columns ``names(adjusted)``.
    """
    kept = [place for place, name in enumerate(adjusted) if name not in USER_FEATURES]
    return np.hstack([features[:, kept], posterior.matrix(counts.astype(np.float32))])


def variance(rate: Floats) -> Floats:
    """Of an outcome with this rate, with a floor: one over it weighs a trial."""
    return rate * (1.0 - rate) + VARIANCE_FLOOR


def residuals(trials: Trials, posterior: Posterior) -> Trials:
    """Trials whose outcome is what the posterior rate of their own arm leaves, weighted by one over its variance.

    The effect on the residual is what the posterior effect misses (Robinson, Econometrica 1988, is the same idea).
    """
    rate = np.where(trials.treated == 1, posterior.shown, posterior.not_shown)
    weight = trials.weight / variance(rate)
    return replace(trials, outcome=trials.outcome - rate, weight=weight / weight.mean())


class WeightedRegressor(XGBRegressor):
    """An XGBRegressor whose last column is the row's weight: CausalML passes no weights on, but it passes columns."""

    def fit(self, X: NDArray[Any], y: NDArray[Any], sample_weight: Any = None, **kwargs: Any) -> "WeightedRegressor":
        """Fit on all but the last column, weighted by it (and by ``sample_weight``, where the learner has its own)."""
        weight = X[:, -1] if sample_weight is None else X[:, -1] * sample_weight
        super().fit(X[:, :-1], y, sample_weight=weight, **kwargs)
        return self

    def predict(self, X: NDArray[Any], **kwargs: Any) -> NDArray[Any]:
        """Predictions without the last column."""
        return np.asarray(super().predict(X[:, :-1], **kwargs), dtype=np.float64)


@dataclass(frozen=True)
class Learner:
    """The boosters of each fold (fitted without its users), named by view and part, and the name of their recipe."""

    recipe: str
    folds: tuple[Boosters, ...]

    def predict(
        self, matrix: NDArray[np.float32], e: Floats, fold: NDArray[np.int64] | None, nthread: int = 1
    ) -> Floats:
        """Effects, shape (n,), each from the fold model that never saw the user; ``e`` is the propensity.

        Without folds the mean of all fold models, which is less noisy (bagging: Breiman, Machine Learning 1996): for
        pairs that are scored, not judged.
        """
        if fold is None:
            every = [evaluate(self.recipe, boosters, matrix, e, nthread) for boosters in self.folds]
            return np.asarray(np.mean(every, axis=0))
        effect = np.zeros(len(matrix))
        for k, boosters in enumerate(self.folds):
            rows = fold == k
            if rows.any():
                effect[rows] = evaluate(self.recipe, boosters, matrix[rows], e[rows], nthread)
        return effect


def views(boosters: Boosters) -> list[Boosters]:
    """The parts of each view of a fold; models of before there were views have one, without a name."""
    found: dict[str, Boosters] = {}
    for name, raw in boosters.items():
        view, _, part = name.rpartition("-")
        found.setdefault(view, {})[part] = raw
    return list(found.values())


def evaluate(recipe: str, boosters: Boosters, matrix: NDArray[np.float32], e: Floats, nthread: int = 1) -> Floats:
    """A fold's effect, the mean of its views', for features (n, columns) and propensities (n,)."""
    return np.asarray(np.mean([_one_view(recipe, view, matrix, e, nthread) for view in views(boosters)], axis=0))


def _one_view(recipe: str, boosters: Boosters, matrix: NDArray[np.float32], e: Floats, nthread: int) -> Floats:
    if recipe == "s":
        first = np.zeros((len(matrix), 1), dtype=np.float32)
        without, shown = np.hstack([first, matrix]), np.hstack([first + 1, matrix])
        return predict(boosters["m"], shown, nthread) - predict(boosters["m"], without, nthread)
    out = {name: predict(raw, matrix, nthread) for name, raw in boosters.items()}
    if recipe == "t":
        return out["m1"] - out["m0"]
    if recipe == "x":
        return e * out["tau_c"] + (1.0 - e) * out["tau_t"]
    return np.mean([out[name] for name in sorted(out)], axis=0)


def fit(trials: Trials, e: Floats, how: Effects, seed: int) -> Learner:
    """Cross-fit the site's learner: fold model k sees only users outside fold k.

    ``e`` are our own cross-fitted propensities, shape (n,), clipped here to the overlap bounds; CausalML's default
    would fit its own.
    """
    folds = []
    for k in range(how.folds):
        rest = trials.fold != k
        mine, clipped = trials.take(rest), clip(e[rest], how.overlap_eps)
        boosters: Boosters = {}
        for view in (ALL, HISTORY):
            model = fit_causalml(seen_by(view, mine), clipped, how, seed, COLUMN_SHARE if view == ALL else 1.0)
            boosters |= {f"{view}-{part}": raw for part, raw in extract(how.learner, model).items()}
        folds.append(boosters)
    return Learner(how.learner, tuple(folds))


def seen_by(view: str, trials: Trials) -> Trials:
    """Trials as a view shows them: what it hides is the same for all, so that no tree asks for it."""
    if view == ALL:
        return trials
    matrix = trials.matrix.copy()
    matrix[:, : -len(prior.COLUMNS)] = 0.0
    return replace(trials, matrix=matrix)


def fit_causalml(trials: Trials, e: Floats, how: Effects, seed: int, column_share: float = 1.0) -> Any:
    """A fitted CausalML learner; the feature matrix of all but the forest carries the weights as a last column.

    A question is chosen from ``column_share`` of the columns; a forest has a share of its own.
    """
    if how.learner == "causal_forest":
        return forest.fit(trials, e, how, seed)
    from causalml.inference.meta import (
        BaseDRRegressor,
        BaseRRegressor,
        BaseSRegressor,
        BaseTRegressor,
        BaseXRegressor,
    )

    base = base_learner(how, seed, column_share)
    given = {"X": weighted(trials), "treatment": trials.treated, "y": trials.outcome}
    if how.learner == "r":
        model = BaseRRegressor(learner=base, n_fold=2, random_state=seed)
        model.cv_n_jobs = 1  # one process: -1 multiplies memory
        return model.fit(**given, p=e, verbose=False)
    if how.learner == "dr":
        return BaseDRRegressor(learner=base).fit(**given, p=e, seed=seed)
    if how.learner == "x":
        return BaseXRegressor(learner=base).fit(**given, p=e)
    return (BaseTRegressor if how.learner == "t" else BaseSRegressor)(learner=base).fit(**given)


def base_learner(how: Effects, seed: int, column_share: float = 1.0) -> WeightedRegressor:
    """What CausalML's learners are made of, as the site sets it."""
    return WeightedRegressor(
        n_estimators=how.trees,
        max_depth=how.max_depth,
        learning_rate=how.learning_rate,
        min_child_weight=20.0,
        reg_lambda=20.0,
        tree_method="hist",
        max_bin=128,
        colsample_bynode=column_share,
        random_state=seed,
        n_jobs=threads(),
    )


def weighted(trials: Trials) -> NDArray[np.float32]:
    """Features with the weights as a last column."""
    return np.column_stack([trials.matrix, trials.weight.astype(np.float32)])


def extract(recipe: str, model: Any) -> Boosters:
    """The boosters of a fitted CausalML learner that its recipe needs."""
    if recipe == "causal_forest":
        return {"tau": forest.booster(model)}
    if recipe == "s":
        found = {"m": model.models[1]}
    elif recipe == "t":
        found = {"m0": model.model_c, "m1": model.models_t[1]}
    elif recipe == "x":
        found = {"tau_c": model.models_tau_c[1], "tau_t": model.models_tau_t[1]}
    elif recipe == "r":
        found = {"tau": model.models_tau[1]}
    else:
        found = {f"tau_{place}": part for place, part in enumerate(model.models_tau[1])}
    return {name: to_bytes(part.get_booster()) for name, part in found.items()}
