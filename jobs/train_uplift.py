"""Train propensities and the effect learner on past trials, pool them, and try to refute what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa

from jobs.models import (
    causal_graph,
    champions,
    diagnosis,
    effect_figures,
    engine,
    item_effects,
    metrics,
    prior,
    refutation,
    rules,
    sample,
)
from jobs.models.engine import Fitted, Predicted
from jobs.models.metrics import Estimate
from jobs.models.prior import Prior
from jobs.models.sample import Sample
from jobs.models.scoring import EffectModel, Pairs
from jobs.runtime import figure_words, registry, report_uplift, tracking
from jobs.runtime.args import JobArgs, run
from jobs.runtime.choices import Champion
from jobs.runtime.errors import DataError
from jobs.runtime.registry import Card
from jobs.tables.contracts import (
    ITEM_EFFECTS,
    ITEM_PERIODS,
    PAIR_PERIODS,
    TRIALS,
    USER_PERIODS,
    USER_PROFILES,
)
from jobs.tables.lake import Lake

INPUTS = (TRIALS, PAIR_PERIODS, USER_PERIODS, ITEM_PERIODS, USER_PROFILES)


def read_sample(args: JobArgs, lake: Lake, frame: pd.DataFrame, items: pd.DataFrame) -> tuple[Sample, Prior]:
    """The trials ``frame`` as arrays, and the priors of tonight's items from the counts of all pairs.

    Raises DataError where an arm has too few trials to learn from.
    """
    how = args.site.effects
    trials = sample.as_trials(frame, causal_graph.adjusted_columns(args.site), how.folds)
    if lack := engine.short_arm(trials, how.folds):
        raise DataError(f"trials of {args.date}: {lack}: load more exposures or raise history_periods")
    pairs, active = lake.read_pandas(PAIR_PERIODS), lake.read_pandas(USER_PERIODS).set_index("user_id")["active"]
    people = lake.read_pandas(USER_PROFILES, ["user_id", "segment", "segment_label"]).set_index("user_id")
    segments = people["segment"].astype(str) + " " + people["segment_label"]
    masks = sample.Masks.of(frame, pairs, active, items["in_play"])
    cells = prior.count_cells(pairs, active, items["in_play"], how.folds)
    priors = prior.fit(cells, list(items.index), items["category"].fillna("").tolist(), how.folds)
    return sample.of_frame(frame, trials, masks, segments, how.instrument), priors


def load_champion(champion: Champion, adjusted: Sequence[str]) -> tuple[Champion, EffectModel | None]:
    """The champion and its model; where it cannot be used there is no model, and ``missing`` says why.

    Tonight's causal graph asks for the columns ``adjusted``: effects that leave some of them out are not identified.
    """
    if not champion.registered:
        return champion, None
    try:
        model = EffectModel.of(champion.files)
        if model.adjusted != tuple(adjusted):
            raise DataError("it adjusts for other columns than the site's causal graph does now")
    except DataError as error:
        return Champion(None, {}, f"the champion cannot be used: {error}"), None
    return champion, model


def judge_rules(
    args: JobArgs, lake: Lake, trials: Sample, predicted: Predicted, model: EffectModel, said: Pairs | None
) -> dict[str, Any]:
    """What ranking by the effect of tonight's model would have brought, beside relevance and the champion's effect.

    ``said`` is what the champion says of the trials.
    """
    scores = {rules.EFFECT: rules.by_effect(model, trials, predicted), rules.RELEVANCE: rules.by_relevance(predicted)}
    if said:
        scores[rules.CHAMPION] = rules.by_champion(said)
    share, draws = lake.read_json("trial_shares")["users"], args.site.effects.bootstrap
    found = rules.judge(trials, predicted, scores, args.site.list_length, share, draws)
    return {
        "rules": list(scores),
        "length": args.site.list_length,
        "metrics": {f"ope_{name}": metrics.as_document(figure) for name, figure in found.items()},
    }


def write_item_effects(lake: Lake, items: pd.DataFrame, trials: Sample, fitted: Fitted) -> None:
    """ITEM_EFFECTS."""
    by_level = item_effects.table(trials, fitted.predicted, items), item_effects.by_segment(trials, fitted.predicted)
    found = pd.concat(by_level, ignore_index=True)
    arrow = pa.Table.from_pandas(found, schema=ITEM_EFFECTS.arrow_schema, preserve_index=False)
    lake.write_arrow(ITEM_EFFECTS, arrow, inputs=[TRIALS, ITEM_PERIODS])


def card(args: JobArgs, frame: pd.DataFrame, adjusted: Sequence[str], figures: Mapping[str, Estimate | float]) -> Card:
    """What the registry says about tonight's effect model, learnt from the trials ``frame``."""
    starts, how = pd.to_datetime(frame["as_of"]), args.site.outcome
    return Card(
        f"what showing an item changes in the probability of an outcome ({', '.join(how.event_types)}) in"
        f" {how.window_days} days; learner {args.site.effects.learner}, {args.site.effects.folds} folds of users, each"
        " predicted by the model that never saw them.",
        f"{len(frame):,} sampled trials of {frame['period'].nunique()} periods starting from {starts.min():%Y-%m-%d}"
        f" to {starts.max():%Y-%m-%d}; nothing dated on or after {args.date}. Figures: out of fold.",
        {name: figures[name] for name in ("average_effect", "qini", "autoc", "overlap_share", "identified_share")},
        registry.typical_rows(frame, adjusted),
        "effect",
    )


def log(record: Mapping[str, Any], how: Any) -> None:
    """Settings, curves, the balance table and the plots of an uplift record to the run that is open."""
    mlflow.log_params(how.model_dump())
    best_first = {f"effect_{name}_by_tenth": record["tenths"][name][::-1] for name in ("predicted", "found")}
    tracking.log_curves({"gain_by_share_shown": record["qini_curve"]["gain"]} | best_first)
    mlflow.log_text(pd.DataFrame(record["balance"]).to_csv(index=False), "balance.csv")
    for name, drawn in report_uplift.uplift_plots(record, how.overlap_eps).items():
        if drawn:
            mlflow.log_text(drawn["svg"], f"{name}.svg")


def main(argv: Sequence[str] | None = None) -> int:
    """Fit the effect engine, write its tables, model and record with figures and refutations, and the diagnosis."""
    args = JobArgs.parse(argv)
    lake, how, seed = Lake(args), args.site.effects, args.site.seed
    adjusted = causal_graph.adjusted_columns(args.site)
    frame, items = lake.read_pandas(TRIALS), lake.read_pandas(ITEM_PERIODS).set_index("item_id")
    trials, priors = read_sample(args, lake, frame, items)
    both_arms = items.index[(items["treated"] > 0) & (items["control"] > 0)]
    fitted = engine.fit(trials, adjusted, priors, both_arms, how, seed)
    figures = effect_figures.figures(trials, fitted, how.bootstrap, seed)
    balance = effect_figures.balance(trials, fitted.predicted, adjusted)
    figures |= effect_figures.largest(balance)
    write_item_effects(lake, items, trials, fitted)
    model = EffectModel(fitted.propensity, fitted.effects, how.folds, how.overlap_eps, adjusted)
    champion, before = load_champion(registry.champion(args, "uplift"), adjusted)
    said = champions.says(before, trials) if before else None
    qini = champions.champion_qini(said, trials, fitted.predicted, how, seed) if said else None
    record = {
        "learner": how.learner,
        "folds": how.folds,
        "adjusted": list(adjusted),
        "calibration": {name: getattr(fitted.effects, name) for name in ("slopes", "intercept", "error")},
        "propensity_strength": fitted.propensity.strength,
        "metrics": {name: metrics.as_document(figure) for name, figure in figures.items()},
        "champion": champion.document() | {"qini": qini.document() if qini else None},
        "refutations": refutation.attempts(trials.trials, how, seed),
        "balance": balance.to_dict("list"),
    } | effect_figures.curves(trials, fitted.predicted)
    found = diagnosis.diagnose(trials, fitted, adjusted, how, seed)
    lake.write_json("diagnosis", found)
    judged = judge_rules(args, lake, trials, fitted.predicted, model, said)
    lake.write_json("off_policy", judged)
    with tracking.nested_run(args, "uplift", INPUTS) as run_id:
        log(record, how)
        tracking.log_estimates(figures)
        mlflow.log_dict(found, "diagnosis.json")
        more = found["metrics"] | judged["metrics"]
        tracking.log_estimates({name: metrics.of_document(figure) for name, figure in more.items()})
        about = card(args, frame, adjusted, figures)
        registered = registry.register(args, "uplift", model.files(), run_id, about)
    lake.write_json("uplift", registered.document() | record)
    effect, gained = (record["metrics"][name] for name in ("average_effect", "qini"))
    print(
        f"uplift {registered.version}: average effect {figure_words.points_said(effect)},"
        f" Qini {figure_words.said(gained)}"
    )
    return 0


if __name__ == "__main__":
    run(main)
