"""The train job on a small planted night: tables, record, diagnosis and model version, which the scorer can load."""

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
from jobs.models import causal_graph
from jobs.models.scoring import EffectModel
from jobs.runtime import registry
from jobs.runtime.args import JobArgs
from jobs.runtime.choices import Champion, Registered
from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError
from jobs.runtime.site import Outcome, Site
from jobs.tables import contracts
from jobs.tables.contracts import ITEM_EFFECTS, TRIAL_SCORES
from jobs.tables.lake import Lake
from tests.models.nights import ADJUSTED, HOW, Night, night

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


def prepare(job: JobArgs, world: Night, rows: int | None = None) -> tuple[Lake, list[str]]:
    """The lake and site file of a night of the planted world, and the arguments of its jobs."""
    lake = Lake(job)
    for name, frame in world.tables.items():
        schema = contracts.TABLES[name].arrow_schema
        lake.write_arrow(
            contracts.TABLES[name],
            pa.Table.from_pandas(frame.head(rows or len(frame)), schema=schema, preserve_index=False),
        )
    path = Path(job.environment.sites) / f"{job.site.site}.yaml"
    path.write_text(yaml.safe_dump(job.site.model_dump(mode="json") | {"effects": EFFECTS}), encoding="utf-8")
    return lake, ["--site", job.site.site, "--date", job.date.isoformat()]


def test_a_night_is_trained_diagnosed_and_gated(job: JobArgs, tmp_path: Path) -> None:
    world = night()
    lake, arguments = prepare(job, world)
    assert train_uplift.main(arguments) == 0 and check_effects.main(arguments) == 0
    record, diagnosis, gate = (lake.read_json(name) for name in ("uplift", "diagnosis", "effects_gate"))

    truth = float(world.effect.mean())
    average = record["metrics"]["average_effect"]
    assert average["low"] <= truth <= average["high"]
    assert gate["passed"] and gate["warnings"] == diagnosis["warnings"]

    adjusted = causal_graph.adjusted_columns(JobArgs.parse(arguments).site)
    assert record["adjusted"] == list(adjusted)
    assert {"user_outcomes_28d", "item_outcomes_28d"} <= set(adjusted) and "shown_28d" not in adjusted
    files = registry.load_checked(job, record["model_uri"], record["sha256"], tmp_path / "model")
    assert yaml.safe_load(files["recipe.json"])["adjusted"] == list(adjusted)

    moved = {row["method"]: row for row in diagnosis["estimators"]}["instrumental variable"]
    assert moved["estimate"]["low"] <= truth <= moved["estimate"]["high"]

    scores = lake.read_pandas(TRIAL_SCORES)
    assert len(scores) == len(world.effect) and np.corrcoef(scores["effect"], truth_of(world, scores))[0, 1] > 0.7
    assert set(lake.read_pandas(ITEM_EFFECTS)["level"]) == {"all", "category", "item"}

    (run,) = mlflow.search_runs(
        experiment_names=[job.site.site], filter_string="tags.mlflow.runName = 'uplift'", output_format="list"
    )
    assert run.data.metrics["erasing_strength"] == diagnosis["metrics"]["erasing_strength"]["value"]
    assert run.data.metrics["effect_by_aipw_low"] == diagnosis["metrics"]["effect_by_aipw"]["low"]
    artifacts = {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert {"diagnosis.json", "balance.csv", "overlap.svg", "reliability.svg", "qini.svg", "love.svg"} <= artifacts


def truth_of(world: Night, scores: pd.DataFrame) -> pd.Series:
    """The planted effect of each row of TRIAL_SCORES."""
    keys = ["user_id", "item_id", "period"]
    planted = world.tables["trials"][keys].assign(effect=world.effect).set_index(keys)["effect"]
    return planted.reindex(pd.MultiIndex.from_frame(scores[keys])).to_numpy()


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


def test_a_champion_is_pinned_by_its_number_with_its_qini_on_tonights_trials(args: JobArgs, champion: Champion) -> None:
    trials, tonight = night().fit()
    found = train_uplift.judge_champion(args, champion, ADJUSTED, trials, tonight.predicted)
    assert {name: found[name] for name in ("version", "model_uri", "sha256")} == MADE.document()
    assert not found["missing"] and found["qini"]["low"] > 0
    assert train_uplift.judge_champion(args, champion, ADJUSTED, trials, tonight.predicted) == found


def test_a_champion_that_adjusts_for_other_columns_than_the_graph_cannot_be_used(
    args: JobArgs, champion: Champion
) -> None:
    trials, tonight = night().fit()
    found = train_uplift.judge_champion(args, champion, ADJUSTED[1:], trials, tonight.predicted)
    assert "other columns than the site's causal graph" in found["missing"]
    assert found["qini"] is None and "version" not in found


def test_no_champion_is_said_to_be_none(args: JobArgs, champion: Champion) -> None:
    trials, tonight = night().fit()
    none = replace(champion, registered=None, files={}, missing="there is none")
    expected = {"missing": "there is none", "qini": None}
    assert train_uplift.judge_champion(args, none, ADJUSTED, trials, tonight.predicted) == expected
