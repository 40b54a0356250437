"""The tuning DAG of a site: one task, and its promises."""

from pathlib import Path

import pytest

from tests.dags.test_nightly import HEADINGS, ROOT, parse


def test_one_dag_a_site_with_one_task_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    bag = parse(ROOT / "config" / "sites", monkeypatch)
    assert not bag.import_errors
    tunings = {name: dag for name, dag in bag.dags.items() if name.startswith("weekly_tuning_")}
    sites = {path.stem for path in (ROOT / "config" / "sites").glob("*.yaml")}
    assert sites and set(tunings) == {f"weekly_tuning_{site}" for site in sites}
    for dag in tunings.values():
        (task,) = dag.tasks
        assert task.task_id == "tune_models" and (ROOT / "jobs" / f"{task.task_id}.py").exists()
        assert dag.max_active_runs == 1 and not dag.catchup and dag.params["run_date"] is None
        assert task.execution_timeout and not task.outlets, "it publishes nothing"
        for doc in (dag.doc_md, task.doc_md):
            places = [doc.index(heading) for heading in HEADINGS]
            assert places == sorted(places) and places[0] == 0 and "--site grocery" in doc and "SITE" not in doc


def test_a_site_chooses_when_it_is_tuned_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'site: good\noutcome: {event_types: [buy]}\ntuning: {schedule: "30 6 * * 3"}\n'
    (tmp_path / "good.yaml").write_text(text)
    (tmp_path / "bad.yaml").write_text("site: bad\noutcome: {event_types: [buy]}\ntuning: {schedule: sundays}\n")
    bag = parse(tmp_path, monkeypatch)
    assert bag.dags["weekly_tuning_good"].timetable.expression == "30 6 * * 3"
    assert "weekly_tuning_bad" not in bag.dags
    assert "tuning.schedule: must be a cron expression" in next(iter(bag.import_errors.values()))
