"""CausalML's causal forest, written as an XGBoost booster: one format of files, scored and explained like others."""

import json
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from jobs.models.boosting import to_bytes
from jobs.models.doubly_robust import Trials
from jobs.models.folds import threads
from jobs.runtime.site import Effects

SAMPLE = 0.3  # of the trials, that one tree sees; half of them grow it, half fill its leaves
MOST = 100_000  # trials that one tree sees
FEATURES = 0.3  # of the columns, that a question is chosen from
ROOT = 2**31 - 1  # XGBoost's parent of a root


def fit(trials: Trials, e: NDArray[np.float64], how: Effects, seed: int) -> Any:
    """A causal forest of the trials, weighted by one over the propensity ``e`` (n,) of their own arm.

    Its trees are twice as deep as boosted ones, for none of them adds to another. Source: Athey and Imbens, PNAS 2016
    (honest causal trees); Wager and Athey, JASA 2018 (forests of them, each on a subsample).
    """
    from causalml.inference.tree import CausalRandomForestRegressor

    inverse = trials.weight / np.where(trials.treated == 1, e, 1 - e)
    model = CausalRandomForestRegressor(
        n_estimators=how.trees,
        max_depth=2 * how.max_depth,
        max_features=FEATURES,
        max_samples=min(SAMPLE, MOST / len(e)),
        groups_cnt=False,  # counts of arms in every node, which nobody reads
        random_state=seed,
        n_jobs=threads(),
    )
    return model.fit(trials.matrix, treatment=trials.treated, y=trials.outcome, sample_weight=inverse)


def booster(model: Any) -> bytes:
    """A fitted forest as XGBoost's UBJSON, whose prediction is the mean effect of its trees' leaves."""
    columns, count = int(model.n_features_in_), len(model.estimators_)
    empty = xgb.DMatrix(np.zeros((2, columns), dtype=np.float32), label=np.zeros(2))
    mould = xgb.train({"objective": "reg:squarederror", "base_score": 0.0}, empty, 1)
    document = json.loads(bytes(mould.save_raw("json")))
    made = document["learner"]["gradient_booster"]["model"]
    pattern = made["trees"][0]
    made["trees"] = [pattern | _tree(each.tree_, columns, count, place) for place, each in enumerate(model.estimators_)]
    made["tree_info"] = [0] * count
    made["iteration_indptr"] = list(range(count + 1))
    made["gbtree_model_param"]["num_trees"] = str(count)
    out = xgb.Booster()
    out.load_model(bytearray(json.dumps(document).encode()))
    return to_bytes(out)


def _tree(tree: Any, columns: int, count: int, place: int) -> dict[str, Any]:
    """A tree in the fields of XGBoost's JSON; leaves are divided by the ``count`` of trees, which XGBoost adds up."""
    order = [0]
    for node in order:  # level by level, for XGBoost takes a right child to follow its left one
        if tree.children_left[node] >= 0:
            order += [int(tree.children_left[node]), int(tree.children_right[node])]
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    left, right = (np.asarray(child)[order] for child in (tree.children_left, tree.children_right))
    inner = left >= 0
    parents = np.full(len(order), ROOT)
    for child in (left, right):
        parents[number[child[inner]]] = np.flatnonzero(inner)
    rates = tree.value[order].reshape(len(order), -1)  # not shown and shown
    effect = (rates[:, 1] - rates[:, 0]) / count
    return {
        "id": place,
        "left_children": np.where(inner, number[left], -1).tolist(),
        "right_children": np.where(inner, number[right], -1).tolist(),
        "parents": parents.tolist(),
        "split_indices": np.where(inner, tree.feature[order], 0).tolist(),
        "split_conditions": np.where(inner, _above(tree.threshold[order]), effect).tolist(),
        "default_left": np.where(inner, tree.missing_go_to_left[order], 0).tolist(),
        "split_type": [0] * len(order),
        "base_weights": effect.tolist(),
        "loss_changes": [0.0] * len(order),
        "sum_hessian": tree.weighted_n_node_samples[order].tolist(),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(columns),
            "num_nodes": str(len(order)),
            "size_leaf_vector": "1",
        },
    }


def _above(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The smallest float32 above each threshold: XGBoost goes left below it, scikit-learn's trees up to it."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, near, np.nextafter(near, np.float32(np.inf)))
