"""What became of published lists: quality, how often what was shown was taken up, what users and random slots say."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from jobs.models.doubly_robust import Z90
from jobs.models.metrics import Estimate, bootstrap_mean, list_metrics
from jobs.models.sentiment import POSITIVE

Floats = NDArray[np.float64]
Figures = dict[str, Estimate | float]
PAIR = ["user_id", "item_id"]
ALPHA = 0.1


def same_groups(lists: pd.DataFrame, held_out: "pd.Series[bool]") -> bool:
    """Whether a version's lists (user_id, policy) were made with these held-out users, indexed by user_id.

    A version of before a change of the held-out share was not, and says nothing about tonight's groups.
    """
    alone = (lists["policy"] == "relevance").groupby(lists["user_id"]).all()
    mine = held_out.reindex(alone.index)
    open_gate = bool((lists["policy"] == "adjusted").any())
    return bool(alone[mine].all()) and not (open_gate and bool(alone[~mine].any()))


def quality(
    lists: pd.DataFrame, outcomes: pd.DataFrame, held_out: "pd.Series[bool]", length: int, catalogue: int
) -> Figures:
    """NDCG, recall, precision, MAP, hit rate and accuracy of each group of users, and the Brier score of relevance.

    Args:
        lists: user_id, item_id, rank, relevance.
        outcomes: user_id, item_id, one row a pair that had an outcome after the list was published.
        held_out: whether a user keeps the relevance list, indexed by user_id.
        length: places that count.
        catalogue: items there are; accuracy is the share of them rightly listed or rightly left out.

    90 % intervals from resampled users. Users without any outcome say nothing about a ranking and are left out of all
    but the Brier score.
    """
    hits = outcomes[PAIR].drop_duplicates().assign(hit=1)
    ranked = lists.merge(hits, how="left", on=PAIR).rename(columns={"rank": "position"})
    ranked["hit"] = ranked["hit"].fillna(0).astype(int)
    relevant = hits.groupby("user_id").size()
    figures: Figures = {}
    for group, users in _groups(held_out):
        mine = relevant[relevant.index.isin(users)]
        if mine.empty:
            continue
        theirs = ranked[ranked["user_id"].isin(users)]
        by_user = list_metrics(theirs[theirs["user_id"].isin(mine.index)], mine, length)
        listed = theirs.loc[theirs["position"] <= length, "user_id"].value_counts().reindex(mine.index, fill_value=0)
        by_user["accuracy"] = 1.0 - (listed + mine - 2.0 * length * by_user["precision"]) / catalogue
        figures |= {f"{group}_{name}": bootstrap_mean(by_user[name].to_numpy()) for name in by_user.columns}
        missed = ((theirs["relevance"] - theirs["hit"]) ** 2).groupby(theirs["user_id"]).mean()
        figures[f"{group}_brier"] = bootstrap_mean(missed.to_numpy())
    return figures


def _groups(held_out: "pd.Series[bool]") -> Iterator[tuple[str, "pd.Index[str]"]]:
    yield "adjusted", held_out.index[~held_out]
    yield "relevance", held_out.index[held_out]


def rates(shown: pd.DataFrame, taken: pd.DataFrame, name: str, by: list[str]) -> Figures:
    """Share of shown pairs that were taken up, for each value of the columns ``by`` (policy, or policy and position).

    Args:
        shown: user_id, item_id and the columns ``by``; a pair shown again counts once.
        taken: user_id, item_id of the events that count.
        name: what a figure's name starts with.

    Rows without a value in ``by`` are left out.
    """
    known = shown.dropna(subset=by).drop_duplicates([*by, *PAIR])
    hit = known.merge(taken[PAIR].drop_duplicates().assign(hit=1.0), how="left", on=PAIR)
    hit["hit"] = hit["hit"].fillna(0.0)
    return {
        "_".join([name, *(f"{key:g}" if isinstance(key, float) else str(key) for key in keys)]): clustered_rate(
            rows["hit"].to_numpy(), rows["user_id"]
        )
        for keys, rows in hit.groupby(by, sort=True)
    }


def clustered_rate(hit: NDArray[np.float64], users: ArrayLike) -> Estimate:
    """Share of ``hit`` (0 or 1, shape (n,)) with Wilson's 90 % interval for the effective number of trials.

    Trials of one user are alike: their number is divided by the design effect (Kish 1965; Franco, Little, Louis and
    Slud, Journal of Survey Statistics 2019).
    """
    rate, trials = float(hit.mean()), len(hit)
    effective = float(trials)
    if 0 < rate < 1:
        sums = np.bincount(pd.factorize(np.asarray(users, dtype=object))[0], hit - rate)
        people = len(sums)
        variance = (sums**2).sum() * people / max(people - 1, 1) / trials**2
        effective = min(effective, rate * (1 - rate) / variance) if variance > 0 else effective
    low, high = proportion_confint(rate * effective, effective, ALPHA, "wilson")
    return Estimate(rate, float(low), float(high))


def opinions(shown: pd.DataFrame, votes: pd.DataFrame, comments: pd.DataFrame) -> Figures:
    """What users said of what they were shown, by policy: votes and comments as they are and the share of good ones.

    Args:
        shown: user_id, item_id and policy; a pair shown again counts once.
        votes: user_id, item_id and ``said``, the last vote of each pair.
        comments: user_id, item_id and ``said``, the sentiment of each comment.

    Who says something is not drawn at random: these compare policies, they do not tell what all users think. Where
    nothing was said of a policy it has no figure.
    """
    known = shown.dropna(subset=["policy"]).drop_duplicates(["policy", *PAIR])
    figures: Figures = {}
    for said, mean, share, least in (
        (votes, "mean_vote", "like_share", np.nextafter(0.0, 1.0)),
        (comments, "sentiment", "positive_comments", POSITIVE),
    ):
        for policy, rows in known.merge(said, how="inner", on=PAIR).groupby("policy", sort=True):
            value = rows["said"].to_numpy(np.float64)
            figures[f"{mean}_{policy}"] = clustered_mean(value, rows["user_id"])
            figures[f"{share}_{policy}"] = clustered_rate((value >= least).astype(np.float64), rows["user_id"])
    return figures


def clustered_mean(values: Floats, users: ArrayLike) -> Estimate | float:
    """Mean of ``values``, shape (n,), with a 90 % t interval of users; without one where users do not differ.

    Linearised standard error of a ratio of sums over users (Cochran, "Sampling Techniques", 1977, section 9A.3).
    """
    mean = float(values.mean())
    sums = np.bincount(pd.factorize(np.asarray(users, dtype=object))[0], values - mean)
    if len(sums) < 2 or not np.ptp(values):
        return mean
    error = float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1))) / len(values)
    half = float(stats.t.ppf(1 - ALPHA / 2, len(sums) - 1)) * error
    return Estimate(mean, mean - half, mean + half)


def explored(tried: pd.DataFrame, outcomes: pd.DataFrame) -> Figures:
    """What random slots changed, and what the models had promised of the same pairs.

    ``tried`` has user_id, item_id, shown and effect (the promise): of each user the candidates that were drawn for a
    slot, and candidates drawn in the same way that were not shown. Both are samples of the same candidates, so their
    difference in outcome rate is unbiased for the mean effect; a user's spared pairs weigh as much as his shown ones.
    90 % interval clustered by user. Empty where there is nothing to compare.
    """
    rows = tried.merge(outcomes[PAIR].drop_duplicates().assign(hit=1.0), how="left", on=PAIR)
    number = rows.groupby("user_id")["shown"].agg(["sum", "size"])
    shown, spared = (part.reindex(rows["user_id"]).to_numpy() for part in (number["sum"], number["size"]))
    spared = spared - shown
    both = (shown > 0) & (spared > 0)
    if not both.any():
        return {}
    rows, shown, spared = rows[both], shown[both], spared[both]
    treated, hit = rows["shown"].to_numpy(bool), rows["hit"].fillna(0.0).to_numpy()
    weight = np.where(treated, 1.0, shown / spared)
    means = [float(np.average(hit[arm], weights=weight[arm])) for arm in (treated, ~treated)]
    centred = np.where(treated, hit - means[0], means[1] - hit) * weight / weight[treated].sum()
    sums = np.bincount(pd.factorize(rows["user_id"])[0], centred)
    error = float(np.sqrt((sums**2).sum() * len(sums) / max(len(sums) - 1, 1)))
    value = means[0] - means[1]
    return {
        "explore_effect": Estimate(value, value - Z90 * error, value + Z90 * error),
        "explore_effect_promised": float(rows["effect"].to_numpy()[treated].mean()),
    }
