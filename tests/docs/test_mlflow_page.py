"""The searches of docs/mlflow.md find on the project's own server what the page says they find."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import mlflow
import pytest

from jobs import publish
from jobs.models.metrics import Estimate
from jobs.runtime import tracking
from jobs.runtime.args import JobArgs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mlflow.md"
DAY = date(2017, 12, 10)


def searches() -> list[str]:
    (block,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return block.splitlines()


@pytest.fixture
def experiment(job: JobArgs) -> str:
    """Two nights: one published with an effect that is proved, one kept whose gate did not pass."""
    for night, state, gate, low in ((DAY, "published", 1.0, 0.01), (date(2017, 12, 3), "kept", 0.0, -0.01)):
        args = replace(job, date=night)
        with tracking.nested_run(args, "uplift"):
            pass
        figures = {"effects_gate": gate, "average_effect": Estimate(0.02, low, 0.03)}
        tracking.finish_night(args, figures, {"state": state, "version_id": "aaaaaaaa"})
    return str(mlflow.get_experiment_by_name(job.site.site).experiment_id)


def test_each_search_finds_the_runs_it_is_for(experiment: str) -> None:
    found = {}
    for search in searches():
        runs = mlflow.MlflowClient().search_runs([experiment], search)
        found[search] = sorted(run.data.tags["run_date"][-2:] for run in runs)
    assert list(found.values()) == [["03", "10"], ["10"], ["03"], ["10"], ["10"], ["03", "10"]]
    assert "tags.level" in searches()[0] and "runName" in searches()[-1]


def test_the_figures_that_are_searched_for_are_those_of_the_night() -> None:
    asked = set(re.findall(r"metrics\.(\w+)", " ".join(searches())))
    assert asked and {name.removesuffix("_low") for name in asked} <= set(publish.HEADLINE)
