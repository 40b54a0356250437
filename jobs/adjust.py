"""Make every user's list by effect, with control group and random slots, streaming users in batches, and compare the
night with the last ones.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from jobs import __version__
from jobs.models import content, drift
from jobs.models.decisions import RELEVANCE
from jobs.models.lists import ItemFacets, Lists, ListSettings, build_lists, held_out
from jobs.models.metrics import Estimate, as_document, bootstrap_mean
from jobs.models.selection import Mix
from jobs.runtime import recipes, tracking
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import DataError
from jobs.tables import drift_samples
from jobs.tables.contracts import (
    DRIFT_SAMPLES,
    EXPLORED,
    ITEM_VECTORS,
    ITEMS,
    RAW_EXPOSURES,
    RAW_INTERACTIONS,
    RAW_ITEMS,
    RAW_USERS,
    RECOMMENDATIONS,
    RELEVANCE_LISTS,
    RUN_METRICS,
    SCORES,
)
from jobs.tables.lake import Lake
from jobs.tables.listable import listable

ROWS = 262_144  # of a batch


def whole_users(lake: Lake, where: ds.Expression | None = None) -> Iterator[pd.DataFrame]:
    """SCORES, as far as ``where`` holds, in batches of whole users; a file holds a user's rows together."""
    (part,) = lake.history(SCORES)
    rest: list[pa.RecordBatch] = []
    source = ds.dataset(list(part.files), filesystem=lake.fs, schema=SCORES.arrow_schema)
    for batch in source.to_batches(filter=where, batch_size=ROWS, batch_readahead=2, fragment_readahead=1):
        if not batch.num_rows:
            continue
        users = batch.column("user_id")
        last = users[-1].as_py()
        same = np.flatnonzero(np.asarray(users.to_pandas()) == last)
        cut = int(same[0])
        if cut:
            yield pa.Table.from_batches([*rest, batch.slice(0, cut)]).to_pandas()
            rest = [batch.slice(cut)]
        elif rest and rest[-1].column("user_id")[-1].as_py() != last:
            yield pa.Table.from_batches(rest).to_pandas()
            rest = [batch]
        else:
            rest.append(batch)
    if rest:
        yield pa.Table.from_batches(rest).to_pandas()


def settings(args: JobArgs, passed: bool) -> ListSettings:
    """How tonight's lists are made."""
    site, how = args.site, args.site.ranking
    return ListSettings(
        site.site,
        args.date,
        Mix(site.list_length, how.max_per_category, how.max_per_brand, how.variety, how.variety_weight),
        site.holdout_share,
        site.explore_share,
        how.objective == "value",
        passed,
        site.domain,
        {1: "days", 7: "weeks"}.get(site.period_days, "periods"),
        "a day" if site.outcome.window_days == 1 else f"{site.outcome.window_days} days",
    )


def item_facets(args: JobArgs, lake: Lake) -> ItemFacets:
    """Brands and vectors of items, as far as the site's lists are composed by them; DataError without the column."""
    how, brand, vector = args.site.ranking, pd.Series(dtype=object), pd.DataFrame()
    if how.max_per_brand is not None:
        try:
            known = lake.read_pandas(ITEMS, ["item_id", how.brand])
        except (KeyError, pa.ArrowInvalid):
            raise DataError(
                f"items have no column {how.brand!r}, which ranking.brand names: mend it or leave max_per_brand out"
            ) from None
        brand = known.set_index("item_id")[how.brand]
    if how.variety == "mmr":
        vector = content.of_table(lake.read_pandas(ITEM_VECTORS))
    return ItemFacets(brand, vector)


def main(argv: Sequence[str] | None = None) -> int:
    """Lists, relevance lists and the night's figures."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    ranker, uplift, gate, judged = (lake.read_json(name) for name in ("ranker", "uplift", "effects_gate", "feedback"))
    chosen = {model: lake.read_json(f"chosen_{model}") for model in ("ranker", "uplift")}
    composed = replace(args, site=recipes.with_lists(args.site, lake.read_json(recipes.LISTS)[recipes.LISTS]))
    how = settings(composed, chosen["uplift"]["decision"]["chosen"] != RELEVANCE)
    inputs = lake.digest([RAW_USERS, RAW_ITEMS, RAW_INTERACTIONS, RAW_EXPOSURES])
    constants = {
        "run_date": args.date,
        "ranker_version": chosen["ranker"]["version"],
        "uplift_version": chosen["uplift"]["version"] if how.effects_hold else None,
        "version_id": tracking.short_hash(
            args.date.isoformat(),
            args.site.digest,
            __version__,
            *(one["sha256"] for one in chosen.values()),
            str(how.effects_hold),  # a person may decide otherwise than the data
            str(lake.published_before()),  # propensities know the list before
            inputs,
        ),
        "mlflow_run_id": tracking.night_run(args),
    }
    about, where = item_facets(composed, lake), listable(args, lake)
    totals: list[pd.DataFrame] = []
    explored: list[pd.DataFrame] = []
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder) / "relevance.parquet"
        with pq.ParquetWriter(spool, RELEVANCE_LISTS.arrow_schema) as writer:

            def batches() -> Iterator[pa.RecordBatch]:
                for scores in whole_users(lake, where):
                    made = build_lists(scores, how, about)
                    totals.append(user_totals(made, scores, how))
                    explored.append(made.tried)
                    writer.write_table(_arrow(made.by_relevance, RELEVANCE_LISTS.arrow_schema))
                    yield from _arrow(made.published.assign(**constants), RECOMMENDATIONS.arrow_schema).to_batches()

            reader = pa.RecordBatchReader.from_batches(RECOMMENDATIONS.arrow_schema, batches())
            lake.write_arrow(RECOMMENDATIONS, reader, inputs=[SCORES])
        relevance = ds.dataset(spool).scanner().to_reader()
        lake.write_arrow(RELEVANCE_LISTS, relevance, inputs=[SCORES])
    tried = pd.concat(explored, ignore_index=True).assign(version_id=constants["version_id"])
    lake.write_arrow(EXPLORED, _arrow(tried, EXPLORED.arrow_schema), inputs=[SCORES])
    shares = {name: as_document(float(getattr(args.site, name))) for name in ("holdout_share", "explore_share")}
    records = [ranker, uplift, judged, {"metrics": shares}, *chosen.values()]
    records += [lake.read_json("diagnosis"), lake.read_json("off_policy"), compare_nights(args, lake)]
    write_metrics(lake, pd.concat(totals, ignore_index=True), records, gate, args.site.seed)
    return 0


def user_totals(made: Lists, scores: pd.DataFrame, how: ListSettings) -> pd.DataFrame:
    """One row a user: mean effects of both lists, shares identified, explored and proved, rows and whether held out.

    ``proved``: of the places ranked by effect, the share whose own interval is above zero; NaN where there is none.
    """
    effects = scores[["user_id", "item_id", "effect"]]
    by_relevance = made.by_relevance.merge(effects, on=["user_id", "item_id"]).groupby("user_id")["effect"].mean()
    by_effect = made.published["policy"] == "adjusted"
    totals = (
        made.published.assign(
            explore=made.published["policy"] == "explore",
            proved=(made.published["effect_low"] > 0).astype(float).where(by_effect),
        )
        .groupby("user_id")
        .agg(
            effect=("effect", "mean"),
            identified=("identified", "mean"),
            rows=("rank", "size"),
            explored=("explore", "mean"),
            proved=("proved", "mean"),
        )
        .assign(relevance_effect=by_relevance)
        .reset_index()
    )
    return totals.assign(held_out=held_out(totals["user_id"], how.site, how.holdout_share).astype(float))


def compare_nights(args: JobArgs, lake: Lake) -> dict[str, Any]:
    """How far features, scores and effects are from the last published nights'; their sample is kept for later ones.

    ``check_recommendations`` judges it. On a first night there is nothing to compare with: no figure is written.
    """
    columns, days = drift_samples.take(args, lake), drift_samples.nights(args, lake)
    drift_samples.keep(lake, columns)
    shifts = drift.compare(columns, drift_samples.reference(args, days)) if days else []
    figures: dict[str, Estimate | float] = {f"psi_{shift.column}": shift.psi for shift in shifts}
    if shifts:
        figures |= {"psi_largest": max(shift.psi for shift in shifts), "drift_nights": float(len(days))}
        with tracking.nested_run(args, "drift", [DRIFT_SAMPLES]):
            tracking.log_estimates(figures)
    document = {
        "nights": [day.isoformat() for day in days],
        "shifts": [shift.document() for shift in shifts],
        "metrics": {name: as_document(figure) for name, figure in figures.items()},
    }
    lake.write_json("drift", document)
    return document


def write_metrics(
    lake: Lake, totals: pd.DataFrame, records: list[dict[str, Any]], gate: dict[str, Any], seed: int
) -> None:
    """RUN_METRICS of the lists, the gate and ``records``: models, diagnosis, rules judged, and what lists brought."""
    adjusted = totals[totals["held_out"] == 0]
    figures = {
        "list_effect": as_document(bootstrap_mean(adjusted["effect"], seed=seed)),
        "list_effect_by_relevance": as_document(bootstrap_mean(adjusted["relevance_effect"], seed=seed)),
        "list_identified_share": as_document(bootstrap_mean(totals["identified"], seed=seed)),
        "users": as_document(float(len(totals))),
        "held_out_share": as_document(float(totals["held_out"].mean())),
        "explored_share": as_document(float(adjusted["explored"].mean()) if len(adjusted) else 0.0),
        "list_rows": as_document(float(totals["rows"].sum())),
        "effects_gate": as_document(float(gate["passed"])),
    }
    proved = adjusted["proved"].dropna()
    if len(proved):
        figures["list_proved_share"] = as_document(bootstrap_mean(proved, seed=seed))
    for check in gate["checks"]:
        figures[f"gate_{check['name']}"] = as_document(float(check["passed"]))
    for record in records:
        figures |= record["metrics"]
    table = pd.DataFrame([{"metric": name, **figure} for name, figure in figures.items()])
    lake.write_arrow(RUN_METRICS, _arrow(table.sort_values("metric"), RUN_METRICS.arrow_schema))


def _arrow(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)


if __name__ == "__main__":
    run(main)
