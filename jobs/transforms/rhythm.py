"""How regularly a user returns to an item: features of one user's outcomes before a day, and the items' own habits.

numpy only, one user at a time, so that retrieval makes them where the user's history already lies: no shuffle.
"""

import sys

import numpy as np
from pyspark import cloudpickle

from jobs.tables import contracts

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a Spark server need not have this project on its path

HALF_LIVES = (14, 28, 56, 112, 224, 364)
WEEKS = (4, 8, 13, 26, 52)
SHARED_WEEKS = (8, 26)
ITEM_WEEKS = 8
HORIZON = 7  # days in which the hazard looks for the next outcome
NEVER = 999.0
CATEGORY_PRIOR = 0.5  # outcomes by which an item's share of a user's category is drawn to that of all users
COUNTS = (
    "users",
    "days",
    "gaps",
    "gap_days",
    "at_risk",
    "again",
    "new",
)  # of item_counts

SUMS = ("decayed_", "weeks_", "week_share_")  # 0, not missing, where there is no outcome
PAIR = (
    *(f"decayed_{days}d" for days in HALF_LIVES),
    *(f"decayed_share_{days}d" for days in HALF_LIVES),
    *(f"weeks_{weeks}w" for weeks in WEEKS),
    *(f"week_share_{weeks}w" for weeks in SHARED_WEEKS),
    "outcome_days",
    "days_since_first",
    "days_since",
    "own_gap_ratio",
    "latest_gap_days",
    "gap_variation",
    "rebuy_hazard",
    "active_days_since",
    "active_day_share",
    "active_gap_ratio",
    "decayed_rank",
    "share_of_user",
)

Arrays = dict[str, np.ndarray]


def by_item(day: np.ndarray, item: np.ndarray, n: np.ndarray, as_of: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Age in days (1 = the day before ``as_of``), item and count of what lies before, by item and then oldest first."""
    past = np.flatnonzero(day < as_of)
    order = past[np.lexsort((day[past], item[past]))]
    return as_of - day[order], item[order], n[order].astype(np.float64)


def pair_features(age: np.ndarray, item: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, Arrays]:
    """Items a user had outcomes on, ascending, and features of each; arguments as ``by_item`` returns them.

    An *active day* or week is one with an outcome on anything. ``rebuy_hazard`` is the share of the user's own gaps at
    least as long as the present one that ended within 7 further days, shrunken to 0.2 by one gap.
    """
    items, first, times = np.unique(item, return_index=True, return_counts=True)
    if not len(items):
        return items, {}
    place = np.repeat(np.arange(len(items)), times)
    last = first + times - 1
    active = np.unique(age)[::-1]  # oldest first
    order = np.searchsorted(-active, -age)  # which active day, from 0

    def total(weight: np.ndarray) -> np.ndarray:
        return np.bincount(place, weight, minlength=len(items))

    out: Arrays = {}
    for days in HALF_LIVES:
        out[f"decayed_{days}d"] = total(n * 0.5 ** (age / days))
        out[f"decayed_share_{days}d"] = out[f"decayed_{days}d"] / ((0.5 ** (active / days)).sum() + 0.5)
    week = np.unique(place * 1000 + (age - 1) // 7)
    for weeks in WEEKS:
        out[f"weeks_{weeks}w"] = np.bincount(week // 1000, week % 1000 < weeks, minlength=len(items))
    active_weeks = np.unique((age - 1) // 7)
    for weeks in SHARED_WEEKS:
        out[f"week_share_{weeks}w"] = out[f"weeks_{weeks}w"] / max((active_weeks < weeks).sum(), 1)
    since, oldest, gaps = age[last].astype(np.float64), age[first].astype(np.float64), times - 1
    mean_gap = _over(oldest - since, gaps)
    gap = np.r_[0, age[:-1] - age[1:]].astype(np.float64)
    is_gap = np.ones(len(age), dtype=bool)
    is_gap[first] = False
    spread = np.sqrt(np.maximum(_over(total(gap**2 * is_gap), gaps) - mean_gap**2, 0.0))
    long = is_gap & (gap >= since[place])
    soon = long & (gap < since[place] + HORIZON)
    place_gap = _over((order[last] - order[first]).astype(np.float64), gaps)
    rank = np.empty(len(items))
    rank[np.lexsort((items, -out["decayed_112d"]))] = np.arange(len(items))
    return items, out | {
        "outcome_days": times,
        "days_since_first": oldest,
        "days_since": since,
        "own_gap_ratio": since / mean_gap,
        "latest_gap_days": np.where(times > 1, gap[last], np.nan),
        "gap_variation": np.where(times > 2, spread / mean_gap, np.nan),
        "rebuy_hazard": (total(soon) + 0.2) / (total(long) + 1.0),
        "active_days_since": (len(active) - 1 - order[last]).astype(np.float64),
        "active_day_share": times / (len(active) - order[first]),
        "active_gap_ratio": (len(active) - 1 - order[last]) / place_gap,
        "decayed_rank": rank,
        "share_of_user": out["decayed_112d"] / out["decayed_112d"].sum(),
    }


def user_features(age: np.ndarray, item: np.ndarray, n: np.ndarray) -> dict[str, float]:
    """What one user is like: how much a day, how many different items, how many of them for the first time."""
    first = {window: _first_within(age, item, window) for window in (28, 91)}
    days = len(np.unique(age[age <= 91]))
    return {
        "basket_size_91d": float(n[age <= 91].sum() / max(days, 1)),
        "items_28d": float(first[28][0]),
        "items_91d": float(first[91][0]),
        "new_share_28d": float(first[28][1] / max(first[28][0], 1)),
    }


def category_features(
    age: np.ndarray, category: np.ndarray, n: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decayed counts (half-lives 56 and 112 days) of each category 0..size-1, and days since the latest outcome."""
    since = np.full(size, NEVER)
    np.minimum.at(since, category, age)
    short, long = (np.bincount(category, n * 0.5 ** (age / days), minlength=size) for days in (56, 112))
    return short, long, since


def category_share(outcomes: np.ndarray, category: np.ndarray) -> np.ndarray:
    """Each item's share of all users' ``outcomes`` in its category, shape (items,); 0 where the category has none."""
    return np.asarray(outcomes / np.maximum(np.bincount(category, outcomes)[category], 1))


def item_counts(age: np.ndarray, item: np.ndarray) -> tuple[np.ndarray, Arrays]:
    """One user's share in COUNTS of each item, integers that may be summed in any order.

    ``at_risk``: weeks of the last 8 in which the user was active and had an earlier outcome on the item; ``again``:
    those with a further outcome; ``new``: 1 where the first outcome lies in those weeks.
    """
    items, first, times = np.unique(item, return_index=True, return_counts=True)
    if not len(items):
        return items, {name: items for name in COUNTS}
    oldest, since = age[first], age[first + times - 1]
    active = np.zeros(ITEM_WEEKS + 1, dtype=np.int64)
    active[np.unique(np.minimum((age - 1) // 7, ITEM_WEEKS))] = 1
    active[ITEM_WEEKS] = 0
    first_week = np.minimum((oldest - 1) // 7, ITEM_WEEKS)
    at_risk = np.cumsum(active)[first_week] - active[first_week]
    week = np.unique(np.repeat(np.arange(len(items)), times) * 1000 + (age - 1) // 7)
    inside = np.bincount(week // 1000, week % 1000 < ITEM_WEEKS, minlength=len(items)).astype(np.int64)
    new = (first_week < ITEM_WEEKS).astype(np.int64)
    columns = (np.ones_like(times), times, times - 1, oldest - since, at_risk, inside - new, new)
    return items, {name: column.astype(np.int64) for name, column in zip(COUNTS, columns, strict=True)}


def item_features(counts: Arrays) -> Arrays:
    """Features of items from COUNTS summed over users, shape (items,): rates shrunken to the mean of all items."""
    mean = counts["again"].sum() / max(counts["at_risk"].sum(), 1)
    return {
        "item_rebuy_rate": (counts["again"] + 20 * mean) / (counts["at_risk"] + 20),
        "item_gap_days": (counts["gap_days"] + 30) / (counts["gaps"] + 1),
        "item_days_per_user": counts["days"] / np.maximum(counts["users"], 1),
        "item_new_users_56d": counts["new"].astype(np.float64),
    }


def for_items(
    found: np.ndarray, past: tuple[np.ndarray, np.ndarray, np.ndarray], about: Arrays, category: np.ndarray
) -> Arrays:
    """RHYTHM_FEATURES of the items ``found`` of one user, float32; ``past`` as ``by_item`` returns it.

    ``about`` has the items' own features and ``category`` the number of each item's category, all of shape (items,). A
    sum over nothing is 0; what has no value without an outcome is NaN.
    """
    age, item, n = past
    items, own = pair_features(age, item, n)
    place = np.searchsorted(items, found)
    there = place < len(items)
    there[there] = items[place[there]] == found[there]
    out: Arrays = {}
    for name in PAIR:
        out[name] = np.full(len(found), 0.0 if name.startswith(SUMS) else np.nan)
        if there.any():
            out[name][there] = own[name][place[there]]
    decayed, longer, since = category_features(age, category[item], n, int(category.max()) + 1)
    kind = category[found]
    out |= {
        "category_decayed_56d": decayed[kind],
        "category_days_since": since[kind],
        "category_decayed_share": decayed[kind] / max(decayed.sum(), 1e-9),
        "share_of_category": out["decayed_56d"] / np.maximum(decayed[kind], 1e-9),
    }
    out |= {name: np.full(len(found), value) for name, value in user_features(age, item, n).items()}
    out |= {name: values[found] for name, values in about.items()}
    out["item_gap_ratio"] = out["days_since"] / out["item_gap_days"]
    share = (out["decayed_112d"] + CATEGORY_PRIOR * out["item_category_share_91d"]) / (longer[kind] + CATEGORY_PRIOR)
    out["expected_in_category_112d"] = longer[kind] * share
    return {name: out[name].astype(np.float32) for name in contracts.RHYTHM_FEATURES}


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.maximum(below, 1), np.nan)


def _first_within(age: np.ndarray, item: np.ndarray, window: int) -> tuple[int, int]:
    """How many items had an outcome in the window, and how many of them their first."""
    _, first, times = np.unique(item, return_index=True, return_counts=True)
    if not len(first):
        return 0, 0
    return int((age[first + times - 1] <= window).sum()), int((age[first] <= window).sum())
