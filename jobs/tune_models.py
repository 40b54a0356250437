"""Try settings of ranker, retrieval and list building on past windows; the best make the next nights' challengers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import mlflow
import numpy as np
import optuna
import pyarrow.dataset as ds

from jobs.adjust import item_facets
from jobs.models import metrics, tuning
from jobs.models.folds import hash_ids
from jobs.runtime import recipes, tracking
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.labelled import IS_LABELLED, InMemory, read
from jobs.tables import studies
from jobs.tables.contracts import CANDIDATES, PAIR_DAYS, SOURCES
from jobs.tables.lake import Lake
from jobs.train_ranker import truth

USERS = 5_000  # tried on, at most: drawn by a hash, so that a study costs the same however many users there are


def latest_night(args: JobArgs) -> JobArgs:
    """The arguments with the newest run date up to this one that has candidates; DataError where there is none."""
    nights = Lake(replace(args, date=args.date + timedelta(days=1))).dates(CANDIDATES)
    if not nights:
        raise DataError(f"no night of {args.site.site} up to {args.date} has candidates: run one first")
    return replace(args, date=nights[-1])


def load(args: JobArgs, lake: Lake) -> InMemory:
    """Labelled candidates of at most USERS users; DataError where there are too few windows to judge in."""
    users = np.sort(lake.read_arrow(CANDIDATES, ["user_id"], IS_LABELLED)["user_id"].unique().to_pandas().to_numpy())
    where = IS_LABELLED
    if len(users) > USERS:
        chosen = users[np.argsort(hash_ids(users, "tuning"), kind="stable")[:USERS]]
        where &= ds.field("user_id").isin(chosen.tolist())
    data, wanted = InMemory(read(lake, where), args.site.seed), args.site.tuning.windows
    if len(data.days) <= wanted:
        raise DataError(
            f"candidates of {args.date}: {len(data.days)} label windows, and tuning.windows = {wanted} needs one more: "
            "raise ranker.label_windows"
        )
    return data


def chooses_sources(args: JobArgs, lake: Lake) -> bool:
    """Whether tonight's candidates are what the sources brought; in a small catalogue every item is one."""
    none = ~ds.field(SOURCES[0])
    for name in SOURCES[1:]:
        none &= ~ds.field(name)
    return not lake.read_arrow(CANDIDATES, ["user_id"], (ds.field("as_of") == args.date) & none).num_rows


def write_best(args: JobArgs, lake: Lake, study: optuna.Study, retrieval: bool) -> dict[str, float]:
    """Write the best recipe with the site settings it is for; its NDCG and that of the site's own settings."""
    best = study.best_trial
    recipe = tuning.suggest(optuna.trial.FixedTrial(best.params), args.site, retrieval)
    own = tuning.own_trial(study)
    assert own is not None and own.value is not None, "it is the first trial, and the pruner waits for four"
    figures = {"tuned_ndcg": float(study.best_value), "own_ndcg": float(own.value)}
    document = {"site": args.site.digest, "recipe": recipe.model_dump(mode="json"), "trial": best.number}
    lake.write_json(recipes.TUNED, document | {"metrics": {k: metrics.as_document(v) for k, v in figures.items()}})
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Finish the study of the latest night and write its best recipe, by which later nights' rankers are trained."""
    args = latest_night(JobArgs.parse(argv))
    lake, site = Lake(args), args.site
    data, retrieval = load(args, lake), chooses_sources(args, lake)
    users = set(data.frame["user_id"])
    real = {day: truth(args, lake, day) for day in data.days[-site.tuning.windows :]}
    real = {day: rows[rows["user_id"].isin(users)] for day, rows in real.items()}
    every = site.ranking.model_copy(update={"variety": "mmr"})  # which needs the items' vectors
    about = item_facets(replace(args, site=site.model_copy(update={"ranking": every})), lake)
    study = studies.open_study(args, tuning.own_params(site, retrieval))
    with tracking.nested_run(args, "tuning", [CANDIDATES, PAIR_DAYS]):
        goal = tuning.objective(data, real, site, about, retrieval)
        study.optimize(goal, n_trials=studies.left(study, site.tuning.trials))
        figures = write_best(args, lake, study, retrieval)
        mlflow.log_params(study.best_params)
        tracking.log_estimates(figures)
        mlflow.log_text(study.trials_dataframe().to_csv(index=False), "trials.csv")
    tracking.finish_night(args, figures, {"tuned": f"trial {study.best_trial.number} of {len(study.trials)}"})
    said = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    print(f"best of {len(study.trials)} trials: {said}; a challenger of the nights after {args.date}")
    return 0


if __name__ == "__main__":
    run(main)
