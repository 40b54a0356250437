"""The train job on a small planted night: tables, record, diagnosis and model version, which the scorer can load."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from jobs import check_effects, train_uplift
from jobs.models import causal_graph, champions, diagnosis
from jobs.models.scoring import EffectModel
from jobs.runtime import registry
from jobs.runtime.args import JobArgs
from jobs.runtime.choices import Champion, Registered
from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError
from jobs.runtime.site import Outcome, Site
from jobs.tables import contracts
from jobs.tables.contracts import ITEM_EFFECTS, TRIALS
from jobs.tables.lake import Lake
from tests.models.nights import ADJUSTED, CALENDAR, HOW, Night, night

EFFECTS: dict[str, Any] = {
    "trees": 20,
    "learning_rate": 0.2,
    "folds": 3,
    "bootstrap": 40,
    "compare": ["item_difference"],
    "instrument": "explored",
    "graph": {
        "edges": [
            "shown -> outcome",
            *(f"{group} -> {to}" for group in ("user_activity", "item_popularity") for to in ("shown", "outcome")),
        ]
    },
}


def prepare(job: JobArgs, world: Night, rows: int | None = None, **effects: Any) -> tuple[Lake, list[str]]:
    """The lake and site file of a night of the planted world, and the arguments of its jobs."""
    lake = Lake(job)
    for name, frame in world.tables.items():
        schema = contracts.TABLES[name].arrow_schema
        lake.write_arrow(
            contracts.TABLES[name],
            pa.Table.from_pandas(frame.head(rows or len(frame)), schema=schema, preserve_index=False),
        )
    lake.write_json("trial_shares", {"users": 1.0, "near": 1.0, "rest": 1.0})
    path = Path(job.environment.sites) / f"{job.site.site}.yaml"
    given = job.site.model_dump(mode="json") | {"effects": EFFECTS | effects}
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    return lake, ["--site", job.site.site, "--date", job.date.isoformat()]


def test_a_night_is_trained_diagnosed_and_gated(
    job: JobArgs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = night()
    lake, arguments = prepare(job, world)
    assert train_uplift.main(arguments) == 0 and check_effects.main(arguments) == 0
    assert re.search(
        r"^uplift 1: average effect \+\d+\.\d\d pp \(90 % interval .* pp\), Qini", capsys.readouterr().out, re.M
    )
    record, diagnosis, gate = (lake.read_json(name) for name in ("uplift", "diagnosis", "effects_gate"))

    truth = float(world.effect.mean())
    average = record["metrics"]["average_effect"]
    assert average["low"] <= truth <= average["high"]
    assert gate["passed"] and gate["warnings"] == diagnosis["warnings"]
    judged = lake.read_json("off_policy")
    assert judged["rules"] == ["effect", "relevance"] and not record["champion"].get("version")
    gain = judged["metrics"]["ope_gain_over_relevance_rule_dr"]
    assert gain["low"] < gain["value"] < gain["high"] and gain["high"] > 0

    adjusted = causal_graph.adjusted_columns(JobArgs.parse(arguments).site)
    assert record["adjusted"] == list(adjusted)
    assert {"user_outcomes_28d", "item_outcomes_28d"} <= set(adjusted) and "shown_28d" not in adjusted
    files = registry.load_checked(job, record["model_uri"], record["sha256"], tmp_path / "model")
    assert yaml.safe_load(files["recipe.json"])["adjusted"] == list(adjusted)

    moved = {row["method"]: row for row in diagnosis["estimators"]}["instrumental variable"]
    assert moved["estimate"]["low"] <= truth <= moved["estimate"]["high"]

    frame = lake.read_pandas(TRIALS)
    trials, _ = train_uplift.read_sample(JobArgs.parse(arguments), lake, frame, world.items)
    model = EffectModel.of(files)
    said = model.predict(trials.trials.matrix, trials.trials.users, trials.item, trials.counts, trials.listed)
    assert len(frame) == len(world.effect) and np.corrcoef(said.effect, truth_of(world, frame))[0, 1] > 0.7
    assert set(lake.read_pandas(ITEM_EFFECTS)["level"]) == {"all", "category", "item", "segment", "segment_category"}

    (run,) = mlflow.search_runs(
        experiment_names=[job.site.site], filter_string="tags.mlflow.runName = 'uplift'", output_format="list"
    )
    assert run.data.metrics["erasing_strength"] == diagnosis["metrics"]["erasing_strength"]["value"]
    assert run.data.metrics["effect_by_aipw_low"] == diagnosis["metrics"]["effect_by_aipw"]["low"]
    artifacts = {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    drawn = {"overlap.svg", "reliability.svg", "qini.svg", "tenths.svg", "love.svg"}
    assert drawn | {"diagnosis.json", "balance.csv"} <= artifacts
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "effect_found_by_tenth")
    assert {point.step: point.value for point in history} == dict(enumerate(record["tenths"]["found"][::-1], 1))


def test_a_column_that_the_site_names_is_an_instrument_where_it_is_strong(job: JobArgs) -> None:
    """Another store's calendar: it moves the showing and nothing else."""
    world = night(3, calendar=0.3)
    lake, arguments = prepare(job, world, instrument=CALENDAR)
    assert train_uplift.main(arguments) == 0
    assert CALENDAR not in lake.read_json("uplift")["adjusted"]
    said = {row["method"]: row for row in lake.read_json("diagnosis")["estimators"]}
    truth = float(world.effect.mean())
    for method in ("instrumental variable", "instrumental variable, doubly robust"):
        row = said[method]
        strength = re.match(r"first-stage F ([\d.]+)", row["note"])
        assert strength and float(strength[1]) > 100, row["note"]
        assert row["estimate"]["low"] <= truth <= row["estimate"]["high"]
    weak, fitted = world.fit(HOW.model_copy(update={"instrument": "item_price"}))
    for one in diagnosis.side_by_side(weak, fitted.predicted, HOW, 0)[-2:]:
        assert one.estimate is None and re.search("weak: first-stage F|other values than 0 and 1", one.note), one.note


def truth_of(world: Night, trials: pd.DataFrame) -> pd.Series:
    """The planted effect of each row of TRIALS."""
    keys = ["user_id", "item_id", "period"]
    planted = world.tables["trials"][keys].assign(effect=world.effect).set_index(keys)["effect"]
    return planted.reindex(pd.MultiIndex.from_frame(trials[keys])).to_numpy()


def test_too_few_trials_of_an_arm_are_a_data_error(job: JobArgs) -> None:
    _, arguments = prepare(job, night(), rows=60)
    with pytest.raises(DataError, match="50 are needed: load more exposures"):
        train_uplift.main(arguments)


SHOP = Site(site="shop", outcome=Outcome(event_types=("purchase",)), effects=HOW)
MADE = Registered("3", "models:/shop-uplift/3", "f" * 64)


@pytest.fixture
def args() -> JobArgs:
    return JobArgs(SHOP, date(2024, 1, 8), Environment.load())


@pytest.fixture
def champion() -> Champion:
    """The effect model of another night of the same world."""
    _, before = night(seed=1).fit()
    model = EffectModel(before.propensity, before.effects, HOW.folds, HOW.overlap_eps, ADJUSTED)
    return Champion(MADE, model.files(), "")


def test_a_champion_of_tonights_columns_is_judged_as_a_rule_beside_tonights_model(
    args: JobArgs, champion: Champion, tmp_path: Path
) -> None:
    loaded, model = train_uplift.load_champion(champion, ADJUSTED)
    assert loaded == champion and model is not None and model.adjusted == ADJUSTED
    trials, tonight = night().fit()
    mine = EffectModel(tonight.propensity, tonight.effects, HOW.folds, HOW.overlap_eps, ADJUSTED)
    args = replace(args, environment=replace(args.environment, lake=str(tmp_path)))
    Lake(args).write_json("trial_shares", {"users": 1.0})
    found = train_uplift.judge_rules(args, Lake(args), trials, tonight.predicted, mine, champions.says(model, trials))
    assert found["rules"] == ["effect", "relevance", "champion"] and found["length"] == SHOP.list_length
    assert found["metrics"]["ope_gain_over_champion_rule_dr"]["low"] is not None
    alone = train_uplift.judge_rules(args, Lake(args), trials, tonight.predicted, mine, None)
    assert alone["rules"] == ["effect", "relevance"]
    assert alone["metrics"].items() <= found["metrics"].items()


def test_a_champion_that_adjusts_for_other_columns_than_the_graph_cannot_be_used(champion: Champion) -> None:
    found, model = train_uplift.load_champion(champion, ADJUSTED[1:])
    assert "other columns than the site's causal graph" in found.missing
    assert model is None and found.registered is None


def test_no_champion_is_said_to_be_none(champion: Champion) -> None:
    none = replace(champion, registered=None, files={}, missing="there is none")
    assert train_uplift.load_champion(none, ADJUSTED) == (none, None)
