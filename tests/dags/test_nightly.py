"""The DAG of a site: its tasks, edges and promises."""

from pathlib import Path

import pytest

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


def test_one_dag_a_site_with_the_edges_of_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    bag = parse(ROOT / "config" / "sites", monkeypatch)
    assert len(bag.dags) > 0
    assert not bag.import_errors
    assert set(bag.dags) == {f"nightly_{path.stem}" for path in (ROOT / "config" / "sites").glob("*.yaml")}
    for dag in bag.dags.values():
        assert {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} == EDGES
        assert dag.max_active_runs == 1 and not dag.catchup and dag.doc_md
        for task in dag.tasks:
            assert task.retries == 1 and task.execution_timeout
            for word in ("When it fails", "Rerun", "Roll back"):
                assert word in task.doc_md


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
    assert set(bag.dags) == {"nightly_good"}
    assert len(bag.import_errors) == 1
    assert "what: unknown key" in next(iter(bag.import_errors.values()))
