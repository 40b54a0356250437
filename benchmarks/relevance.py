"""How well the night's relevance ranks next week's purchases of a year of groceries, against what is done by hand.

    python -m benchmarks.relevance --unit type --unit product

Truth: the distinct items a household buys in the 7 days from the run date, repeats included, among those bought by at
least 20 households before. The night is run as it is (build_features, generate_candidates and the ranker of
train_ranker) on a lake that ends the day before the run date. NDCG@10 has binary gain and the ideal list of
min(10, relevant) hits; intervals are 95 % of paired bootstraps over households. Ties go to the more popular item.
Everything was developed on weeks before the default run date (--run-date 2017-11-05 and 2017-11-12).
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import nights
from jobs.tables import demo

Floats = NDArray[np.float32]
MIN_HOUSEHOLDS = 20
WINDOW = 7
EASE_LAMBDA = 500.0
ITEM = {"type": "p.product_type", "product": "p.product_id::VARCHAR"}
CATEGORY = {"type": "p.product_category", "product": "p.product_type"}


@dataclass(frozen=True)
class World:
    """Purchases before the run date and after it; users and items are numbered in order of their ids."""

    events: pd.DataFrame  # user, item, age (1 = the day before), n (baskets of that day)
    users: list[str]
    items: list[str]
    truth: NDArray[np.bool_]  # users x items

    def counts(self, weight: NDArray[np.float64]) -> Floats:
        """Sum of ``weight`` of each event by user and item, shape (users, items)."""
        size = len(self.users), len(self.items)
        cell = self.events.user.to_numpy() * size[1] + self.events.item.to_numpy()
        return np.bincount(cell, weight, minlength=size[0] * size[1]).reshape(size).astype(np.float32)


def purchases(unit: str, run_date: date) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a household, item of the catalogue and basket, with its day; and the catalogue with its categories."""
    folder = Path(demo._package_folder())
    with duckdb.connect() as source:
        source.execute("SET threads = 2; SET TimeZone = 'UTC'")
        lines = f"""
            SELECT t.household_id::VARCHAR AS user_id, {ITEM[unit]} AS item_id, {CATEGORY[unit]} AS category,
                   t.basket_id::VARCHAR AS session_id, t.transaction_timestamp AS event_ts, t.sales_value AS value
            FROM '{folder}/transactions.parquet' AS t JOIN '{folder}/products.parquet' AS p USING (product_id)
            WHERE t.quantity BETWEEN 1 AND 100 AND t.sales_value > 0 AND {ITEM[unit]} IS NOT NULL"""
        rows = source.sql(f"""
            SELECT user_id, item_id, session_id, min(event_ts) AS event_ts, min(event_ts)::DATE AS day,
                   sum(value) AS value
            FROM ({lines}) GROUP BY ALL ORDER BY user_id, item_id, event_ts, session_id""").df()
        items = source.sql(f"""
            SELECT item_id, coalesce(min(category), 'unknown') AS category FROM ({lines})
            WHERE event_ts < TIMESTAMP '{run_date}'
            GROUP BY ALL HAVING count(DISTINCT user_id) >= {MIN_HOUSEHOLDS} ORDER BY item_id""").df()
    rows = rows[rows.item_id.isin(items.item_id)].reset_index(drop=True)
    rows["day"] = rows["day"].dt.date
    return rows, items


def world(
    rows: pd.DataFrame, items: pd.DataFrame, run_date: date, days: int = WINDOW, new_users: bool = False
) -> World:
    """The purchases as numbers, split at the run date; with ``new_users`` also of those who come in the window."""
    past, end = rows[rows.day < run_date], run_date + timedelta(days=days)
    users = pd.Index(sorted((rows[rows.day < end] if new_users else past).user_id.unique()))
    things = pd.Index(items.item_id)
    events = past.groupby(["user_id", "item_id", "day"], sort=True).size().rename("n").reset_index()
    numbered = pd.DataFrame(
        {
            "user": users.get_indexer(events.user_id),
            "item": things.get_indexer(events.item_id),
            "age": [(run_date - day).days for day in events.day],
            "n": events.n,
        }
    )
    truth = np.zeros((len(users), len(things)), dtype=bool)
    after = rows[(rows.day >= run_date) & (rows.day < end)]
    user, item = users.get_indexer(after.user_id), things.get_indexer(after.item_id)
    known = (user >= 0) & (item >= 0)
    truth[user[known], item[known]] = True
    return World(numbered, list(users), list(things), truth)


def baselines(known: World) -> dict[str, Floats]:
    """Scores by users x items of what is done by hand."""
    age, n = known.events.age.to_numpy(), known.events.n.to_numpy(dtype=np.float64)
    recency, count = known.counts(n * 0.5 ** (age / 112)), known.counts(n)
    log = np.log1p(count)  # on the development weeks better than whether bought or not, for both models
    unit = log / np.maximum(np.linalg.norm(log, axis=0), 1e-9)
    everyone = np.ones((len(known.users), 1), dtype=np.float32)
    return {
        "popularity 91 d": everyone * known.counts(n * (age <= 91)).sum(axis=0),
        "popularity 7 d": everyone * known.counts(n * (age <= 7)).sum(axis=0),
        "user-item count": count,
        "recency-weighted count": recency,
        "item-item cosine": log @ (unit.T @ unit),
        "EASE": ease(log, EASE_LAMBDA),
    }


def ease(x: Floats, ridge: float) -> Floats:
    """Scores of EASE (Steck 2019) for X of shape (users, items), by the users' kernel: X P = (X X' + ridge)^-1 X."""
    kernel = (x @ x.T).astype(np.float64)
    kernel[np.diag_indices(len(kernel))] += ridge
    inner = np.linalg.solve(kernel, x.astype(np.float64))
    diagonal = (1.0 - (x * inner).sum(axis=0)) / ridge
    return (x - inner / diagonal).astype(np.float32)


def night(rows: pd.DataFrame, items: pd.DataFrame, run_date: date, unit: str, folder: Path) -> pd.DataFrame:
    """Tonight's candidates with the ranker's score, from purchases before the run date."""
    site = {"site": f"bench_{unit}", "outcome": {"event_types": ["purchase"], "window_days": WINDOW, "value": "value"}}
    past = rows[rows.day < run_date]
    interactions = pd.DataFrame(
        {
            "event_id": past.session_id + "-" + past.item_id,
            "user_id": past.user_id,
            "item_id": past.item_id,
            "event_type": "purchase",
            "event_ts": past["event_ts"].dt.tz_localize("UTC"),
            "value": past["value"],
            "session_id": past.session_id,
            "event_day": past.day,
        }
    )
    clean = {"users": past[["user_id"]].drop_duplicates(), "items": items, "interactions": interactions}
    return nights.relevance(site, clean, run_date, folder)


def measure(score: Floats, known: World, users: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """NDCG@10, recall@10 and recall@100 of each of ``users``; by score, then popularity; -inf is not listed."""
    recent = np.bincount(
        known.events.item, weights=known.events.n * (known.events.age <= 91), minlength=len(known.items)
    )
    order = np.argsort(-recent, kind="stable")
    discount, ideal = 1 / np.log2(np.arange(2, 12)), np.cumsum(1 / np.log2(np.arange(2, 12)))
    out: dict[str, list[float]] = {"ndcg_10": [], "recall_10": [], "recall_100": []}
    for user in users:
        mine = score[user, order]
        top = order[np.argsort(-mine, kind="stable")[:100]]
        hits = known.truth[user, top] & np.isfinite(score[user, top])
        relevant = int(known.truth[user].sum())
        out["ndcg_10"].append(float(hits[:10] @ discount[: len(hits)] / ideal[min(relevant, 10) - 1]))
        out["recall_10"].append(hits[:10].sum() / relevant)
        out["recall_100"].append(hits.sum() / relevant)
    return {name: np.array(values) for name, values in out.items()}


def paired(difference: NDArray[np.float64], draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean of one difference a user."""
    rng = np.random.default_rng(seed)
    means = [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(draws)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def report(unit: str, run_date: date) -> pd.DataFrame:
    """One row a method for one unit."""
    rows, items = purchases(unit, run_date)
    known = world(rows, items, run_date)
    users = np.flatnonzero(known.truth.any(axis=1))
    scores = baselines(known)
    with tempfile.TemporaryDirectory() as folder:
        found = night(rows, items, run_date, unit, Path(folder))
    own = np.full(known.truth.shape, -np.inf, dtype=np.float32)
    own[
        pd.Index(known.users).get_indexer(pd.Index(found.user_id)),
        pd.Index(known.items).get_indexer(pd.Index(found.item_id)),
    ] = found.score
    ceiling = (known.truth & np.isfinite(own))[users].sum(axis=1) / known.truth[users].sum(axis=1)
    print(
        f"{unit}: {len(known.items):,} items, {len(users):,} users, {known.truth.sum():,} purchases;"
        f" the night's candidates hold {ceiling.mean():.3f} of them"
    )
    measured = {name: measure(score, known, users) for name, score in (scores | {"the night's ranker": own}).items()}
    peer = measured["recency-weighted count"]["ndcg_10"]
    table = []
    for name, values in measured.items():
        low, high = paired(values["ndcg_10"] - peer)
        means = {metric: value.mean() for metric, value in values.items()}
        table.append(
            {
                "method": name,
                **means,
                "ndcg_10 minus recency": (values["ndcg_10"] - peer).mean(),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(table).set_index("method")


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table a unit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", choices=list(ITEM), action="append")
    parser.add_argument("--run-date", type=date.fromisoformat, default=date(2017, 12, 3))
    given = parser.parse_args(argv)
    for unit in given.unit or list(ITEM):
        print(report(unit, given.run_date).round(4).to_string(), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
