"""Semi-synthetic worlds with known effects, made of a year of groceries, and the scores they are compared with.

Source: Sato et al., "Unbiased Learning for the Causal Effect of Recommendation", RecSys 2020, section 5.1. An item is
category::type; shown = in the mailer of a store the household visited that week; the rates with and without showing
are counted from the year and smoothed with the item's mean. Arrays of shape (users, items) unless said otherwise.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.tables import demo

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]
MIN_USER_WEEKS, MIN_ITEM_WEEKS = 12, 29  # visited weeks of a user, weeks of purchases of an item
ITEM_WEIGHT = 0.4  # of the item's mean rate, against 1 of the pair's own
SHOWN_PER_USER = 210  # a period, in the setting "personalized"
PERIODS = 10
RUN_DATE = date(2024, 3, 11)
FIXED = "visit"  # the item of visits; nobody buys or is shown it
SETTINGS = ("original", "personalized")


@dataclass(frozen=True)
class World:
    """The truth: outcome rates when shown and when not, and how likely showing is."""

    users: NDArray[np.str_]
    items: NDArray[np.str_]
    shown: Floats
    not_shown: Floats
    propensity: Floats

    @property
    def effect(self) -> Floats:
        """The true effects."""
        return self.shown - self.not_shown

    @property
    def relevance(self) -> Floats:
        """The true outcome rates under the propensities."""
        return self.propensity * self.shown + (1.0 - self.propensity) * self.not_shown

    def personalized(self) -> "World":
        """The world where a user's likely purchases are shown most: propensity min(1, c / rank^2)."""
        rank = np.argsort(np.argsort(-self.relevance, axis=1, kind="stable"), axis=1) + 1
        squares = np.arange(1, rank.shape[1] + 1) ** 2.0
        low, high = 1.0, 1e6
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if np.minimum(1.0, middle / squares).sum() < SHOWN_PER_USER else (low, middle)
        return World(self.users, self.items, self.shown, self.not_shown, np.minimum(1.0, low / rank**2))


@dataclass(frozen=True)
class Draw:
    """What happened: treated and outcome of each trial, shape (PERIODS, users, items)."""

    treated: Bools
    outcome: Bools

    def counts(self) -> tuple[Counts, Counts, Counts, Counts]:
        """Treated, their outcomes, control and their outcomes of each pair."""
        both, neither = self.treated & self.outcome, ~self.treated & self.outcome
        parts = (self.treated, both, ~self.treated, neither)
        first, second, third, fourth = (part.sum(axis=0, dtype=np.int64) for part in parts)
        return first, second, third, fourth


def original() -> World:
    """Rates and propensities counted from the grocer's year."""
    folder = demo._package_folder()
    with duckdb.connect() as source:
        source.execute("SET threads = 2; SET memory_limit = '3GB'")
        source.execute(f"""
            CREATE TABLE products AS
            SELECT product_id, product_category || '::' || product_type AS item FROM '{folder}/products.parquet'
            WHERE product_category IS NOT NULL AND product_type IS NOT NULL;
            CREATE TABLE visits AS
            SELECT DISTINCT household_id::INT AS u, store_id AS s, week AS w FROM '{folder}/transactions.parquet';
            CREATE TABLE bought AS
            SELECT DISTINCT household_id::INT AS u, week AS w, item
            FROM '{folder}/transactions.parquet' JOIN products USING (product_id);
            CREATE TABLE mailed AS
            SELECT DISTINCT store_id AS s, week AS w, item
            FROM '{folder}/promotions.parquet' JOIN products USING (product_id) WHERE mailer_location <> '0';
            CREATE TABLE shown AS SELECT DISTINCT u, w, item FROM visits JOIN mailed USING (s, w)""")
        weeks = source.sql("SELECT u, count(DISTINCT w) AS n FROM visits GROUP BY u ORDER BY u").df()
        shown = source.sql("SELECT u, item, count(*) AS n1 FROM shown GROUP BY ALL").df()
        bought = source.sql("""
            SELECT b.u, b.item, count(*) FILTER (s.u IS NOT NULL) AS y1, count(*) FILTER (s.u IS NULL) AS y0
            FROM bought AS b LEFT JOIN shown AS s ON b.u = s.u AND b.w = s.w AND b.item = s.item GROUP BY ALL""").df()
    weeks = weeks[weeks.n >= MIN_USER_WEEKS]
    total = bought.groupby("item")[["y1", "y0"]].sum().sum(axis=1)
    items = np.array(sorted(set(total.index[total >= MIN_ITEM_WEEKS]) & set(shown.item)))
    n1, y1, y0 = (
        _table(frame, name, weeks.u.to_numpy(), items)
        for frame, name in ((shown, "n1"), (bought, "y1"), (bought, "y0"))
    )
    n = weeks.n.to_numpy(np.float64)[:, None]
    users = np.array([f"user-{number:04d}" for number in weeks.u])
    return World(users, items, _smooth(y1, n1), _smooth(y0, n - n1), n1 / n)


def draw(world: World, seed: int) -> Draw:
    """Ten periods of training."""
    rng = np.random.default_rng(seed)
    size = (PERIODS, *world.propensity.shape)
    treated = rng.random(size) < world.propensity
    return Draw(treated, rng.random(size) < np.where(treated, world.shown, world.not_shown))


def write(world: World, drawn: Draw, folder: Path, logged: bool, seed: int) -> None:
    """The four raw tables as Parquet files: a week a period, the last one before RUN_DATE.

    Everybody visits and is shown things on a week's first day and buys on the others.
    """
    folder.mkdir(parents=True)
    users, items = pa.array(world.users.tolist()), pa.array(world.items.tolist())
    category = [name.split("::")[0] for name in world.items]
    pq.write_table(pa.table({"user_id": users}), folder / "users.parquet")
    known = pa.table({"item_id": [*world.items.tolist(), FIXED], "category": [*category, FIXED]})
    pq.write_table(known, folder / "items.parquet")
    first = datetime.combine(RUN_DATE, datetime.min.time(), UTC) - timedelta(weeks=PERIODS)
    day = np.timedelta64(1, "D")

    def moments(week: Counts, after: NDArray[np.timedelta64] | np.timedelta64) -> pa.Array:
        start = np.datetime64(first.replace(tzinfo=None), "us")
        return pa.array(start + week * 7 * day + after, pa.timestamp("us", tz="UTC"))

    week, user, item = (place.astype(np.int64) for place in np.nonzero(drawn.treated))
    exposures = {
        "exposure_id": _names("x", len(week)),
        "user_id": users.take(pa.array(user)),
        "item_id": items.take(pa.array(item)),
        "exposed_at": moments(week, np.timedelta64(6, "h")),
    }
    if logged:
        exposures["propensity"] = pa.array(world.propensity[user, item])
    pq.write_table(pa.table(exposures), folder / "exposures.parquet")

    week, user, item = (place.astype(np.int64) for place in np.nonzero(drawn.outcome))
    later = np.random.default_rng(seed).integers(1, 7, len(week))
    visits = PERIODS * len(world.users)
    visitor = np.tile(np.arange(len(world.users)), PERIODS)
    interactions = {
        "event_id": _names("e", len(week) + visits),
        "user_id": users.take(pa.array(np.concatenate([user, visitor]))),
        "item_id": pa.chunked_array([items.take(pa.array(item)), pa.array([FIXED] * visits)]),
        "event_type": ["purchase"] * len(week) + ["visit"] * visits,
        "event_ts": pa.chunked_array(
            [
                moments(week, later * day),
                moments(np.repeat(np.arange(PERIODS), len(world.users)), np.timedelta64(5, "h")),
            ]
        ),
    }
    pq.write_table(pa.table(interactions), folder / "interactions.parquet")


def shrunken_difference(counts: tuple[Counts, Counts, Counts, Counts], strength: float = 1.0) -> Floats:
    """Difference of a pair's rates, each shrunken to the item's rate by ``strength`` trials."""
    n1, y1, n0, y0 = counts
    rates = []
    for n, y in ((n1, y1), (n0, y0)):
        item = y.sum(axis=0) / np.maximum(n.sum(axis=0), 1)
        rates.append((y + strength * item) / (n + strength))
    return rates[0] - rates[1]


def bayes_limit(world: World, counts: tuple[Counts, Counts, Counts, Counts]) -> Floats:
    """Posterior mean effects under each item's true prior: the rates of its other users."""
    shown, not_shown = (np.clip(rates, 1e-6, 1 - 1e-6) for rates in (world.shown, world.not_shown))
    effect, out = world.effect, np.empty(world.shown.shape)
    people = np.arange(len(out))
    for i in range(len(world.items)):
        cells, which = np.unique(np.column_stack([count[:, i] for count in counts]), axis=0, return_inverse=True)
        n1, y1, n0, y0 = (cells[:, [place]].astype(np.float64) for place in range(4))
        a, b = shown[:, i], not_shown[:, i]
        chance = np.exp(y1 * np.log(a) + (n1 - y1) * np.log1p(-a) + y0 * np.log(b) + (n0 - y0) * np.log1p(-b))
        own = chance[which, people]
        sums = (chance @ effect[:, i])[which] - own * effect[:, i]
        out[:, i] = sums / np.maximum(chance.sum(axis=1)[which] - own, 1e-300)
    return out


def metrics(score: Floats, effect: Floats) -> dict[str, float]:
    """CP@10 and CP@100, the mean true effect of each user's best, and CDCG over the whole list, meaned over users."""
    order = np.argsort(-score, axis=1, kind="stable")
    found = np.take_along_axis(effect, order, axis=1)
    discount = 1 / np.log2(np.arange(2, found.shape[1] + 2))
    return {
        "cp_10": float(found[:, :10].mean()),
        "cp_100": float(found[:, :100].mean()),
        "cdcg": float((found @ discount).mean()),
    }


def _smooth(outcomes: Floats, trials: Floats) -> Floats:
    """(own rate + ITEM_WEIGHT item rate) / (1 + ITEM_WEIGHT); the item's rate where there is no trial."""
    item = outcomes.sum(axis=0) / np.maximum(trials.sum(axis=0), 1)
    own = outcomes / np.maximum(trials, 1)
    return np.where(trials > 0, (own + ITEM_WEIGHT * item) / (1 + ITEM_WEIGHT), item)


def _table(frame: pd.DataFrame, name: str, users: Counts, items: NDArray[np.str_]) -> Floats:
    row, column = pd.Index(users).get_indexer(pd.Index(frame.u)), pd.Index(items).get_indexer(pd.Index(frame.item))
    known = (row >= 0) & (column >= 0)
    out = np.zeros((len(users), len(items)))
    out[row[known], column[known]] = frame[name].to_numpy()[known]
    return out


def _names(prefix: str, number: int) -> pa.Array:
    return pa.array([f"{prefix}{n:08d}" for n in range(number)])
