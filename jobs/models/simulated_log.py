"""The log of a simulated site, and the rows its night learns from: features, counts, trials and candidates.

A period is a week. What the night's Spark jobs count from tables is counted here from arrays of shape (periods, users,
items), with the same meaning: every window ends before its as-of period. A feature that is not counted here is missing
(NaN), as it is for a site without the column.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.models import prior, ranker
from jobs.models.doubly_robust import Trials
from jobs.models.folds import fold_of, uniform_rows
from jobs.models.prior import Prior
from jobs.models.sample import Sample
from jobs.models.simulation import Floats
from jobs.runtime.site import Site
from jobs.tables.contracts import FEATURES, LISTED, SOURCES

Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]
WINDOWS = {7: 1, 28: 4, 91: 13, 364: 52}  # days and periods
HALF_LIVES = {"outcomes_decayed_28d": 28, "outcomes_decayed_112d": 112, "decayed_14d": 14, "decayed_56d": 56}


@dataclass
class Log:
    """What happened in each period so far; arrays of one period have shape (users,) or (users, items).

    ``logged`` is the propensity written with an exposure, NaN where none was.
    """

    category: Codes
    active: list[Bools] = field(default_factory=list)
    shown: list[Bools] = field(default_factory=list)
    outcome: list[Bools] = field(default_factory=list)
    logged: list[Floats] = field(default_factory=list)
    counted: dict[int, dict[str, NDArray[np.float32]]] = field(default_factory=dict)

    def add(self, active: Bools, shown: Bools, outcome: Bools, logged: Floats) -> None:
        """One more period."""
        self.active.append(active)
        self.shown.append(shown)
        self.outcome.append(outcome)
        self.logged.append(logged)

    def __len__(self) -> int:
        return len(self.shown)

    def first(self, periods: int) -> "Log":
        """The first ``periods``: what was known when they had ended."""
        kept = slice(periods)
        return Log(self.category, self.active[kept], self.shown[kept], self.outcome[kept], self.logged[kept])

    def features(self, now: int) -> dict[str, NDArray[np.float32]]:
        """Features of all pairs when ``now`` periods had ended; they never change, so they are counted once."""
        if now not in self.counted:
            self.counted[now] = features(self.first(now), self.first(now))
        return self.counted[now]

    @property
    def keys(self) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """User and item id of every pair, users first, each of shape (users x items,)."""
        users, items = self.shown[0].shape
        return np.repeat(names("u", users), items), np.tile(names("i", items), users)


def names(prefix: str, number: int) -> NDArray[np.object_]:
    """Ids of users or items."""
    return np.array([f"{prefix}{place:04d}" for place in range(number)], dtype=object)


def features(own: Log, everyone: Log) -> dict[str, NDArray[np.float32]]:
    """Features of all pairs after the periods of ``own``, each of shape (users, items).

    ``own`` is what the users did; items are judged by ``everyone``, a log of the same periods.
    """
    bought, seen = np.array(own.outcome), np.array(own.shown)
    found: dict[str, Any] = {name: _decayed(bought, days) for name, days in HALF_LIVES.items()}
    found |= {f"outcomes_{days}d": bought[-WINDOWS[days] :].sum(axis=0) for days in (28, 91, 364)}
    lately = seen[-13:].any(axis=0)
    found |= {f"shown_{days}d": np.where(lately, seen[-WINDOWS[days] :].sum(axis=0), np.nan) for days in (7, 28)}
    found |= {"days_since_last": _since(bought), "days_since_shown": _since(seen[-13:])}
    found |= _of_users(own, bought) | _of_items(everyone)
    return {name: np.broadcast_to(values, bought.shape[1:]).astype(np.float32) for name, values in found.items()}


def _of_users(own: Log, bought: Bools) -> dict[str, Any]:
    active = np.array(own.active)
    found: dict[str, Any] = {}
    for days in (28, 91):
        found[f"user_active_days_{days}d"] = active[-WINDOWS[days] :].sum(axis=0)[:, None]
        found[f"user_outcomes_{days}d"] = bought[-WINDOWS[days] :].sum(axis=(0, 2))[:, None]
    in_category = bought[-13:].sum(axis=0) @ np.eye(int(own.category.max()) + 1)[own.category]
    total = in_category.sum(axis=1, keepdims=True)
    share = np.divide(in_category, total, out=np.full(in_category.shape, np.nan), where=total > 0)
    return found | {
        "category_outcomes_91d": in_category[:, own.category],
        "category_share_91d": share[:, own.category],
    }


def _of_items(everyone: Log) -> dict[str, Any]:
    bought, seen, active = (np.array(part) for part in (everyone.outcome, everyone.shown, everyone.active))
    found: dict[str, Any] = {}
    for days in (7, 28, 91):
        found[f"item_outcomes_{days}d"] = bought[-WINDOWS[days] :].sum(axis=(0, 1))
    for days in (28, 91):
        found[f"item_buyers_{days}d"] = bought[-WINDOWS[days] :].any(axis=0).sum(axis=0)
    for days in (7, 28):
        people = max(int(active[-WINDOWS[days] :].any(axis=0).sum()), 1)
        found[f"item_shown_users_{days}d"] = seen[-WINDOWS[days] :].any(axis=0).sum(axis=0) / people
    found["item_trend"] = (4 * found["item_outcomes_7d"] + 1) / (found["item_outcomes_28d"] + 1)
    found["popularity_rank"] = np.argsort(np.argsort(-found["item_outcomes_91d"], kind="stable")) + 1
    return found


def _decayed(events: Bools, half_life: int) -> Floats:
    age = 7.0 * np.arange(len(events), 0, -1)
    return np.tensordot(0.5 ** (age / half_life), events.astype(np.float64), axes=1)


def _since(events: Bools) -> Floats:
    back = np.argmax(events[::-1], axis=0)
    return np.where(events.any(axis=0), 7.0 * (back + 1), np.nan)


def matrix(counted: dict[str, NDArray[np.float32]], columns: Sequence[str], rows: Any = slice(None)) -> Any:
    """``rows`` of all pairs as a matrix of ``columns``; what is not counted is NaN."""
    pairs = next(iter(counted.values())).size
    missing = np.full(pairs, np.nan, np.float32)
    return np.column_stack([counted[name].ravel()[rows] if name in counted else missing[rows] for name in columns])


def candidates(log: Log, counted: dict[str, NDArray[np.float32]]) -> pd.DataFrame:
    """Every item of every user with the columns of a candidate, in the order of ``Log.keys``."""
    frame = pd.DataFrame(matrix(counted, ranker.COLUMNS), columns=list(ranker.COLUMNS))
    frame[list(SOURCES)], frame[list(LISTED)] = True, np.nan
    user_id, item_id = log.keys
    category = np.tile(_categories(log), len(user_id) // len(log.category))
    return frame.assign(user_id=user_id, item_id=item_id, category=category)


def labelled(log: Log, site: Site) -> pd.DataFrame:
    """Candidates of the last ``label_windows`` periods with their outcomes: what the ranker learns from."""
    parts = [
        candidates(log, log.features(now)).assign(as_of=now, label=log.outcome[now].ravel().astype(int), weight=1.0)
        for now in range(max(len(log) - site.ranker.label_windows, 1), len(log))
    ]
    return pd.concat(parts).sort_values(["user_id", "item_id", "as_of"], kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Masks:
    """Bit p of each: in period p of the history. Pairs shown and with an outcome, users active, items in play."""

    shown: Codes
    outcome: Codes
    active: Codes
    playing: Codes

    @classmethod
    def of(cls, own: Log, everyone: Log, periods: int) -> "Masks":
        """The last ``periods`` of a log; an item is in play where it was shown to any of ``everyone``."""
        shown, outcome, active, all_shown = (
            np.array(part[-periods:]) for part in (own.shown, own.outcome, own.active, everyone.shown)
        )
        alive = active[:, :, None]
        found = (shown & alive, outcome & alive, active, np.asarray(all_shown.any(axis=1)))
        return cls(*(np.tensordot(np.int64(1) << np.arange(len(part)), part.astype(np.int64), 1) for part in found))

    def counts(self, before: int | None = None) -> Codes:
        """The four counts of every pair, in the periods strictly before ``before``: shape (users x items, 4)."""
        earlier = np.int64(-1) if before is None else (np.int64(1) << np.int64(before)) - 1
        eligible = self.active[:, None] & self.playing[None, :] & earlier
        return prior.mask_counts((self.shown & earlier).ravel(), (self.outcome & earlier).ravel(), eligible.ravel())


def fit_prior(log: Log, site: Site) -> tuple[Prior, frozenset[str]]:
    """Priors of the items from all pairs' counts, and the items seen in both arms."""
    made = Masks.of(log, log, site.history_periods)
    users, items = made.shown.shape
    goods, folds = names("i", items), site.effects.folds
    user_id, item_id = log.keys
    pairs = pd.DataFrame(
        {"user_id": user_id, "item_id": item_id, "shown": made.shown.ravel(), "outcome": made.outcome.ravel()}
    )
    active, playing = pd.Series(made.active, index=names("u", users)), pd.Series(made.playing, index=goods)
    cells = prior.count_cells(pairs, active, playing, folds)
    total = made.counts().reshape(users, items, 4).sum(axis=0)
    both_arms = frozenset(goods[(total[:, 0] > 0) & (total[:, 2] > 0)])
    return prior.fit(cells, list(goods), list(_categories(log)), folds), both_arms


def trials(log: Log, site: Site) -> Sample:
    """Trials of the later half of the history, sampled to ``max_trials`` at one rate, with what came before them."""
    periods = min(site.history_periods, len(log))
    made = Masks.of(log, log, periods)
    user_id, item_id = log.keys
    possible: dict[int, NDArray[Any]] = {
        period: np.flatnonzero(((made.active[:, None] & made.playing[None, :]) >> period & 1).ravel())
        for period in range(periods // 2, periods)
    }
    share = min(1.0, site.effects.max_trials / max(sum(len(rows) for rows in possible.values()), 1))
    parts = []
    for period, rows in possible.items():
        now = len(log) - periods + period
        draw = uniform_rows(user_id[rows], item_id[rows], np.full(len(rows), now), salt=f"trials {site.seed}")
        rows = rows[draw < share]
        of_period = (log.shown[now], log.outcome[now], np.where(log.shown[now], log.logged[now], np.nan))
        parts.append(
            (
                matrix(log.features(now), FEATURES, rows),
                *(values.ravel()[rows] for values in of_period),
                made.counts(period)[rows],
                (made.counts() - made.counts(period))[rows][:, [0, 2]],
                np.full(len(rows), period),
                user_id[rows],
                item_id[rows],
            )
        )
    merged = (np.concatenate(part) for part in zip(*parts, strict=True))
    found, shown, outcome, logged, counts, ahead, of_trial, users, items = merged
    weight, fold = np.full(len(users), 1.0 / share), fold_of(users, site.effects.folds)
    drawn = Trials(found, shown.astype(np.int32), outcome.astype(np.float64), weight, users, fold)
    category = _categories(log)[pd.Index(names("i", len(log.category))).get_indexer(items)]
    everyone, unknown = np.full(len(items), "all", dtype=object), np.full(len(items), -1, np.int32)
    listed = np.full((len(items), len(LISTED)), np.nan, np.float32)
    return Sample(drawn, of_trial, items, category, everyone, counts, ahead, listed, unknown, logged, None)


def _categories(log: Log) -> NDArray[np.object_]:
    return np.array([f"c{number}" for number in log.category], dtype=object)
