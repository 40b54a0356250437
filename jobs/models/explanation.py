"""What an effect learner leans on: SHAP contributions, a surrogate tree, and effects by segment and category."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import ArrayLike, NDArray
from sklearn.tree import DecisionTreeRegressor

from jobs.models.boosting import from_bytes
from jobs.models.doubly_robust import Z90, by_group, ratio
from jobs.models.folds import uniform_ids
from jobs.models.metrics import Estimate
from jobs.models.plain import IS
from jobs.models.uplift import VIEWS, Boosters, Learner
from jobs.runtime.figure_words import points

Floats = NDArray[np.float64]
HELD_OUT = 0.3


def contributions(learner: Learner, matrix: NDArray[np.float32], e: Floats, fold: NDArray[np.int64]) -> Floats:
    """SHAP values of the predicted effect, shape (n, features + 1): the last column is what no feature explains.

    Rows sum to ``learner.predict(matrix, e, fold)``. The propensity is taken as given. Exact for trees: Lundberg et
    al., Nature Machine Intelligence 2020, algorithm 2 (XGBoost's ``pred_contribs``); the effect is linear in the
    boosters' outputs, so its SHAP values are the same combination of theirs.
    """
    out = np.zeros((len(matrix), matrix.shape[1] + 1))
    for k, views in enumerate(learner.folds):
        rows = fold == k
        for view, boosters in views.items() if rows.any() else ():
            columns = VIEWS[view]
            shap = _of_view(learner.recipe, boosters, matrix[rows, columns], e[rows]) / len(views)
            out[rows, -1] += shap[:, -1]
            out[:, :-1][rows, columns] += shap[:, :-1]
    return out


def _of_view(recipe: str, boosters: Boosters, matrix: NDArray[np.float32], e: Floats) -> Floats:
    if recipe == "s":  # the treatment is the first column; its own share belongs to no feature
        none = np.zeros((len(matrix), 1), dtype=np.float32)
        shown, without = (_shap(boosters["m"], np.hstack([none + arm, matrix])) for arm in (1, 0))
        change = shown - without
        change[:, -1] += change[:, 0]
        return change[:, 1:]
    parts = {name: _shap(raw, matrix) for name, raw in boosters.items()}
    if recipe == "t":
        return parts["m1"] - parts["m0"]
    if recipe == "x":
        return e[:, None] * parts["tau_c"] + (1.0 - e[:, None]) * parts["tau_t"]
    return np.asarray(np.mean([parts[name] for name in sorted(parts)], axis=0))


def _shap(raw: bytes, matrix: NDArray[np.float32]) -> Floats:
    return np.asarray(from_bytes(raw).predict(xgb.DMatrix(matrix), pred_contribs=True), dtype=np.float64)


def importance(shap: Floats, weight: Floats, features: Sequence[str]) -> pd.DataFrame:
    """feature and its weighted mean absolute contribution to the effect, largest first."""
    table = pd.DataFrame(
        {"feature": list(features), "contribution": np.average(np.abs(shap[:, :-1]), axis=0, weights=weight)}
    )
    return table.sort_values(["contribution", "feature"], ascending=[False, True], ignore_index=True)


@dataclass(frozen=True)
class Surrogate:
    """A shallow tree that imitates the predicted effect, and how well: R2 on users it was not fitted to.

    ``fidelity`` is a number alone where their effects hardly differ.
    """

    tree: DecisionTreeRegressor
    features: tuple[str, ...]
    fidelity: Estimate | float

    def text(self) -> str:
        """The tree as indented questions, below each what a yes and what a no leads to."""
        return "\n".join(_told(self.nodes(), 0, ""))

    def nodes(self) -> list[dict[str, Any]]:
        """The tree's nodes, the root first: mean effect, share of the trials' weight, and at a branch its question.

        A branch has ``feature``, ``threshold`` and the places of the nodes for yes (``left``: at most the threshold)
        and no (``right``). A feature that is a question has no threshold (None).
        """
        made = self.tree.tree_
        share = made.weighted_n_node_samples / made.weighted_n_node_samples[0]
        out: list[dict[str, Any]] = []
        for node, left in enumerate(made.children_left.tolist()):
            said: dict[str, Any] = {"effect": float(made.value[node, 0, 0]), "share": float(share[node])}
            if left >= 0:
                feature = self.features[made.feature[node]]
                threshold = None if feature.startswith(IS) else float(made.threshold[node])
                below = {"left": left, "right": int(made.children_right[node])}
                said |= {"feature": feature, "threshold": threshold, **below}
            out.append(said)
        return out


def _told(nodes: Sequence[Mapping[str, Any]], at: int, indent: str) -> list[str]:
    node = nodes[at]
    if "left" not in node:
        return [f"{indent}effect {points(node['effect'])}, {node['share']:.0%} of trials"]
    bound = "" if node["threshold"] is None else f" at most {node['threshold']:.3g}"
    yes, no = (_told(nodes, node[side], indent + "    ") for side in ("left", "right"))
    return [f"{indent}{node['feature']}{bound}? yes:", *yes, f"{indent}no:", *no]


def surrogate(
    effect: Floats,
    matrix: NDArray[np.float32],
    weight: Floats,
    users: ArrayLike,
    features: Sequence[str],
    depth: int = 3,
) -> Surrogate:
    """Fit the surrogate tree on 70 % of the users; a leaf holds at least 2 % of their trials.

    ``effect`` (n,) is the prediction to imitate, ``matrix`` (n, features) with NaN where missing. Source: Craven and
    Shavlik, NeurIPS 1995 (fidelity on held-out cases).
    """
    out = uniform_ids(users, "surrogate") < HELD_OUT
    tree = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=0.02, random_state=0)
    tree.fit(matrix[~out], effect[~out], sample_weight=weight[~out])
    told, kept = effect[out], weight[out]
    spread = (told - np.average(told, weights=kept)) ** 2
    off = (told - tree.predict(matrix[out])) ** 2
    left = ratio(off, spread, kept, np.asarray(users)[out]) if spread.any() else 0.0
    fidelity = Estimate(1 - left.value, 1 - left.high, 1 - left.low) if isinstance(left, Estimate) else 1 - left
    return Surrogate(tree, tuple(features), fidelity)


def heat_map(
    score: Floats, weight: Floats, users: ArrayLike, segment: NDArray[Any], category: NDArray[Any]
) -> pd.DataFrame:
    """Mean effect by user segment and item category: segment, category, estimate, low, high (90 %), trials, users.

    ``score`` (n,): doubly robust scores of trials with overlap. Cells with fewer than 10 users have no interval worth
    the name and are left out.
    """
    cells = pd.DataFrame({"segment": segment, "category": category})
    code = cells.groupby(["segment", "category"], sort=True).ngroup().to_numpy()
    table = by_group(score, weight, users, code)
    table["trials"] = np.bincount(code)
    names = cells.assign(code=code).drop_duplicates("code").set_index("code").reindex(table.index)
    spread = Z90 * table["error"]
    table = names.assign(
        estimate=table["estimate"],
        low=table["estimate"] - spread,
        high=table["estimate"] + spread,
        trials=table["trials"],
        users=table["clusters"],
    )
    return table[table["users"] >= 10].reset_index(drop=True)
