"""The DAG of a site: its tasks, edges and promises."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk.exceptions import ParamValidationError

from jobs.runtime.args import CHOICES

ROOT = Path(__file__).resolve().parents[2]
EDGES = {
    "extract": {"check_raw"},
    "check_raw": {"clean"},
    "clean": {"check_clean"},
    "check_clean": {"evaluate_feedback", "build_features"},
    "evaluate_feedback": {"adjust"},
    "build_features": {"generate_candidates", "build_trials"},
    "generate_candidates": {"train_ranker"},
    "train_ranker": {"score"},
    "build_trials": {"train_uplift"},
    "train_uplift": {"check_effects"},
    "check_effects": {"score"},
    "score": {"adjust"},
    "adjust": {"check_recommendations"},
    "check_recommendations": {"publish"},
    "publish": {"report"},
    "report": set(),
}


def parse(folder: Path, monkeypatch: pytest.MonkeyPatch):
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("NIGHTLIFT_SITES", str(folder))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    return DagBag(dag_folder=str(ROOT / "dags"))


def nightly(monkeypatch: pytest.MonkeyPatch):
    """The nightly DAG of the only site."""
    (dag,) = (dag for name, dag in parse(ROOT / "config" / "sites", monkeypatch).dags.items() if name[:7] == "nightly")
    return dag


def test_one_dag_a_site_with_the_edges_of_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    bag = parse(ROOT / "config" / "sites", monkeypatch)
    assert len(bag.dags) > 0
    assert not bag.import_errors
    nights = {name: dag for name, dag in bag.dags.items() if name.startswith("nightly_")}
    assert set(nights) == {f"nightly_{path.stem}" for path in (ROOT / "config" / "sites").glob("*.yaml")}
    for dag in nights.values():
        assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == EDGES
        assert dag.max_active_runs == 1 and not dag.catchup
        for task in dag.tasks:
            assert task.execution_timeout


AWAY = timedelta(minutes=1)  # how long a service may be away before a night is lost


def test_a_service_that_is_away_for_a_minute_costs_no_night(monkeypatch: pytest.MonkeyPatch) -> None:
    dags = parse(ROOT / "config" / "sites", monkeypatch).dags
    tasks = [task for dag in dags.values() for task in dag.tasks]
    assert {task.task_id for task in tasks} == {*EDGES, "tune_models"}
    for task in tasks:
        assert task.retries == 2 and "anything else is, twice" in task.doc_md
        assert not task.retry_exponential_backoff, "whose first delays are shorter"
        assert task.retries * task.retry_delay > AWAY, f"{task.task_id} fails for good too soon"


def test_what_an_alert_means_is_written_for_every_task() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("\n## ")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert all(len(row) == 3 for row in rows)
    assert sorted(task for row in rows for task in row[0].strip("| ").split(", ")) == sorted(EDGES)


def test_of_the_nights_that_came_due_during_a_long_one_the_newest_alone_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import DagRunInfo

    dag = DagSerialization.from_dict(DagSerialization.to_dict(nightly(monkeypatch)))  # as the scheduler has it
    now = datetime.now(UTC)
    long_one = DagRunInfo.interval(now - timedelta(days=6), now - timedelta(days=5))
    due = dag.next_dagrun_info(last_automated_run_info=long_one)
    assert dag.max_active_runs == 1 and due is not None and due.data_interval is not None
    assert due.data_interval.end - due.data_interval.start == timedelta(days=1)
    assert now - timedelta(days=1) < due.data_interval.end <= datetime.now(UTC)


HEADINGS = ("**What:**", "**When it fails:**", "**Rerun:**", "**Roll back:**")


def test_every_doc_says_what_when_it_fails_how_to_rerun_and_how_to_roll_back(monkeypatch: pytest.MonkeyPatch) -> None:
    dag = nightly(monkeypatch)
    for doc in (dag.doc_md, *(task.doc_md for task in dag.tasks)):
        places = [doc.index(heading) for heading in HEADINGS]
        assert places == sorted(places) and places[0] == 0
        assert "--site grocery" in doc and "SITE" not in doc


def test_groups_hold_every_task_once_and_leave_its_id_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    dag = nightly(monkeypatch)
    groups = dag.task_group.children
    assert list(groups) == ["data", "relevance", "effects", "lists"]
    assert sorted(name for group in groups.values() for name in group.children) == sorted(EDGES)
    assert all(group.doc_md for group in groups.values())


def test_the_form_describes_every_param(monkeypatch: pytest.MonkeyPatch) -> None:
    dag = nightly(monkeypatch)
    schemas = {name: dag.params.get_param(name).schema for name in dag.params}
    assert set(schemas) == {"run_date", "force", "dry_run", "choose_ranker", "choose_uplift", "reason"}
    assert all(dag.params.get_param(name).description and schema["title"] for name, schema in schemas.items())
    assert set(schemas["choose_ranker"]["enum"]) == {None, *CHOICES["ranker"]}
    assert set(schemas["choose_uplift"]["enum"]) == {None, *CHOICES["uplift"]}
    dag.params.validate()
    dag.params["run_date"] = "2017-12-03"
    with pytest.raises(ParamValidationError):
        dag.params["run_date"] = "yesterday"


def test_publish_alone_writes_the_published_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    dag = nightly(monkeypatch)
    outlets = {task.task_id: [outlet.name for outlet in task.outlets] for task in dag.tasks if task.outlets}
    assert outlets == {"publish": ["grocery.published"]}


def test_links_are_on_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    dag = nightly(monkeypatch)
    links = {task.task_id: {link.name for link in task.operator_extra_links} for task in dag.tasks}
    assert links["train_ranker"] == {"Effects page", "MLflow run", "Data Docs", "Report"}
    assert links["clean"] == {"Effects page", "Spark history"}


def test_a_ranker_that_may_be_trained_on_spark_is_submitted_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, how in (("small", "{}"), ("large", "{distributed_rows: 1000000}")):
        (tmp_path / f"{name}.yaml").write_text(f"site: {name}\noutcome: {{event_types: [buy]}}\nranker: {how}\n")
    dags = parse(tmp_path, monkeypatch).dags
    kinds = {name: type(dags[f"nightly_{name}"].get_task("train_ranker")).__name__ for name in ("small", "large")}
    assert kinds == {"small": "JobOperator", "large": "SparkJobOperator"}


def test_two_parses_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    first, second = (parse(ROOT / "config" / "sites", monkeypatch).dags for _ in range(2))
    assert first
    assert {k: DagSerialization.to_dict(d) for k, d in first.items()} == {
        k: DagSerialization.to_dict(d) for k, d in second.items()
    }


def test_broken_site_names_its_key_and_breaks_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.yaml").write_text("site: good\noutcome: {event_types: [buy]}\n")
    (tmp_path / "bad.yaml").write_text("site: bad\noutcome: {event_types: [buy]}\nwhat: 1\n")
    bag = parse(tmp_path, monkeypatch)
    assert set(bag.dags) == {"nightly_good", "weekly_tuning_good"}
    assert len(bag.import_errors) == 1
    assert "what: unknown key" in next(iter(bag.import_errors.values()))
