"""Jobs as processes: their arguments, their output and what their exit codes mean."""

import json
import logging
import os
import sys
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Site
from jobs.tables import contracts
from jobs.tables.lake import FIRST_DAY, Lake
from nightlift import assets, links, operators, run_date
from tests.task_context import context

LOG = logging.getLogger(__name__)
DAY = date(2024, 1, 8)


def test_param_is_the_run_date() -> None:
    assert run_date.resolve(context(run_date="2017-12-03")) == date(2017, 12, 3)


def test_interval_end_is_the_run_date_of_a_scheduled_night() -> None:
    run = SimpleNamespace(data_interval_start="2026-01-01 02:00:00", data_interval_end="2026-01-02 02:00:00")
    assert run_date.resolve({"params": {}, "dag_run": run}) == date(2026, 1, 2)


def test_no_param_and_no_interval_fails_loudly() -> None:
    with pytest.raises(AirflowFailException, match="run_date"):
        run_date.resolve(context())


def test_flags_follow_the_params() -> None:
    given = operators.arguments("grocery", context(run_date="2017-12-03", force=True, dry_run=True))
    assert given == ["--site", "grocery", "--date", "2017-12-03", "--force", "--dry-run"]


def test_a_job_is_told_its_folders_even_where_nobody_named_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NIGHTLIFT_HOME", "NIGHTLIFT_SITES"):
        monkeypatch.delenv(name, raising=False)
    given = operators.environment(context())
    assert given["NIGHTLIFT_SITES"] == str(operators.ROOT / "config" / "sites")
    assert given["NIGHTLIFT_HOME"] == str(operators.ROOT / ".nightlift")
    assert given["NIGHTLIFT_PAGES"].endswith("/nightlift/docs")
    monkeypatch.setenv("NIGHTLIFT_SITES", "/elsewhere")
    assert operators.environment(context())["NIGHTLIFT_SITES"] == "/elsewhere"


def test_choices_follow_the_params_with_their_reason() -> None:
    params = {"run_date": "2017-12-03", "choose_ranker": None, "choose_uplift": "relevance", "reason": "-sale"}
    given = operators.arguments("grocery", context(**params))
    assert given == [
        "--site",
        "grocery",
        "--date",
        "2017-12-03",
        "--choose-uplift=relevance",
        "--reason=-sale",
    ]


@pytest.mark.parametrize(
    ("code", "error"), [(1, AirflowException), (2, AirflowFailException), (3, AirflowFailException)]
)
def test_exit_code_decides_whether_to_retry(code: int, error: type[Exception]) -> None:
    script = f"print('the reason'); raise SystemExit({code})"
    with pytest.raises(error, match="the reason") as caught:
        operators._Process().run([sys.executable, "-c", script], {}, logging.getLogger())
    assert type(caught.value) is error


def test_kill_ends_the_child() -> None:
    import threading

    process = operators._Process()
    threading.Timer(1.0, process.kill).start()
    with pytest.raises(AirflowException, match="exit code -15"):
        process.run([sys.executable, "-c", "import time; time.sleep(60)"], {}, logging.getLogger())


def run_job(script: str, given: dict[str, object]) -> SimpleNamespace:
    operator = SimpleNamespace(task_id="publish", site="grocery", told={})
    with operators.listening(operator, given) as env:
        operators._Process().run([sys.executable, "-c", f"from jobs.runtime import result; {script}"], env, LOG)
    return operator


def test_what_a_job_tells_is_in_xcom_and_makes_the_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NIGHTLIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTLIFT_MLFLOW_UI", "http://mlflow/")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow/")
    given = context()
    told = "result.record(mlflow_run_id='a', mlflow_experiment_id='7', note='one'); result.record(note='two')"
    operator = run_job(told, given)
    assert given["ti"] == {"mlflow_run_id": "a", "mlflow_experiment_id": "7", "note": "two"}
    addresses = {link.name: link.get_link(operator, ti_key=None) for link in links.LINKS}
    assert addresses == {
        "Effects page": "http://airflow/nightlift/sites/grocery",
        "MLflow run": "http://mlflow/#/experiments/7/runs/a?workflowType=machine_learning",
        "Data Docs": "",
        "Report": "",
    }
    operator = run_job("result.record(data_docs='data_docs/g/index.html#check_raw', report='reports/g/d.html')", given)
    assert (
        links.DataDocsLink()
        .get_link(operator, ti_key=None)
        .endswith("/nightlift/docs/data_docs/g/index.html#check_raw")
    )
    assert links.ReportLink().get_link(operator, ti_key=None) == "http://airflow/nightlift/docs/reports/g/d.html"


def test_the_spark_link_leads_to_the_history_server_else_to_the_event_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NIGHTLIFT_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow")
    link = links.SparkLink()
    operator = run_job("result.record(spark_application='local-1')", context())
    assert link.get_link(operator, ti_key=None) == ""  # nothing to look at
    (tmp_path / "spark" / "events").mkdir(parents=True)
    (tmp_path / "spark" / "events" / "local-1.zstd.inprogress").touch()
    assert link.get_link(operator, ti_key=None) == "http://airflow/nightlift/spark/grocery/local-1"
    monkeypatch.setenv("NIGHTLIFT_SPARK_HISTORY", "http://history:18080/")
    assert link.get_link(operator, ti_key=None) == "http://history:18080/history/local-1/jobs/"


def test_a_failed_job_tells_what_it_knew_and_why_it_failed() -> None:
    given = context()
    with pytest.raises(AirflowFailException):
        run_job("result.record(data_docs='page'); print('error: no rows'); raise SystemExit(2)", given)
    assert given["ti"] == {
        "data_docs": "page",
        "note": "publish failed: the data are wrong, not retried: error: no rows",
    }
    assert not given["outlet_events"]  # nothing was published


def test_a_published_version_is_an_event_of_every_table_and_a_dry_run_is_none() -> None:
    given = context()
    run_job("result.record(version_id='aaaaaaaa', run_date='2024-01-08')", given)
    assert not given["outlet_events"]
    run_job(
        "result.record(version_id='aaaaaaaa', run_date='2024-01-08', published_rows={'recommendations': 8,"
        " 'run_metrics': 3})",
        given,
    )
    events = given["outlet_events"][assets.published("grocery")].asset_alias_events
    assert {event.dest_asset_key.name: event.extra for event in events} == {
        "grocery.recommendations": {"rows": 8, "version_id": "aaaaaaaa", "run_date": "2024-01-08"},
        "grocery.run_metrics": {"rows": 3, "version_id": "aaaaaaaa", "run_date": "2024-01-08"},
    }


def test_a_link_to_mlflow_has_no_password_of_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hush@mlflow:5000")
    operator = run_job("result.record(mlflow_run_id='a')", context())
    assert links.MlflowLink().get_link(operator, ti_key=None) == "http://mlflow:5000/#/runs/a"


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake on disk with the raw rows of one night, in the environment a task has; no service runs."""
    site = Site(site="corner", outcome=Outcome(event_types=("purchase",)))
    (tmp_path / "corner.yaml").write_text(yaml.safe_dump(site.model_dump(mode="json")), encoding="utf-8")
    lake = Lake(JobArgs(site, DAY, Environment(tmp_path, tmp_path, str(tmp_path / "lake"), {})))
    times = pa.array(["2024-01-02T10:00:00Z", "2024-01-09T10:00:00Z"]).cast(pa.timestamp("us", "UTC"))
    events = {"event_id": ["e1", "e2"], "event_type": ["purchase"] * 2, "event_ts": times}
    shown = {"exposure_id": ["x1", "x2"], "exposed_at": times}
    for table, columns in (
        (contracts.RAW_USERS, {"user_id": ["u1", "u2"]}),
        (contracts.RAW_ITEMS, {"item_id": ["i1"], "category": ["milk"]}),
        (contracts.RAW_INTERACTIONS, events | {"user_id": ["u1", "u1"], "item_id": ["i1", "i1"]}),
        (contracts.RAW_EXPOSURES, shown | {"user_id": ["nobody", "u1"], "item_id": ["i1", "i1"]}),
    ):
        rows = pa.table(columns)
        for field in table.arrow_schema:
            if field.name not in rows.column_names:
                rows = rows.append_column(field, pa.nulls(len(rows), field.type))
        lake.write_arrow(table, rows, covers=(FIRST_DAY, DAY) if table.incremental else None)
    for name in ("SPARK_REMOTE", "SPARK_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NIGHTLIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTLIFT_SITES", str(tmp_path))
    monkeypatch.setenv("NIGHTLIFT_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": "local[1]"}))
    return lake


def submit() -> None:
    operator = operators.SparkJobOperator(
        task_id="clean", site="corner", conf={"spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1"}
    )
    operator.execute(context(run_date=DAY.isoformat()))


@pytest.mark.slow
def test_spark_submit_of_a_job_without_its_input_fails_for_good_and_writes_nothing(night: Lake, tmp_path: Path) -> None:
    (tmp_path / "lake" / "corner" / "raw_users" / f"run_date={DAY}" / "manifest.json").unlink()
    with pytest.raises(
        AirflowFailException, match=f"the data are wrong, not retried: raw_users of {DAY} is not in the lake"
    ):
        submit()
    assert not (tmp_path / "lake" / "corner" / "clean_counts").exists()


@pytest.mark.parametrize(
    ("code", "error"), [(1, AirflowException), (2, AirflowFailException), (3, AirflowFailException)]
)
def test_what_a_submitted_job_says_of_its_failure_decides_whether_to_retry(
    code: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a submit command that ends as spark-submit does, in 0.1 s: the code of the driver is not always its own
    told = json.dumps({"exit_code": code, "error": "no rows in users"})
    (tmp_path / "spark-submit").write_text(f"#!/bin/sh\necho '{told}' > \"$NIGHTLIFT_RESULT\"\nexit 1\n")
    (tmp_path / "spark-submit").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": "local[1]"}))
    given = context(run_date=DAY.isoformat())
    with pytest.raises(AirflowException) as caught:
        operators.SparkJobOperator(task_id="clean", site="corner").execute(given)
    assert type(caught.value) is error
    assert ("not retried: no rows in users" in str(caught.value)) == (code in operators.FINAL_CODES)
    assert given["ti"]["error"] == "no rows in users"
