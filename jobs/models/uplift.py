"""Effect learners of CausalML, cross-fitted by user and taken out as plain XGBoost boosters with a recipe.

Scoring needs neither CausalML nor pickle: a fold is a dictionary of boosters, and the recipe says how their outputs
become an effect. Each fold learns twice, from all columns and from the pair's history alone, and says the mean of the
two: features find whom an item moves, but trees that may ask for them ask less for what a pair's own few trials say
(bagging: Breiman, Machine Learning 1996). Sources: Kunzel et al., PNAS 2019 (S, T, X); Nie and Wager, Biometrika 2021
(R); Kennedy 2020 (DR); ``forest`` for the causal forest.
"""

from collections.abc import Mapping, Sequence
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
Outputs = dict[str, Floats]
RECIPES = {
    "s": "m(x, 1) - m(x, 0), the treatment being the first column",
    "t": "m1 - m0",
    "x": "e * tau_c + (1 - e) * tau_t",
    "r": "tau",
    "dr": "mean of tau_0, tau_1, tau_2",
    "causal_forest": "tau",
}


VARIANCE_FLOOR = 0.01  # of an outcome, in the weights of the learner
ALL, HISTORY = "all", "history"
VIEWS = {ALL: slice(None), HISTORY: slice(-len(prior.COLUMNS), None)}  # every column; the last ones, the prior's
COLUMN_SHARE = 0.3  # of all columns, that a question is chosen from: most features say little


def names(adjusted: Sequence[str]) -> tuple[str, ...]:
    """Columns of the learner's matrix where the features ``adjusted`` are adjusted for.

    Features of the user are left out: one value stands in hundreds of a user's trials, and boosting learns it by heart.
    """
    return (*(name for name in adjusted if name not in USER_FEATURES), *prior.COLUMNS)


def columns(features: NDArray[np.float32], adjusted: Sequence[str], own: NDArray[np.float32]) -> NDArray[np.float32]:
    """The learner's matrix: item and pair features, and what the prior makes of the pair's own counts.

    ``features`` has the columns ``adjusted`` and ``own`` those of ``Posterior.matrix``; the result has the columns
    ``names(adjusted)``.
    """
    kept = [place for place, name in enumerate(adjusted) if name not in USER_FEATURES]
    return np.hstack([features[:, kept], own])


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
    """The boosters of each fold (fitted without its users) by view and part, and the name of their recipe."""

    recipe: str
    folds: tuple[dict[str, Boosters], ...]

    def predict(self, matrix: NDArray[np.float32], e: Floats, fold: NDArray[np.int64], nthread: int = 1) -> Floats:
        """Effects, shape (n,), each from the fold model that never saw the user; ``e`` is the propensity."""
        effect = np.zeros(len(matrix))
        for k, views in enumerate(self.folds):
            rows = fold == k
            if rows.any():
                effect[rows] = evaluate(self.recipe, views, matrix[rows], e[rows], nthread)
        return effect

    def outputs(self, view: str, matrix: NDArray[np.float32], nthread: int = 1) -> Outputs:
        """What the boosters of a view say, each of shape (n,): the mean of all folds' models, which is less noisy.

        For pairs that are scored, not judged. ``matrix`` has the view's columns.
        """
        every = [outputs(self.recipe, views[view], matrix, nthread) for views in self.folds]
        return {part: np.asarray(np.mean([said[part] for said in every], axis=0)) for part in every[0]}


def evaluate(
    recipe: str, views: Mapping[str, Boosters], matrix: NDArray[np.float32], e: Floats, nthread: int = 1
) -> Floats:
    """A fold's effect, the mean of its views', for features (n, columns) and propensities (n,)."""
    said = [outputs(recipe, boosters, matrix[:, VIEWS[view]], nthread) for view, boosters in views.items()]
    return averaged(recipe, said, e)


def outputs(recipe: str, boosters: Boosters, matrix: NDArray[np.float32], nthread: int = 1) -> Outputs:
    """What the boosters of one view say of its columns, each of shape (n,); of S's one booster, not shown and shown."""
    if recipe == "s":
        first = np.zeros((len(matrix), 1), dtype=np.float32)
        return {f"m{arm}": predict(boosters["m"], np.hstack([first + arm, matrix]), nthread) for arm in (0, 1)}
    return {part: predict(raw, matrix, nthread) for part, raw in boosters.items()}


def averaged(recipe: str, said: Sequence[Outputs], e: Floats) -> Floats:
    """The effect, shape (n,), that the outputs of all views come to."""
    return np.asarray(np.mean([combined(recipe, one, e) for one in said], axis=0))


def combined(recipe: str, said: Outputs, e: Floats) -> Floats:
    """The effect of one view's outputs, as the recipe says; linear in them."""
    if recipe in ("s", "t"):
        return said["m1"] - said["m0"]
    if recipe == "x":
        return e * said["tau_c"] + (1.0 - e) * said["tau_t"]
    return np.asarray(np.mean([said[part] for part in sorted(said)], axis=0))


def fit(trials: Trials, e: Floats, how: Effects, seed: int) -> Learner:
    """Cross-fit the site's learner: fold model k sees only users outside fold k.

    ``e`` are our own cross-fitted propensities, shape (n,), clipped here to the overlap bounds; CausalML's default
    would fit its own.
    """
    folds = []
    for k in range(how.folds):
        rest = trials.fold != k
        mine, clipped = trials.take(rest), clip(e[rest], how.overlap_eps)
        views: dict[str, Boosters] = {}
        for view, columns in VIEWS.items():
            seen = replace(mine, matrix=mine.matrix[:, columns])
            model = fit_causalml(seen, clipped, how, seed, COLUMN_SHARE if view == ALL else 1.0)
            views[view] = extract(how.learner, model)
        folds.append(views)
    return Learner(how.learner, tuple(folds))


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
