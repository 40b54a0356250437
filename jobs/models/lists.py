"""Lists of a user: by effect, with a category cap, a held-out control group and random slots of known probability."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from jobs.models.folds import hash_ids, uniform_ids

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
SPARED = 5  # candidates drawn and not shown for each random slot: five to one, and little is gained by more
VERBS = {
    "ecommerce": "Bought",
    "education": "Completed",
    "finance": "Taken up",
    "social": "Engaged with",
    "health": "Followed",
}


class Lists(NamedTuple):
    """Lists of one user or of many.

    published: columns of SCORES with rank, score, policy and propensity; by_relevance: user_id, item_id, relevance and
    rank of the list by relevance alone; tried: user_id, item_id, shown and effect of the candidates that were drawn for
    random slots, and of some that were drawn and spared.
    """

    published: pd.DataFrame
    by_relevance: pd.DataFrame
    tried: pd.DataFrame


class Explored(NamedTuple):
    """Rows of a list with random slots, and of its candidates those drawn for a slot and those drawn and spared."""

    rows: Places
    drawn: Places
    spared: Places


@dataclass(frozen=True)
class ListSettings:
    """How lists are made; ``effects_hold`` is whether the gate passed.

    If not, everyone gets the relevance list; random slots go on, or the log could never show what the gate asks for.
    """

    site: str
    run_date: date
    length: int
    holdout_share: float
    explore_share: float
    max_per_category: int
    by_value: bool = False
    effects_hold: bool = True
    domain: str = "ecommerce"
    period: str = "weeks"


def top(order: Places, category: NDArray[Any], length: int, cap: int) -> Places:
    """The first ``length`` of ``order`` with at most ``cap`` of a category; if that leaves the list short, the best
    of those passed over fill it. Returned in the order given.
    """
    taken: dict[Any, int] = {}
    picked: list[int] = []
    passed: list[int] = []
    for place, row in enumerate(order):
        if len(picked) == length:
            break
        seen = taken.get(category[row], 0)
        if seen < cap:
            taken[category[row]] = seen + 1
            picked.append(place)
        else:
            passed.append(place)
    return order[sorted(picked + passed[: length - len(picked)])]


def by_best(keys: list[Floats], item_id: NDArray[Any]) -> Places:
    """Rows sorted by keys, best first, ties by item_id."""
    return np.lexsort((item_id, *(-key for key in reversed(keys))))


def sort_score(user: pd.DataFrame, by_value: bool) -> Floats:
    """The effect, or its low end where it is not identified; times the price where value is the objective.

    An unknown price counts as the mean of the user's other candidates.
    """
    score = np.where(user["identified"], user["effect"], user["effect_low"]).astype(np.float64)
    if by_value:
        price = user["price"].to_numpy(np.float64)
        known = price[np.isfinite(price)]
        score = score * np.where(np.isfinite(price), price, known.mean() if len(known) else 1.0)
    return score


def place_probabilities(adjusted: Places, relevance: Places, rows: int, how: ListSettings) -> Floats:
    """Probability that each of a user's candidates gets a place, over the draws of holdout and exploration.

    ``adjusted`` is the list of those who are not held out, ``relevance`` that of the others: rows, best first. Shape
    (rows,).
    """
    out = np.zeros(rows)
    listed, pool = len(adjusted), rows - len(adjusted)
    swaps = np.minimum(np.arange(how.length + 1), min(pool, listed))
    chance = binom.pmf(np.arange(how.length + 1), how.length, how.explore_share)
    drawn = np.full(rows, float(chance @ swaps) / pool if pool else 0.0)
    for rank, row in enumerate(adjusted, start=1):
        drawn[row] = float(chance[swaps <= listed - rank].sum())
    out[relevance] = how.holdout_share
    return np.minimum(out + (1.0 - how.holdout_share) * drawn, 1.0)


def user_lists(user: pd.DataFrame, how: ListSettings, held_out: bool) -> Lists:
    """The lists of one user; ``user`` has the columns of SCORES."""
    item, category = user["item_id"].to_numpy(), user["category"].to_numpy()
    relevance = user["relevance"].to_numpy(np.float64)
    wanted = sort_score(user, how.by_value) if how.effects_hold else relevance
    likely = top(by_best([relevance], item), category, how.length, how.max_per_category)
    best = top(by_best([wanted, relevance], item), category, how.length, how.max_per_category)
    propensity = place_probabilities(best, likely, len(user), how)
    policy = np.full(len(user), "adjusted" if how.effects_hold and not held_out else "relevance", dtype=object)
    if held_out:
        rows, tried, wanted = likely, np.zeros(0, np.int64), relevance
        shown = np.zeros(0, bool)
    else:
        rows, drawn, spared = explore(best, len(user), str(user["user_id"].iloc[0]), how)
        policy[drawn] = "explore"
        rows, tried = rows[by_best([wanted[rows], relevance[rows]], item[rows])], np.concatenate([drawn, spared])
        shown = np.arange(len(tried)) < len(drawn)
    ranks = np.arange(1, len(rows) + 1, dtype=np.int32)
    listed = user.iloc[rows].assign(rank=ranks, score=wanted[rows], policy=policy[rows], propensity=propensity[rows])
    if not how.effects_hold:
        listed["identified"] = False
    alone = user.iloc[likely][["user_id", "item_id", "relevance"]]
    return Lists(
        listed,
        alone.assign(rank=np.arange(1, len(likely) + 1, dtype=np.int32)),
        user.iloc[tried][["user_id", "item_id", "effect"]].assign(shown=shown),
    )


def explore(best: Places, rows: int, user_id: str, how: ListSettings) -> Explored:
    """The list ``best`` whose last m ~ Binomial(length, explore_share) gave way to candidates from outside it.

    These are drawn uniformly, and after them SPARED times as many that are not shown: what would have become of the
    drawn ones without a place.
    """
    rng = np.random.default_rng(int(hash_ids([user_id], f"{how.site}:explore:{how.run_date}")[0]))
    pool = np.setdiff1d(np.arange(rows), best)
    swaps = min(int(rng.binomial(how.length, how.explore_share)), len(pool), len(best))
    taken = rng.choice(pool, min(swaps * (1 + SPARED), len(pool)), replace=False) if swaps else np.zeros(0, np.int64)
    drawn, spared = taken[:swaps], taken[swaps:]
    return Explored(np.concatenate([best[: len(best) - swaps], drawn]), drawn, spared)


def held_out(users: ArrayLike, site: str, share: float) -> NDArray[np.bool_]:
    """Which users keep the relevance list, shape (users,): a hash decides, every night the same."""
    return uniform_ids(users, f"{site}:holdout") < share


def build_lists(scores: pd.DataFrame, how: ListSettings) -> Lists:
    """Lists of whole users; ``published`` has a reason for every row."""
    people = scores["user_id"].unique()
    held = dict(zip(people, held_out(people, how.site, how.holdout_share), strict=True))
    each = [user_lists(user, how, bool(held[name])) for name, user in scores.groupby("user_id", sort=False)]
    published, by_relevance, tried = (pd.concat(part, ignore_index=True) for part in zip(*each, strict=True))
    published["reason"] = [reason(row, how) for row in published.to_dict("records")]
    return Lists(published, by_relevance, tried)


def reason(row: Mapping[Any, Any], how: ListSettings) -> str:
    """One plain sentence: what was seen of this pair, and what showing it changes, in percentage points."""
    verb = VERBS[how.domain]
    treated, control = int(row["treated"]), int(row["control"])
    periods, without = (how.period if number != 1 else how.period.removesuffix("s") for number in (treated, control))
    seen = f"{int(row['treated_outcomes'])} of the {treated} {periods} it was shown"
    other = f"{int(row['control_outcomes'])} of the {control}"
    adds = (
        f"showing it adds about {100 * row['effect']:.1f} points "
        f"({100 * row['effect_low']:.1f} to {100 * row['effect_high']:.1f})"
    )
    if row["policy"] == "relevance":
        return f"Ranked by how likely it is anyway: {100 * row['relevance']:.0f} % within the window."
    if treated and control:
        said = f"{verb} in {seen} and {other} it was not; {adds}"
    elif control:
        said = f"Never shown so far, {verb.lower()} in {other} {without} without; judging by similar pairs, {adds}"
    elif treated:
        said = f"{verb} in {seen} and never left out; judging by similar pairs, {adds}"
    else:
        said = f"No {how.period} on record; judging by similar pairs, {adds}"
    return f"Random try: {said[0].lower()}{said[1:]}." if row["policy"] == "explore" else f"{said}."
