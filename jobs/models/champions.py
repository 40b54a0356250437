"""A challenger beside the champion: both scored on the same period or trials, which neither was fitted on."""

from typing import Any

import pandas as pd
from numpy.typing import NDArray

from jobs.models import metrics
from jobs.models.engine import Predicted
from jobs.models.folds import threads
from jobs.models.metrics import Estimate
from jobs.models.sample import Sample
from jobs.models.scoring import EffectModel, Pairs
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


def says(model: EffectModel, sample: Sample) -> Pairs:
    """What the effect model of an earlier night says of tonight's trials, which have the features it adjusts for."""
    trials = sample.trials
    return model.predict(trials.matrix, trials.users, sample.item, sample.counts, sample.listed, nthread=threads())


def champion_qini(said: Pairs, sample: Sample, predicted: Predicted, how: Effects, seed: int) -> Estimate:
    """Qini of a champion on tonight's trials with overlap, by tonight's doubly robust scores, as the challenger's is.

    Folds are hashes of users, so its predictions are by models that never saw the user. Its calibration did: a few
    numbers that the scores of earlier nights, mostly of the same trials, gave it, which favours it a little.
    ``said`` is what ``says`` returns. The 90 % interval resamples users: see ``metrics.targeting``.
    """
    inside, trials = predicted.inside, sample.trials
    given = said.effect[inside], predicted.score[inside], trials.weight[inside], trials.users[inside]
    return metrics.targeting(*given, how.bootstrap, seed)["qini"]
