"""A small shop with planted effects: showing helps some items for some users, and popular items are shown more."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

RUN_DATE = date(2024, 3, 4)
WEEKS = 16
LATER_WEEKS = 2
USERS, ITEMS, CATEGORIES = 400, 60, 6


def write_world(folder: Path, seed: int = 0) -> None:
    """Write users, items, interactions and exposures of the shop as Parquet files in the contract's columns."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    user_ids = np.array([f"user-{n:04d}" for n in range(USERS)])
    item_ids = np.array([f"item-{n:03d}" for n in range(ITEMS)])
    category = np.arange(ITEMS) % CATEGORIES
    group = rng.integers(0, 2, USERS)
    taste = rng.gamma(0.6, 1.0, (USERS, CATEGORIES))
    popularity = rng.gamma(1.5, 1.0, ITEMS)
    organic = np.clip(0.05 * taste[:, category] * popularity[None, :] / popularity.mean(), 0.002, 0.6)
    responsive = (category[None, :] % 2) == group[:, None]
    effect = np.where(responsive, 0.25, 0.0) * (1 - organic)
    shown_share = np.clip(0.15 + 0.3 * popularity / popularity.max() + 0.2 * (organic > 0.1), 0.05, 0.8)

    first = RUN_DATE - timedelta(weeks=WEEKS)
    events, exposures = [], []
    for week in range(WEEKS + LATER_WEEKS):
        start = datetime.combine(first + timedelta(weeks=week), datetime.min.time())
        active = rng.random(USERS) < 0.85
        shown = (rng.random((USERS, ITEMS)) < shown_share) & active[:, None]
        bought = (rng.random((USERS, ITEMS)) < organic + effect * shown) & active[:, None]
        for u, i in np.argwhere(shown):
            exposures.append((user_ids[u], item_ids[i], start + timedelta(hours=int(rng.integers(1, 24)))))
        for u, i in np.argwhere(bought):
            moment = start + timedelta(hours=int(rng.integers(25, 167)), seconds=int(rng.integers(0, 3600)))
            events.append((user_ids[u], item_ids[i], "purchase", moment, round(float(rng.uniform(1, 20)), 2)))
        for u in np.flatnonzero(active):
            i = int(rng.integers(0, ITEMS))
            events.append((user_ids[u], item_ids[i], "view", start + timedelta(hours=2), None))

    pd.DataFrame({"user_id": user_ids, "age_band": rng.choice(["18-34", "35-54", "55+"], USERS)}).to_parquet(
        folder / "users.parquet", index=False
    )
    pd.DataFrame(
        {
            "item_id": item_ids,
            "category": [f"category-{c}" for c in category],
            "price": np.round(rng.uniform(1, 20, ITEMS), 2),
            "title": [f"Item {n}" for n in range(ITEMS)],
        }
    ).to_parquet(folder / "items.parquet", index=False)
    interactions = pd.DataFrame(events, columns=["user_id", "item_id", "event_type", "event_ts", "value"])
    interactions.insert(0, "event_id", [f"event-{n:06d}" for n in range(len(interactions))])
    interactions["event_ts"] = pd.to_datetime(interactions.event_ts, utc=True)
    interactions.to_parquet(folder / "interactions.parquet", index=False)
    shown_log = pd.DataFrame(exposures, columns=["user_id", "item_id", "exposed_at"])
    shown_log.insert(0, "exposure_id", [f"exposure-{n:07d}" for n in range(len(shown_log))])
    shown_log["exposed_at"] = pd.to_datetime(shown_log.exposed_at, utc=True)
    shown_log.to_parquet(folder / "exposures.parquet", index=False)
