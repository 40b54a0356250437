"""Train propensities and the effect learner on past trials, pool them, and try to refute what they say."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from jobs.models import doubly_robust, metrics, pooling, prior, propensity, refutation, uplift
from jobs.models.doubly_robust import Z90, Trials
from jobs.models.folds import fold_of
from jobs.models.metrics import Estimate
from jobs.models.prior import Prior
from jobs.models.scoring import Effects
from jobs.runtime import registry, tracking
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.runtime.registry import Card
from jobs.tables.contracts import FEATURES, ITEM_EFFECTS, ITEM_PERIODS, PAIR_PERIODS, TRIALS, USER_PERIODS
from jobs.tables.lake import Lake

REFUTATION_TRIALS = 60_000
COUNTS = list(prior.COUNTS)


def as_trials(frame: pd.DataFrame, folds: int) -> Trials:
    """Arrays of a TRIALS frame."""
    matrix = np.empty((len(frame), len(FEATURES)), dtype=np.float32)
    for place, name in enumerate(FEATURES):
        matrix[:, place] = frame[name].to_numpy(dtype=np.float32, na_value=np.nan)
    users = frame["user_id"].to_numpy()
    return Trials(
        matrix,
        frame["treated"].to_numpy(np.int32),
        frame["outcome"].to_numpy(np.float64),
        frame["weight"].to_numpy(np.float64),
        users,
        fold_of(users, folds),
    )


def trial_counts(lake: Lake, frame: pd.DataFrame, items: pd.DataFrame) -> NDArray[np.int64]:
    """Counts (n, 4) of each trial's pair in the periods strictly before the trial's own."""
    users = lake.read_pandas(USER_PERIODS).set_index("user_id")["active"]
    bits = frame[["user_id", "item_id"]].merge(lake.read_pandas(PAIR_PERIODS), how="left", on=["user_id", "item_id"])
    earlier = (np.int64(1) << frame["period"].to_numpy(np.int64)) - 1
    shown, outcome = (bits[name].fillna(0).to_numpy(np.int64) & earlier for name in ("shown", "outcome"))
    active = users.reindex(frame["user_id"]).fillna(0).to_numpy(np.int64)
    in_play = items["in_play"].reindex(frame["item_id"]).fillna(0).to_numpy(np.int64)
    return prior.mask_counts(shown, outcome, active & in_play & earlier)


def fit_prior(lake: Lake, items: pd.DataFrame, folds: int) -> Prior:
    """Priors of tonight's items from the counts of all pairs."""
    active = lake.read_pandas(USER_PERIODS).set_index("user_id")["active"]
    cells = prior.count_cells(lake.read_pandas(PAIR_PERIODS), active, items["in_play"], folds)
    return prior.fit(cells, list(items.index), items["category"].fillna("").tolist(), folds)


def rates(counts: pd.DataFrame) -> tuple[float, float]:
    """Outcome rates of all treated and all control trials."""
    total = counts[COUNTS].sum()
    return (
        float(total["treated_outcomes"] / max(total["treated"], 1)),
        float(total["control_outcomes"] / max(total["control"], 1)),
    )


def effect_rows(trials: Trials, frame: pd.DataFrame, items: pd.DataFrame, fitted: dict[str, Any]) -> pd.DataFrame:
    """ITEM_EFFECTS: raw difference, AIPW and pooled effect of all trials, each category and each item."""
    inside, score = fitted["inside"], fitted["score"]
    keys = {"all": np.full(len(frame), "all", dtype=object), "category": frame["category"].to_numpy()}
    keys["item"] = frame["item_id"].to_numpy()
    counts = items.assign(all="all", item=items.index)
    out, parent = [], None
    for level, key in keys.items():
        number = counts.groupby(level)[COUNTS].sum()
        share = pd.Series(trials.weight * inside).groupby(key).sum() / pd.Series(trials.weight).groupby(key).sum()
        robust = doubly_robust.by_group(score[inside], trials.weight[inside], trials.users[inside], key[inside])
        level_rows, parent = level_effects(level, number, share, robust, parent, items)
        out.append(level_rows)
    return pd.concat(out, ignore_index=True)


def level_effects(
    level: str,
    number: pd.DataFrame,
    share: pd.Series,
    robust: pd.DataFrame,
    parent: pd.Series | None,
    items: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.Series]:
    """Rows of one level and its pooled effects, towards which the next level is shrunken."""
    n1, _, n0, _ = (number[name].to_numpy(np.float64) for name in COUNTS)
    rate1, rate0 = rates(number)
    raw, raw_variance = pooling.own_difference(number, np.full(len(number), rate1), np.full(len(number), rate0))
    estimate = robust["estimate"].reindex(number.index).to_numpy()
    error = robust["error"].where(robust["clusters"] >= 10, np.inf).reindex(number.index).fillna(np.inf).to_numpy()
    if parent is None:
        mean: NDArray[np.float64] = np.nan_to_num(estimate)
    elif level == "category":
        mean = np.full(len(number), parent.iloc[0])
    else:
        mean = parent.reindex(items["category"].reindex(number.index)).to_numpy()
    residual = np.nan_to_num(estimate) - mean
    between = 1.0 if parent is None else pooling.moment_variance(residual, error)
    pooled, left = pooling.combine(np.nan_to_num(estimate), error**2, mean, between)
    overlap_share = share.reindex(number.index).to_numpy()
    identified = (n1 > 0) & (n0 > 0) & (np.nan_to_num(overlap_share) > 0)
    methods = {"difference": (raw, np.sqrt(raw_variance)), "aipw": (estimate, error), "pooled": (pooled, np.sqrt(left))}
    rows = []
    for method, (value, spread) in methods.items():
        known = np.isfinite(value) & np.isfinite(spread)
        rows.append(
            pd.DataFrame(
                {
                    "level": level,
                    "key": number.index.astype(str),
                    "method": method,
                    "estimate": value,
                    "low": np.maximum(value - Z90 * spread, -1.0),
                    "high": np.minimum(value + Z90 * spread, 1.0),
                    "treated": n1.astype(np.int64),
                    "control": n0.astype(np.int64),
                    "overlap_share": overlap_share,
                    "identified": identified,
                }
            )[known]
        )
    return pd.concat(rows, ignore_index=True), pd.Series(pooled, index=number.index)


def refute(trials: Trials, args: JobArgs) -> dict[str, Any]:
    """Placebo, random subset and random common cause on a subsample of whole users."""
    how, seed = args.site.effects, args.site.seed
    part = refutation.subsample(trials, REFUTATION_TRIALS, "refutation")
    first = doubly_robust.estimate(part, how, seed)
    fake = refutation.placebo(part, how, seed)
    subset = refutation.random_subset(part, how, seed)
    cause = refutation.random_common_cause(part, how, seed)
    return {
        "estimate": first.interval().document(),
        "placebo": fake.interval(doubly_robust.Z99).document(),
        "random_subset": subset.interval().document() | {"stable": refutation.stable(first, subset)},
        "random_common_cause": cause.interval().document() | {"stable": refutation.stable(first, cause)},
    }


def curves(e: NDArray[Any], trials: Trials, fitted: dict[str, Any]) -> dict[str, Any]:
    """What plots are drawn from, in at most 101 points each.

    overlap: weight of each arm's trials in 40 bins of the propensity; reliability: mean propensity against treated
    share; qini_curve: gain per trial when the best share by predicted effect is shown, and when as many are at random.
    """
    edges, at = np.linspace(0, 1, 41), np.linspace(0, 1, 101)
    inside = fitted["inside"]
    order = np.argsort(-fitted["predicted"][inside], kind="stable")
    curve = metrics.Targeting(fitted["score"][inside][order], trials.weight[inside][order])
    share, best, mean = curve.curve(curve.weight)
    counts = {
        name: np.histogram(e[trials.treated == arm], edges, weights=trials.weight[trials.treated == arm])[0].tolist()
        for arm, name in enumerate(("control", "treated"))
    }
    gain = np.interp(at, share, share * best, left=0.0)
    return {
        "overlap": {"edges": edges.tolist()} | counts,
        "reliability": propensity.reliability(e, trials.treated, trials.weight).to_dict("list"),
        "qini_curve": {"share": at.tolist(), "gain": gain.tolist(), "random": (at * mean).tolist()},
    }


def draw(points: dict[str, Any]) -> None:
    """Log overlap, reliability and uplift curve as figures to the open run."""
    figure, axis = plt.subplots()
    bins = points["overlap"]
    for name in ("control", "treated"):
        axis.stairs(np.divide(bins[name], max(sum(bins[name]), 1e-12)), bins["edges"], fill=True, alpha=0.5, label=name)
    axis.set(xlabel="propensity", ylabel="share of the arm's trials", title="Overlap")
    axis.legend()
    tracking.log_figure(figure, "overlap.png")
    figure, axis = plt.subplots()
    table = points["reliability"]
    axis.plot([0, max(table["predicted"])], [0, max(table["predicted"])], "--", color="grey")
    axis.plot(table["predicted"], table["treated_share"], "o-")
    axis.set(xlabel="propensity", ylabel="treated share", title="Reliability")
    tracking.log_figure(figure, "reliability.png")
    figure, axis = plt.subplots()
    curve = points["qini_curve"]
    axis.plot(curve["share"], curve["gain"], label="by predicted effect")
    axis.plot(curve["share"], curve["random"], "--", color="grey", label="at random")
    axis.set(xlabel="share of trials shown", ylabel="gain per trial", title="Uplift (Qini) curve")
    axis.legend()
    tracking.log_figure(figure, "qini.png")
    plt.close("all")


def main(argv: Sequence[str] | None = None) -> int:
    """Propensity, prior, learner, doubly robust scores, calibration, effects by item, refutations; then MLflow."""
    args = JobArgs.parse(argv)
    lake, site, how = Lake(args), args.site, args.site.effects
    frame = lake.read_pandas(TRIALS)
    trials = as_trials(frame, how.folds)
    for k in range(how.folds):
        for arm in range(2):
            rows = (trials.fold != k) & (trials.treated == arm)
            if rows.sum() < 50:
                raise DataError(
                    f"trials of {args.date}: {int(rows.sum())} {'treated' if arm else 'control'} trials outside fold "
                    f"{k}; 50 are needed: load more exposures or raise history_periods"
                )
    model, estimated = propensity.fit(trials.matrix, trials.treated, trials.weight, trials.fold, how, site.seed)
    e = propensity.with_logged(estimated, frame["logged_propensity"].to_numpy(dtype=np.float64, na_value=np.nan))
    inside, clipped = propensity.overlap(e, how.overlap_eps), propensity.clip(e, how.overlap_eps)
    items = lake.read_pandas(ITEM_PERIODS).set_index("item_id")
    counts = trial_counts(lake, frame, items)
    priors = fit_prior(lake, items, how.folds)
    posterior = priors.posterior(trials.fold, frame["item_id"], counts)
    seen = replace(trials, matrix=uplift.columns(trials.matrix, posterior, counts.astype(np.float32)))
    learner = uplift.fit(uplift.residuals(seen, posterior), clipped, how, site.seed)
    learnt = learner.predict(seen.matrix, clipped, trials.fold)
    mu0, mu1 = doubly_robust.outcome_models(seen, how, site.seed)
    score = doubly_robust.scores(trials.treated, trials.outcome, clipped, mu0, mu1)
    slopes, intercept, error = pooling.calibrate(
        np.column_stack([posterior.effect, learnt])[inside],
        score[inside],
        trials.weight[inside],
        trials.users[inside],
    )
    both_arms = items.index[(items["treated"] > 0) & (items["control"] > 0)]
    effects = Effects(priors, learner, (float(slopes[0]), float(slopes[1])), intercept, error, frozenset(both_arms))
    predicted = effects.combine(posterior, learnt)
    fitted = {"inside": inside, "score": score, "predicted": predicted}

    effect = doubly_robust.average(trials, score, inside)
    figures = judge(trials, clipped, e, fitted, how.bootstrap, site.seed)
    both = frame["item_id"].isin(effects.both_arms).to_numpy()
    figures |= {
        "average_effect": effect.interval(),
        "identified_share": float(np.average(inside & both, weights=trials.weight)),
        "prior_slope": effects.slopes[0],
        "learner_slope": effects.slopes[1],
    }
    promised = metrics.promised(predicted[inside], score[inside], trials.weight[inside])
    if np.isfinite(promised):
        figures["promised_by_best_tenth"] = promised
    refuted = refute(trials, args)
    table = effect_rows(trials, frame, items, fitted)
    lake.write_arrow(
        ITEM_EFFECTS,
        pa.Table.from_pandas(table, schema=ITEM_EFFECTS.arrow_schema, preserve_index=False),
        inputs=[TRIALS, ITEM_PERIODS],
    )
    recipe = {
        "recipe": learner.recipe,
        "meaning": uplift.RECIPES[learner.recipe],
        "features": list(FEATURES),
        "folds": how.folds,
        "overlap_eps": how.overlap_eps,
        "propensity_calibration": model.calibration.document(),
        "columns": list(uplift.COLUMNS),
        "items": list(priors.items),
        "both_arms": sorted(both_arms),
        "slopes": list(effects.slopes),
        "intercept": intercept,
        "error": error,
    }
    files = {"recipe.json": json.dumps(recipe, sort_keys=True).encode(), "prior.npy": priors.document()}
    files |= {f"propensity-{k}.ubj": raw for k, raw in enumerate(model.boosters)}
    files |= {f"effect-{k}-{name}.ubj": raw for k, part in enumerate(learner.folds) for name, raw in part.items()}
    balance = propensity.balance(
        trials.matrix[inside], FEATURES, trials.treated[inside], trials.weight[inside], clipped[inside]
    )
    figures["balance_before"] = float(balance["before"].abs().max()) if len(balance) else 0.0
    figures["balance_after"] = float(balance["after"].abs().max()) if len(balance) else 0.0
    points = curves(e, trials, fitted)
    with tracking.nested_run(args, "uplift", [TRIALS, PAIR_PERIODS, USER_PERIODS, ITEM_PERIODS]) as run_id:
        mlflow.log_params(how.model_dump())
        tracking.log_estimates(figures)
        draw(points)
        mlflow.log_text(balance.to_csv(index=False), "balance.csv")
        registered = registry.register(args, "uplift", files, run_id, card(args, frame, figures))
    lake.write_json(
        "uplift",
        {
            "version": registered.version,
            "sha256": registered.sha256,
            "model_uri": registered.uri,
            "learner": learner.recipe,
            "folds": how.folds,
            "calibration": {"slopes": list(effects.slopes), "intercept": intercept, "error": error},
            "metrics": {name: metrics.as_document(figure) for name, figure in figures.items()},
            "refutations": refuted,
            "balance": balance.to_dict("list"),
        }
        | points,
    )
    print(f"uplift {registered.version}: average effect {effect.interval()}, Qini {figures['qini']}")
    return 0


def card(args: JobArgs, frame: pd.DataFrame, figures: Mapping[str, Estimate | float]) -> Card:
    """What the registry says about tonight's effect model, learnt from the trials ``frame``."""
    starts, how = pd.to_datetime(frame["as_of"]), args.site.outcome
    return Card(
        f"what showing an item changes in the probability of an outcome ({', '.join(how.event_types)}) in"
        f" {how.window_days} days; learner {args.site.effects.learner}, {args.site.effects.folds} folds of users, each"
        " predicted by the model that never saw them.",
        f"{len(frame):,} sampled trials of {frame['period'].nunique()} periods starting from {starts.min():%Y-%m-%d}"
        f" to {starts.max():%Y-%m-%d}; nothing dated on or after {args.date}. Figures: out of fold.",
        {name: figures[name] for name in ("average_effect", "qini", "autoc", "overlap_share", "identified_share")},
        registry.typical_rows(frame, FEATURES),
        "effect",
    )


def judge(
    trials: Trials, clipped: NDArray[Any], e: NDArray[Any], fitted: dict[str, Any], draws: int, seed: int
) -> dict[str, Estimate | float]:
    """Figures of the propensity model, the overlap and the targeting."""
    inside = fitted["inside"]
    weight = trials.weight[inside]
    arms = {
        "ess_treated": (weight / clipped[inside])[trials.treated[inside] == 1],
        "ess_control": (weight / (1 - clipped[inside]))[trials.treated[inside] == 0],
    }
    if not inside.any():
        raise DataError("trials: no trial has a propensity inside the overlap bounds; effects cannot be learnt")
    figures: dict[str, Estimate | float] = {
        "trials": float(len(trials.outcome)),
        "treated_share": float(np.average(trials.treated, weights=trials.weight)),
        "brier": propensity.brier(e, trials.treated, trials.weight),
        "overlap_share": float(np.average(inside, weights=trials.weight)),
    }
    figures |= {name: propensity.effective_sample_size(values) for name, values in arms.items()}
    figures |= metrics.targeting(
        fitted["predicted"][inside], fitted["score"][inside], weight, trials.users[inside], draws, seed
    )
    return figures


if __name__ == "__main__":
    run(main)
