"""A small night as the lake has it: every trial of a planted world, with masks of periods, items and user profiles."""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.models import engine, prior, sample
from jobs.models.engine import Fitted
from jobs.models.sample import Sample
from jobs.runtime.site import Effects
from jobs.tables.contracts import FEATURES, LISTED, PAIR_COUNTS

PERIODS, FIRST = 8, 4
CALENDAR = "item_shown_users_7d"
HOW = Effects(trees=20, learning_rate=0.2, folds=3, bootstrap=40)
ADJUSTED = ("user_outcomes_28d", "item_outcomes_28d", "item_price", "outcomes_28d", "shown_28d")


@dataclass(frozen=True)
class Night:
    """Lake tables by name, and the true effect, propensity and rate not shown of each row of TRIALS."""

    tables: dict[str, pd.DataFrame]
    effect: NDArray[np.float64]
    propensity: NDArray[np.float64]
    base: NDArray[np.float64]

    @property
    def items(self) -> pd.DataFrame:
        """ITEM_PERIODS indexed by item_id."""
        return self.tables["item_periods"].set_index("item_id")

    def sample(self, how: Effects = HOW) -> Sample:
        """Its trials as arrays."""
        frame, active = self.tables["trials"], self.tables["user_periods"].set_index("user_id")["active"]
        masks = sample.Masks.of(frame, self.tables["pair_periods"], active, self.items["in_play"])
        segments = self.tables["user_profiles"].set_index("user_id")["segment_label"]
        return sample.of_frame(frame, sample.as_trials(frame, ADJUSTED, how.folds), masks, segments, how.instrument)

    def fit(self, how: Effects = HOW) -> tuple[Sample, Fitted]:
        """Its trials, and the effect engine fitted on them."""
        active = self.tables["user_periods"].set_index("user_id")["active"]
        cells = prior.count_cells(self.tables["pair_periods"], active, self.items["in_play"], how.folds)
        priors = prior.fit(cells, list(self.items.index), self.items["category"].tolist(), how.folds)
        trials = self.sample(how)
        return trials, engine.fit(trials, ADJUSTED, priors, set(self.items.index), how, 0)


@cache
def night(seed: int = 0, users: int = 400, items: int = 16, scale: float = 1.0, calendar: float = 0.0) -> Night:
    """Popular items and keen users are shown and buy more; showing adds up to .3 ``scale``, to half of the categories.

    One user in ten is absent in any period. One trial in ten is a random slot (``explored``). A ``calendar`` that has
    nothing to do with anything adds as much to showing in half of the periods of an item in each of 20 stores; it
    stands in the column ``CALENDAR``.
    """
    rng = np.random.default_rng(seed)
    keen, popular = rng.random(users)[:, None, None], np.linspace(0, 1, items)[None, :, None]
    shape = (users, items, PERIODS)
    helped = (np.arange(items) % 4 < 2)[None, :, None]
    effect = np.broadcast_to(scale * np.where(helped, 0.1 + 0.2 * keen, 0.0), shape)
    base = np.broadcast_to(0.05 + 0.25 * keen * popular, shape)
    e = np.broadcast_to(0.15 + 0.3 * popular + 0.3 * keen, shape)
    planned = np.random.default_rng([seed, 1]).random((20, items, PERIODS))[np.arange(users) % 20] < 0.5
    e = e + calendar * (planned - 0.5)
    active = rng.random((users, 1, PERIODS)) < 0.9
    explored = (rng.random(shape) < 0.1) & active
    shown = ((rng.random(shape) < e) | explored) & active
    outcome = (rng.random(shape) < base + effect * shown) & active
    bits = 1 << np.arange(PERIODS)
    names, things = np.array([f"u{n:03d}" for n in range(users)]), np.array([f"i{n:02d}" for n in range(items)])
    category = np.array([f"c{n % 4}" for n in range(items)])
    user, item, period = np.nonzero(np.broadcast_to(active, shape) & (np.arange(PERIODS) >= FIRST))
    cell = (user, item, period)
    frame = pd.DataFrame(np.full((len(user), len(FEATURES)), np.nan, np.float32), columns=list(FEATURES)).assign(
        user_id=names[user],
        item_id=things[item],
        period=period.astype(np.int32),
        as_of=[date(2024, 1, 1) + timedelta(days=7 * int(p)) for p in period],
        category=category[item],
        treated=shown[cell].astype(np.int32),
        outcome=outcome[cell].astype(np.int32),
        logged_propensity=np.nan,
        explored=explored[cell].astype(np.int32),
        weight=1.0,
        **dict.fromkeys(LISTED, np.full(len(user), np.nan, np.float32)),
        user_outcomes_28d=keen[user, 0, 0].astype(np.float32),
        item_outcomes_28d=popular[0, item, 0].astype(np.float32),
        item_price=rng.random(len(user)).astype(np.float32),
        outcomes_28d=rng.poisson(1.0, len(user)).astype(np.float32),
        shown_28d=rng.poisson(2.0, len(user)).astype(np.float32),
    )
    if calendar:
        frame[CALENDAR] = planned[cell].astype(np.float32)
    masks = {name: (which * bits).sum(axis=2).ravel() for name, which in (("shown", shown), ("outcome", outcome))}
    pairs = pd.DataFrame({"user_id": np.repeat(names, items), "item_id": np.tile(things, users)} | masks)
    counts = [(which & active).sum(axis=(0, 2)) for which in (shown, shown & outcome, ~shown, ~shown & outcome)]
    in_play = pd.DataFrame({"item_id": things, "category": category, "in_play": int(bits.sum())})
    profiles = pd.DataFrame({"user_id": names, "segment": (keen[:, 0, 0] < 0.5).astype(np.int32)})
    tables = {
        "trials": frame,
        "pair_periods": pairs[(pairs["shown"] != 0) | (pairs["outcome"] != 0)],
        "user_periods": pd.DataFrame({"user_id": names, "active": (active * bits).sum(axis=2).ravel()}),
        "item_periods": in_play.assign(**dict(zip(PAIR_COUNTS, counts, strict=True))),
        "user_profiles": profiles.assign(
            segment_label=np.where(profiles["segment"] == 0, "keen", "idle"), preferences="[]", factors=None
        ),
    }
    return Night(tables, effect[cell], (1 - (1 - e) * 0.9)[cell], base[cell])
