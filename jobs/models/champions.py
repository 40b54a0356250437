"""A challenger beside the champion: both scored on the same period or trials, which neither was fitted on."""

from typing import Any

import pandas as pd
from numpy.typing import NDArray

from jobs.models import metrics
from jobs.models.engine import Predicted
from jobs.models.metrics import Estimate
from jobs.models.sample import Sample
from jobs.models.scoring import EffectModel
from jobs.runtime.site import Effects


def paired_ndcg(
    listed: pd.DataFrame,
    real: pd.DataFrame,
    scores: tuple[NDArray[Any], NDArray[Any]],
    k: int,
    seed: int,
) -> Estimate | None:
    """NDCG@k of the challenger less the champion's, meaned over users, with a 90 % interval from resampled users.

    Args:
        listed: user_id, item_id of the candidates of a period that neither model has seen.
        real: user_id, item_id of what had an outcome in it, retrieved or not.
        scores: of challenger and champion, each of shape (candidates,).

    None where nobody had an outcome.
    """
    relevant = real.groupby("user_id").size()
    if relevant.empty:
        return None
    frame = listed[["user_id", "item_id"]].merge(real.assign(hit=1), how="left", on=["user_id", "item_id"])
    frame["hit"] = frame["hit"].fillna(0).astype(int)
    each = []
    for score in scores:
        frame["score"] = score
        frame["position"] = metrics.rank_positions(frame, ["score"], [False])
        each.append(metrics.list_metrics(frame, relevant, k)["ndcg"].to_numpy())
    return metrics.bootstrap_mean(each[0] - each[1], seed=seed)


def champion_qini(model: EffectModel, sample: Sample, predicted: Predicted, how: Effects, seed: int) -> Estimate:
    """Qini of a champion on tonight's trials with overlap, by tonight's doubly robust scores, as the challenger's is.

    Folds are hashes of users, so its predictions are by models that never saw the user. Its calibration did: four
    numbers that the scores of earlier nights, mostly of the same trials, gave it, which favours it a little. The trials
    have the features that the champion adjusts for. The 90 % interval resamples users: see ``metrics.targeting``.
    """
    part, score = sample.take(predicted.inside), predicted.score[predicted.inside]
    trials = part.trials
    effect = model.predict(trials.matrix, trials.users, part.item, part.counts, part.listed).effect
    return metrics.targeting(effect, score, trials.weight, trials.users, how.bootstrap, seed)["qini"]
