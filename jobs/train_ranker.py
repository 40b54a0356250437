"""Train the relevance ranker on past label windows and judge it on the latest, which it never saw."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
from numpy.typing import NDArray

from jobs.models import champions, content, decisions, doubly_robust, evaluation, metrics, ranker, reliability
from jobs.models.boosting import predict
from jobs.models.folds import threads
from jobs.models.metrics import Estimate
from jobs.models.ranker import Fitted
from jobs.runtime import recipes, registry, report_parts, tracking
from jobs.runtime.args import JobArgs, run
from jobs.runtime.choices import Champion, record_choice
from jobs.runtime.errors import DataError
from jobs.runtime.labelled import Labelled, labelled
from jobs.runtime.recipes import Recipe
from jobs.runtime.registry import Card
from jobs.tables.contracts import CANDIDATES, ITEM_VECTORS, PAIR_DAYS, SOURCES
from jobs.tables.lake import Lake

JUDGED = "judged.ubj"
Floats = NDArray[np.float64]


def truth(args: JobArgs, lake: Lake, as_of: pd.Timestamp) -> pd.DataFrame:
    """Distinct (user_id, item_id) with an outcome in the window from ``as_of``, retrieved or not."""
    start = as_of.date()
    end = start + timedelta(days=args.site.outcome.window_days)
    inside = (ds.field("event_day") >= start) & (ds.field("event_day") < end) & (ds.field("outcomes") > 0)
    return lake.read_pandas(PAIR_DAYS, ["user_id", "item_id"], inside).drop_duplicates()


def scores(booster: bytes, sources: Sequence[str], frame: pd.DataFrame) -> Floats:
    """What a ranker of these sources lists candidates by, shape (candidates,); -inf where it does not see them."""
    return np.where(ranker.kept(frame, sources), predict(booster, ranker.matrix(frame), threads()), -np.inf)


def compare(
    args: JobArgs, champion: Champion, test: pd.DataFrame, real: pd.DataFrame, challenger: Floats
) -> tuple[Estimate | None, str]:
    """The challenger's lead over the champion on the latest window, which neither has seen, or why there is none.

    ``challenger`` has its ``scores`` of ``test``.
    """
    if champion.missing:
        return None, champion.missing
    recipe = json.loads(champion.files["recipe.json"])
    if JUDGED not in champion.files or recipe["features"] != list(ranker.COLUMNS):
        return None, "the champion was fitted on other columns than are counted now"
    other = scores(champion.files[JUDGED], recipe.get("sources", SOURCES), test)
    return champions.paired_ndcg(test, real, (challenger, other), evaluation.K, args.site.seed), ""


def card(args: JobArgs, data: Labelled, test: pd.DataFrame, figures: Mapping[str, Estimate | float]) -> Card:
    """What the registry says about tonight's ranker, fitted on all of ``data``; ``test`` is its latest window."""
    windows = ", ".join(f"{day:%Y-%m-%d}" for day in data.days)
    days = args.site.outcome.window_days
    return Card(
        f"probability of an outcome ({', '.join(args.site.outcome.event_types)}) of a retrieved user-item pair in the"
        f" {days} days from an as-of day.",
        f"{data.rows:,} labelled candidates of the {days}-day windows from {windows}; nothing dated on or after"
        f" {args.date}. Figures: the latest window, by a model fitted on the others.",
        {name: figure for name, figure in figures.items() if name.startswith("ranker_") or name == "recency_ndcg_10"},
        registry.typical_rows(test, ranker.COLUMNS, SOURCES),
        "relevance",
    )


def require_outcomes(args: JobArgs, data: Labelled) -> None:
    """DataError where there is nothing to learn from, or nothing to judge on."""
    if len(data.days) < 2 or not data.outcomes:
        raise DataError(
            f"candidates of {args.date}: {len(data.days)} label windows with {data.outcomes} outcomes; "
            "two windows with outcomes are needed: load more history"
        )


def probabilities(said: Floats, test: pd.DataFrame) -> dict[str, Estimate | float]:
    """How right the calibrated relevance ``said`` is on candidates it never saw, clustered by user."""
    label, every, users = test["label"].to_numpy(np.float64), np.ones(len(test)), test["user_id"].to_numpy()
    found: dict[str, Estimate | float] = {"ranker_brier": doubly_robust.mean((said - label) ** 2, every, users)}
    return found | ({"ranker_mean_ratio": doubly_robust.ratio(said, label, every, users)} if label.any() else {})


def calibration_curve(said: Floats, test: pd.DataFrame) -> dict[str, list[float | None]]:
    """Relevance against outcomes in parts of equal expectation: most pairs have next to none."""
    weight, label = test["weight"].to_numpy(np.float64), test["label"].to_numpy(np.float64)
    return reliability.document(reliability.table(said, label, weight, test["user_id"], size=weight * said))


def files_of(first: Fitted, final: Fitted, recipe: Recipe, args: JobArgs) -> dict[str, bytes]:
    """The files of a version: what ranks, what later challengers are compared with, and how to use them."""
    document = {
        "features": list(ranker.COLUMNS),
        "calibration": final.calibration.document(),
        "rounds": final.rounds,
        **recipe.document(args.site),
    }
    return {
        "ranker.ubj": final.booster,
        JUDGED: first.booster,  # it has not seen the latest window
        "recipe.json": json.dumps(document, sort_keys=True).encode(),
    }


def lists_of(files: Mapping[str, bytes]) -> dict[str, Any] | None:
    """How the lists of a version are composed, or None for a version of before there was tuning."""
    found: dict[str, Any] | None = json.loads(files["recipe.json"]).get(recipes.LISTS)
    return found


def compared(figures: Mapping[str, Estimate | float]) -> str:
    """NDCG of the ranker and the baselines in words."""
    ndcg = {name: figures.get(f"{name}_ndcg_{evaluation.K}") for name in ("ranker", *evaluation.BASELINES)}
    said = [f"{name} {one.value:.4f}" for name, one in ndcg.items() if isinstance(one, Estimate)]
    return f"NDCG@{evaluation.K}: {', '.join(said) or 'nobody had an outcome to judge by'}"


def log_plots(record: Mapping[str, Any]) -> None:
    """Ranking quality and calibration of a ranker record as pictures of the run that is open."""
    drawn = report_parts.ranking(record)
    for name, plot in (("ranking", drawn["plot"]), ("relevance_calibration", drawn["calibration"])):
        if plot:
            mlflow.log_text(plot["svg"], f"{name}.svg")


def main(argv: Sequence[str] | None = None) -> int:
    """Fit on windows before the latest, test on it, then fit on all for the same number of rounds."""
    args = JobArgs.parse(argv)
    lake, site = Lake(args), args.site
    recipe, origin = recipes.tonight(args, lake)
    with labelled(args, lake) as data:
        require_outcomes(args, data)
        latest = data.days[-1]
        test, real = data.window(latest), truth(args, lake, latest)
        first = data.fit(recipe, before=latest)
        listed = scores(first.booster, recipe.sources, test)
        vectors = content.of_table(lake.read_pandas(ITEM_VECTORS))
        figures = evaluation.judge(test, real, listed, vectors, site.seed)
        seen = test[ranker.kept(test, recipe.sources)]
        probability = first.relevance(ranker.matrix(seen), threads())
        figures |= probabilities(probability, seen)
        final = data.fit(recipe, like=first)
        files, about = files_of(first, final, recipe, args), card(args, data, test, figures)
    champion = registry.champion(args, "ranker")
    lead, missing = compare(args, champion, test, real, listed)
    possible = (decisions.CHALLENGER, *([decisions.CHAMPION] if champion.registered else []))
    decision = decisions.decide_ranker(lead, site.ranker.margin, missing)
    decision = decision.overridden(args.choices.get("ranker"), args.reason, possible)
    record = {
        "features": list(ranker.COLUMNS),
        "calibration": final.calibration.document(),
        "rounds": final.rounds,
        "calibration_curve": calibration_curve(probability, seen),
        "metrics": {name: metrics.as_document(figure) for name, figure in figures.items()},
    }
    with tracking.nested_run(args, "ranker", [CANDIDATES, PAIR_DAYS]) as run_id:
        mlflow.log_params(recipe.model_dump(exclude={"ranker"}) | recipe.ranker.model_dump() | {"recipe_from": origin})
        mlflow.log_param("rounds_used", final.rounds)
        tracking.log_estimates(figures)
        watched = "stopping_loss" if recipe.ranker.objective == "binary:logistic" else "stopping_ndcg"
        tracking.log_curves({watched: first.watched})
        log_plots(record)
        model = registry.register(args, "ranker", files, run_id, about)
    made = {"version": model.version, "sha256": model.sha256, "model_uri": model.uri, "recipe_from": origin}
    lake.write_json("ranker", made | record)
    record_choice(lake, "ranker", decision, model, champion)
    chosen = champion.files if decision.chosen == decisions.CHAMPION else files
    lake.write_json(recipes.LISTS, {recipes.LISTS: lists_of(chosen)})
    print(f"ranker {model.version}, settings from {origin}; {compared(figures)}")
    return 0


if __name__ == "__main__":
    run(main)
