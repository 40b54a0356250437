"""Train the relevance ranker on past label windows and judge it on the latest, which it never saw."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

import mlflow
import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from jobs.models import champions, decisions, metrics, ranker
from jobs.models.boosting import predict
from jobs.models.folds import threads
from jobs.models.metrics import Estimate, bootstrap_mean, coverage, gini, list_metrics, novelty, rank_positions
from jobs.runtime import registry, tracking
from jobs.runtime.args import JobArgs, run
from jobs.runtime.choices import Champion, record_choice
from jobs.runtime.errors import DataError
from jobs.runtime.registry import Card
from jobs.tables.contracts import CANDIDATES, PAIR_DAYS, SOURCES
from jobs.tables.lake import Lake

K = 10
JUDGED = "judged.ubj"
BASELINES = {
    "popularity": (["popularity_rank"], [True]),
    "recency": (["outcomes_decayed_112d", "popularity_rank"], [False, True]),
    "als": (["factor_score", "popularity_rank"], [False, True]),
}


def truth(args: JobArgs, lake: Lake, as_of: pd.Timestamp) -> pd.DataFrame:
    """Distinct (user_id, item_id) with an outcome in the window from ``as_of``, retrieved or not."""
    start = as_of.date()
    end = start + timedelta(days=args.site.outcome.window_days)
    inside = (ds.field("event_day") >= start) & (ds.field("event_day") < end) & (ds.field("outcomes") > 0)
    return lake.read_pandas(PAIR_DAYS, ["user_id", "item_id"], inside).drop_duplicates()


def judge(frame: pd.DataFrame, real: pd.DataFrame, scores: np.ndarray, seed: int) -> dict[str, Estimate | float]:
    """Quality and spread at 10 of the ranker and the baselines, recall@100, and each source's recall.

    ``frame`` holds all candidates of one as-of day, ``real`` what had an outcome. Baselines order the same candidates.
    """
    used = ["popularity_rank", "outcomes_decayed_112d", "factor_score", "item_buyers_91d"]
    listed = frame[["user_id", "item_id", *SOURCES, *used]].assign(ranker=scores)
    listed = listed.fillna(
        {"popularity_rank": np.inf, "outcomes_decayed_112d": 0.0, "factor_score": -np.inf, "item_buyers_91d": 0.0}
    )
    catalogue, users = listed["item_id"].nunique(), listed["user_id"].nunique()
    listed = listed.merge(real.assign(hit=1), how="left", on=["user_id", "item_id"])
    listed["hit"] = listed["hit"].fillna(0).astype(int)
    relevant = real.groupby("user_id").size()
    out: dict[str, Estimate | float] = {"test_users": float(len(relevant))}
    for name, (by, ascending) in ({"ranker": (["ranker"], [False])} | BASELINES).items():
        listed["position"] = rank_positions(listed, by, ascending)
        values = list_metrics(listed, relevant, K)
        for metric in ("ndcg", "recall", "precision", "map", "hit_rate"):
            out[f"{name}_{metric}_{K}"] = bootstrap_mean(values[metric], seed=seed)
        out[f"{name}_recall_100"] = bootstrap_mean(list_metrics(listed, relevant, 100)["recall"], seed=seed)
        top = listed[listed["position"] <= K]
        out[f"{name}_coverage_{K}"] = coverage(top["item_id"], catalogue)
        out[f"{name}_gini_{K}"] = gini(top["item_id"], catalogue)
        out[f"{name}_novelty_{K}"] = novelty(top["item_buyers_91d"], users)
    sources = {"candidate": listed["hit"] > 0} | {name: listed[name].astype(bool) for name in SOURCES}
    for name, mine in sources.items():
        found = listed[mine].groupby("user_id")["hit"].sum().reindex(relevant.index, fill_value=0)
        out[f"{name}_recall"] = bootstrap_mean(found / relevant, seed=seed)
    return out


def compare(
    args: JobArgs, champion: Champion, test: pd.DataFrame, real: pd.DataFrame, scores: np.ndarray
) -> tuple[Estimate | None, str]:
    """The challenger's lead over the champion on the latest window, which neither has seen, or why there is none."""
    if champion.missing:
        return None, champion.missing
    if JUDGED not in champion.files or json.loads(champion.files["recipe.json"])["features"] != list(ranker.COLUMNS):
        return None, "the champion was fitted on other columns than are counted now"
    other = predict(champion.files[JUDGED], ranker.matrix(test), threads())
    return champions.paired_ndcg(test, real, (scores, other), K, args.site.seed), ""


def card(args: JobArgs, frame: pd.DataFrame, figures: Mapping[str, Estimate | float]) -> Card:
    """What the registry says about tonight's ranker, fitted on all of ``frame``."""
    windows = ", ".join(f"{day:%Y-%m-%d}" for day in sorted(frame["as_of"].unique()))
    days = args.site.outcome.window_days
    return Card(
        f"probability of an outcome ({', '.join(args.site.outcome.event_types)}) of a retrieved user-item pair in the"
        f" {days} days from an as-of day.",
        f"{len(frame):,} labelled candidates of the {days}-day windows from {windows}; nothing dated on or after"
        f" {args.date}. Figures: the latest window, by a model fitted on the others.",
        {name: figure for name, figure in figures.items() if name.startswith("ranker_") or name == "recency_ndcg_10"},
        registry.typical_rows(frame, ranker.COLUMNS, SOURCES),
        "relevance",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Fit on windows before the latest, test on it, then fit on all for the same number of rounds."""
    args = JobArgs.parse(argv)
    lake, site = Lake(args), args.site
    frame = lake.read_pandas(CANDIDATES, where=ds.field("label").is_valid())
    frame["as_of"] = pd.to_datetime(frame["as_of"])
    days = sorted(frame["as_of"].unique(), reverse=True)
    if len(days) < 2 or not frame["label"].sum():
        raise DataError(
            f"candidates of {args.date}: {len(days)} label windows with {int(frame['label'].sum())} outcomes; "
            "two windows with outcomes are needed: load more history"
        )
    test = frame[frame["as_of"] == days[0]]
    first = ranker.fit(frame[frame["as_of"] < days[0]].reset_index(drop=True), site.ranker, site.seed)
    matrix = ranker.matrix(test)
    figures = judge(test, truth(args, lake, days[0]), first.score(matrix, threads()), site.seed)
    probability = first.relevance(matrix, threads())
    figures["ranker_brier"] = float(np.mean((probability - test["label"].to_numpy()) ** 2))
    figures["ranker_mean_ratio"] = float(probability.mean() / max(test["label"].mean(), 1e-12))
    final = ranker.fit(frame, site.ranker, site.seed, rounds=first.rounds)
    recipe = {"features": list(ranker.COLUMNS), "calibration": final.calibration.document(), "rounds": final.rounds}
    files = {
        "ranker.ubj": final.booster,
        JUDGED: first.booster,  # what later challengers are compared with: it has not seen the latest window
        "recipe.json": json.dumps(recipe, sort_keys=True).encode(),
    }
    champion = registry.champion(args, "ranker")
    lead, missing = compare(args, champion, test, truth(args, lake, days[0]), first.score(matrix, threads()))
    possible = (decisions.CHALLENGER, *([decisions.CHAMPION] if champion.registered else []))
    decision = decisions.decide_ranker(lead, site.ranker.margin, missing)
    decision = decision.overridden(args.choices.get("ranker"), args.reason, possible)
    with tracking.nested_run(args, "ranker", [CANDIDATES, PAIR_DAYS]) as run_id:
        mlflow.log_params(site.ranker.model_dump() | {"rounds_used": final.rounds})
        tracking.log_estimates(figures)
        model = registry.register(args, "ranker", files, run_id, card(args, frame, figures))
    lake.write_json(
        "ranker",
        {
            "version": model.version,
            "sha256": model.sha256,
            "model_uri": model.uri,
            "features": list(ranker.COLUMNS),
            "calibration": final.calibration.document(),
            "rounds": final.rounds,
            "metrics": {name: metrics.as_document(figure) for name, figure in figures.items()},
        },
    )
    record_choice(lake, "ranker", decision, model, champion)
    print(f"ranker {model.version}: NDCG@10 {figures['ranker_ndcg_10']}, recency {figures['recency_ndcg_10']}")
    return 0


if __name__ == "__main__":
    run(main)
