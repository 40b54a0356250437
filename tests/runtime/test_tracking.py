"""A night's runs on the project's own MLflow server: one parent, nested runs, tags, inputs and an end."""

from dataclasses import replace
from datetime import date

import mlflow
import pyarrow as pa
import pytest

from jobs.models.metrics import Estimate
from jobs.runtime import tracking
from jobs.runtime.args import JobArgs
from jobs.tables.contracts import RUN_METRICS
from jobs.tables.lake import Lake

ABOUT = {"site", "run_date", "git_commit", "config_hash", "dag_run", "level"}


def run(run_id: str) -> mlflow.entities.Run:
    return mlflow.MlflowClient().get_run(run_id)


def test_a_night_has_one_parent_run_for_each_dag_run(job: JobArgs, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tracking.night_run(job)
    assert tracking.night_run(job) == first
    assert tracking.night_run(replace(job, date=date(2024, 1, 9))) != first
    monkeypatch.setenv("NIGHTLIFT_DAG_RUN", "manual__2")
    assert tracking.night_run(job) != first


def test_parent_and_nested_runs_say_where_they_come_from(job: JobArgs) -> None:
    with tracking.nested_run(job, "ranker") as run_id:
        pass
    parent = tracking.night_run(job)
    expected = {"run_date": "2024-01-08", "config_hash": job.site.digest, "dag_run": "manual__1"}
    for one, level in ((parent, "night"), (run_id, "task")):
        found = run(one).data.tags
        assert found.keys() >= ABOUT
        assert {name: found[name] for name in expected} == expected
        assert (found["site"], found["level"]) == (job.site.site, level)
    assert run(run_id).data.tags["mlflow.parentRunId"] == parent
    assert run(run_id).info.run_name == "ranker"


def test_inputs_carry_the_digest_of_what_was_read(job: JobArgs) -> None:
    lake = Lake(job)
    row = [{"metric": "users", "value": 1.0, "low": None, "high": None}]
    lake.write_arrow(RUN_METRICS, pa.Table.from_pylist(row, schema=RUN_METRICS.arrow_schema))
    with tracking.nested_run(job, "publish", [RUN_METRICS]) as run_id:
        pass
    (given,) = run(run_id).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("run_metrics", lake.digest([RUN_METRICS])[:32])


def test_the_description_of_a_night_leads_to_its_pages(job: JobArgs, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking.finish_night(job, {}, {tracking.NOTE: "published: 20 rows"})
    parent = tracking.night_run(job)
    tracking.link_night(job, {"Report": "reports/shop/2024-01-08.html"})
    assert run(parent).data.tags[tracking.NOTE] == "published: 20 rows", "by hand there is no address"
    monkeypatch.setenv("NIGHTLIFT_PAGES", "http://127.0.0.1:8080/nightlift/docs")
    for _ in range(2):  # a report that is made again
        tracking.link_night(job, {"Report": "reports/shop/2024-01-08.html", "Data Docs": "data_docs/shop/index.html"})
    said, leads = run(parent).data.tags[tracking.NOTE].split("\n\n")
    assert said == "published: 20 rows"
    assert leads == (
        "[Report](http://127.0.0.1:8080/nightlift/docs/reports/shop/2024-01-08.html)"
        " · [Data Docs](http://127.0.0.1:8080/nightlift/docs/data_docs/shop/index.html)"
    )


def test_figures_of_a_run_have_their_intervals(job: JobArgs) -> None:
    with tracking.nested_run(job, "ranker") as run_id:
        tracking.log_estimates({"ndcg": Estimate(0.4, 0.3, 0.5), "users": 7})
    assert run(run_id).data.metrics == {"ndcg": 0.4, "ndcg_low": 0.3, "ndcg_high": 0.5, "users": 7.0}


def test_curves_have_a_step_a_point_and_no_point_for_what_is_not_known(job: JobArgs) -> None:
    with tracking.nested_run(job, "ranker") as run_id:
        tracking.log_curves({"loss": [0.3, None, 0.1], "none": [], "long": [0.5] * 1500})
    history = mlflow.MlflowClient().get_metric_history(run_id, "loss")
    assert sorted((point.step, point.value) for point in history) == [(1, 0.3), (3, 0.1)]
    assert run(run_id).data.metrics == {"loss": 0.1, "long": 0.5}
    assert len(mlflow.MlflowClient().get_metric_history(run_id, "long")) == 1500


def test_a_failed_task_fails_the_night_and_a_finished_night_is_finished(job: JobArgs) -> None:
    parent = tracking.night_run(job)
    assert run(parent).info.status == "RUNNING"
    with pytest.raises(RuntimeError, match="broken"), tracking.nested_run(job, "ranker") as run_id:
        raise RuntimeError("broken")
    assert (run(parent).info.status, run(run_id).info.status) == ("FAILED", "FAILED")
    tracking.finish_night(job, {"qini": Estimate(0.1, 0.0, 0.2)}, {"verdict": "proved"})
    ended = run(parent)
    assert ended.info.status == "FINISHED"
    assert ended.data.metrics == {"qini": 0.1, "qini_low": 0.0, "qini_high": 0.2}
    assert ended.data.tags["verdict"] == "proved"
