"""Lists of a user: by effect, under caps, with a held-out control group and random slots of known probability."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from jobs.models import selection
from jobs.models.folds import hash_ids, uniform_ids
from jobs.models.selection import Facets, Mix
from jobs.runtime.figure_words import points_said

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
SPARED = 5  # candidates drawn and not shown for each random slot: five to one, and little is gained by more
VERBS = {
    "ecommerce": "bought",
    "education": "completed",
    "finance": "taken up",
    "social": "engaged with",
    "health": "followed",
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


class Picked(NamedTuple):
    """Rows of one user's candidates, best first: the list by what is wanted, and that by relevance alone."""

    best: Places
    likely: Places


class ItemFacets(NamedTuple):
    """What lists are composed by beside the category: each item's brand, and its vector of length 1 (items, d)."""

    brand: "pd.Series[str]"
    vector: pd.DataFrame


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
    mix: Mix
    holdout_share: float
    explore_share: float
    by_value: bool = False
    effects_hold: bool = True
    domain: str = "ecommerce"
    period: str = "weeks"
    window: str = "7 days"  # in which the outcome counts

    @property
    def length(self) -> int:
        """Items of a full list."""
        return self.mix.length

    @property
    def verb(self) -> str:
        """What a user did with an item that had an outcome."""
        return VERBS[self.domain]


def pick(scores: pd.DataFrame, how: ListSettings, about: ItemFacets | None = None) -> list[Picked]:
    """What each user of ``scores`` is given, rows counted within the user; a user's rows are together.

    Equal scores go to the more relevant item, equal relevance to the first by item_id.
    """
    users, relevance = pd.factorize(scores["user_id"])[0], scores["relevance"].to_numpy(np.float64)
    item, ids = pd.factorize(scores["item_id"], sort=True)
    facets = _facets(scores, users, item, pd.Index(ids), about)
    wanted = sort_score(scores, how.by_value) if how.effects_hold else relevance
    first = np.searchsorted(users, np.arange(users.max(initial=-1) + 1))
    chosen = []
    for keys in ((wanted, relevance), (relevance,)):
        order = np.lexsort((item, *(-key for key in reversed(keys)), users))
        rows = selection.select(order, keys[0], facets, how.mix)
        chosen.append(np.split(rows - first[users[rows]], np.flatnonzero(np.diff(users[rows])) + 1))
    return [Picked(*rows) for rows in zip(*chosen, strict=True)]


def _facets(
    scores: pd.DataFrame, users: Places, item: Places, ids: "pd.Index[str]", about: ItemFacets | None
) -> Facets:
    known = about or ItemFacets(pd.Series(dtype=object), pd.DataFrame())
    brand = pd.factorize(known.brand.reindex(ids))[0]
    vector = known.vector.reindex(ids).fillna(0.0).to_numpy(np.float32)
    share = scores["category_share"].fillna(0.0).to_numpy(np.float64)
    return Facets(users, pd.factorize(scores["category"])[0], brand[item], share, vector[item])


def sort_score(scores: pd.DataFrame, by_value: bool) -> Floats:
    """The effect, or its low end where it is not identified; times the price where value is the objective.

    An unknown price counts as the mean of the user's other candidates.
    """
    score = np.where(scores["identified"], scores["effect"], scores["effect_low"]).astype(np.float64)
    if by_value:
        price = scores["price"].astype(np.float64)
        own = price.groupby(scores["user_id"].to_numpy()).transform("mean")
        score = score * price.fillna(own).fillna(1.0).to_numpy()
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


def user_lists(user: pd.DataFrame, picked: Picked, how: ListSettings, held_out: bool) -> Lists:
    """The lists of one user; ``user`` has the columns of SCORES."""
    item, relevance = user["item_id"].to_numpy(), user["relevance"].to_numpy(np.float64)
    wanted = sort_score(user, how.by_value) if how.effects_hold else relevance
    best, likely = picked
    propensity = place_probabilities(best, likely, len(user), how)
    policy = np.full(len(user), "adjusted" if how.effects_hold and not held_out else "relevance", dtype=object)
    if held_out:
        rows, tried, wanted = likely, np.zeros(0, np.int64), relevance
        shown = np.zeros(0, bool)
    else:
        rows, drawn, spared = explore(best, len(user), str(user["user_id"].iloc[0]), how)
        policy[drawn] = "explore"
        rows = rows[np.lexsort((item[rows], -relevance[rows], -wanted[rows]))]
        tried = np.concatenate([drawn, spared])
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


def build_lists(scores: pd.DataFrame, how: ListSettings, about: ItemFacets | None = None) -> Lists:
    """Lists of whole users, whose rows are together; ``published`` has a reason for every row."""
    people = scores["user_id"].unique()
    held = held_out(people, how.site, how.holdout_share)
    users = (user for _, user in scores.groupby("user_id", sort=False))
    each = [
        user_lists(user, picked, how, bool(kept))
        for user, picked, kept in zip(users, pick(scores, how, about), held, strict=True)
    ]
    published, by_relevance, tried = (pd.concat(part, ignore_index=True) for part in zip(*each, strict=True))
    published["reason"] = [reason(row, how) for row in published.to_dict("records")]
    return Lists(published, by_relevance, tried)


def reason(row: Mapping[Any, Any], how: ListSettings) -> str:
    """One plain sentence: what was seen of this pair, and what showing it changes, with a 90 % interval."""
    if row["policy"] == "relevance":
        return f"Ranked by how likely it is anyway: {100 * row['relevance']:.0f} % within {how.window}."
    treated, control = int(row["treated"]), int(row["control"])
    shown, without = int(row["treated_outcomes"]), int(row["control_outcomes"])
    effect = {"value": row["effect"], "low": row["effect_low"], "high": row["effect_high"]}
    adds = f"showing it changes the probability by {points_said(effect)}"
    if treated and control:
        also = (" and" if without else " and never") if shown else (", but" if without else ", nor")
        first = f"{_when(shown, treated, how.verb, f' {how.period}')} it was shown"
        said = f"{first}{also} {_share(without, control, '')} without it"
    elif control:
        said = f"never shown so far, {_when(without, control, how.verb, f' {how.period}')} on record"
    elif treated:
        said = f"always shown so far, {_when(shown, treated, how.verb, f' {how.period}')} on record"
    else:
        said = f"no {how.period} on record yet"
    said += f"; {adds}" if treated and control else f"; judging by similar pairs, {adds}"
    return f"Random try: {said}." if row["policy"] == "explore" else f"{said[0].upper()}{said[1:]}."


def _when(outcomes: int, number: int, verb: str, periods: str) -> str:
    """What was done in how many of the periods, whose name follows a space, such as ``never bought in the 4 weeks``."""
    return f"{verb if outcomes else f'never {verb}'} {_share(outcomes, number, periods)}"


def _share(outcomes: int, number: int, periods: str) -> str:
    if number == 1:
        return f"in the one{periods.removesuffix('s')}"
    if not outcomes:
        return f"in the {number}{periods}"
    if outcomes == number:
        return f"in both{periods}" if number == 2 else f"in all {number}{periods}"
    return f"in {outcomes} of the {number}{periods}"
