"""Which versions are judged, by what, and whether the log says that they were shown."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import mlflow
import pyarrow as pa
import pytest

from jobs import adjust, evaluate_feedback
from jobs.runtime import tracking
from jobs.runtime.args import JobArgs
from jobs.tables import versions
from jobs.tables.contracts import EXPOSURES, INTERACTIONS, RUN_METRICS
from jobs.tables.lake import FIRST_DAY, Lake
from tests.small_night import beside, lists

DAYS = [date(2024, 1, 8) + timedelta(days=n) for n in range(4)]
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = DAYS
Rows = Sequence[tuple[date, str, str]]  # day, user and what: an item bought, or the version shown


def publish(job: JobArgs, version: str, day: date, force: bool = False) -> str:
    done = versions.publish(job.site, job.environment, lists(version, day), beside(), "proved", force)
    return str(done["state"])


def log(job: JobArgs, night: date, bought: Rows = (), shown: Rows = ()) -> None:
    """What the nights' `clean` leaves: each night its own day, the first one everything before it."""
    covers = (FIRST_DAY if night == MONDAY else night - timedelta(days=1), night)
    lake = Lake(replace(job, date=night))

    def rows(table: str, given: Rows) -> list[dict[str, object]]:
        time, day = ("event_ts", "event_day") if table == "interactions" else ("exposed_at", "exposed_day")
        key = "event_id" if table == "interactions" else "exposure_id"
        what = {"event_type": "purchase"} if table == "interactions" else {"item_id": "i1"}
        named = "item_id" if table == "interactions" else "version_id"
        return [
            {key: f"{at}-{n}", time: datetime(at.year, at.month, at.day, 12, tzinfo=UTC), day: at, "user_id": user}
            | what
            | {named: value}
            for n, (at, user, value) in enumerate(given)
        ]

    for table, given in ((INTERACTIONS, bought), (EXPOSURES, shown)):
        found = pa.Table.from_pylist(rows(table.name, given), schema=table.arrow_schema)
        lake.write_arrow(table, found, covers=covers)


def judge(job: JobArgs, night: date) -> list[evaluate_feedback.Judged]:
    job = replace(job, date=night)
    return evaluate_feedback.judge(job, Lake(job))


def run(job: JobArgs, night: date) -> dict[str, object]:
    assert evaluate_feedback.main(["--site", job.site.site, "--date", night.isoformat()]) == 0
    return Lake(replace(job, date=night)).read_json("feedback")


def test_on_a_first_night_there_is_nothing_to_judge(job: JobArgs, capsys: pytest.CaptureFixture[str]) -> None:
    log(job, MONDAY)
    assert run(job, MONDAY) == {"versions": [], "metrics": {}}
    assert "nothing to evaluate tonight" in capsys.readouterr().out


def test_a_version_that_was_loaded_but_never_published_is_not_judged(job: JobArgs) -> None:
    assert publish(job, "bbbbbbbb", TUESDAY) == "published"
    assert publish(job, "aaaaaaaa", MONDAY) == "kept"
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        log(job, day)
    assert [(one.version, one.run_date) for one in judge(job, WEDNESDAY)] == [("bbbbbbbb", TUESDAY)]


def test_of_two_versions_of_a_night_the_one_published_last_is_judged(job: JobArgs) -> None:
    for version in ("cccccccc", "aaaaaaaa"):
        assert publish(job, version, MONDAY) == "published"
    versions.rollback(job.site, job.environment, "cccccccc")
    for day in (MONDAY, TUESDAY):
        log(job, day)
    assert [one.version for one in judge(job, TUESDAY)] == ["cccccccc"]


def test_only_nights_inside_the_outcome_window_are_judged(job: JobArgs) -> None:
    outcome = job.site.outcome.model_copy(update={"window_days": 1})
    short = replace(job, site=job.site.model_copy(update={"outcome": outcome}))
    publish(job, "aaaaaaaa", MONDAY)
    publish(job, "bbbbbbbb", TUESDAY)
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        log(job, day)
    assert [one.version for one in judge(job, WEDNESDAY)] == ["aaaaaaaa", "bbbbbbbb"]
    assert [one.version for one in judge(short, WEDNESDAY)] == ["bbbbbbbb"]
    assert judge(job, MONDAY) == []


def test_outcomes_count_from_the_run_date_to_the_day_before_tonight(job: JobArgs) -> None:
    publish(job, "aaaaaaaa", TUESDAY)
    log(job, MONDAY)
    log(job, TUESDAY, bought=[(MONDAY, "u0", "i1")])
    log(job, WEDNESDAY, bought=[(TUESDAY, "u1", "i2")])
    (one,) = judge(job, WEDNESDAY)
    assert one.figures["feedback_adjusted_hit_rate"].value == 1.0, "u1 bought the second item, u0 bought before"
    assert one.figures["feedback_adjusted_ndcg"].value == pytest.approx(0.6309, abs=1e-4)
    assert "feedback_relevance_ndcg" not in one.figures
    log(job, WEDNESDAY, bought=[(MONDAY, "u0", "i1")])
    (one,) = judge(job, WEDNESDAY)
    assert one.figures == {}


def test_a_version_was_shown_where_any_nights_exposures_say_so(job: JobArgs) -> None:
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    log(job, TUESDAY, shown=[(MONDAY, "u0", "aaaaaaaa")])
    for day in (WEDNESDAY, THURSDAY):  # tonight's increment says nothing of it
        log(job, day, shown=[(day - timedelta(days=1), "u0", "bbbbbbbb")])
    lake = Lake(replace(job, date=THURSDAY))
    assert evaluate_feedback.shown_versions(lake, ["aaaaaaaa", "cccccccc"]) == {"aaaaaaaa"}
    assert [one.shown for one in judge(job, THURSDAY)] == [True]


def test_without_an_exposure_of_the_version_there_is_no_lift(job: JobArgs, capsys: pytest.CaptureFixture[str]) -> None:
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    log(job, TUESDAY, bought=[(MONDAY, "u0", "i1")], shown=[(MONDAY, "u0", "bbbbbbbb")])
    (one,) = judge(job, TUESDAY)
    assert (one.shown, one.lift) == (False, None) and one.figures
    record = run(job, TUESDAY)
    assert "feedback_lift_1d" not in record["metrics"]
    assert "no exposure says the list was shown" in capsys.readouterr().out


def test_figures_reach_mlflow_and_run_metrics_under_the_age_of_the_lists(job: JobArgs) -> None:
    held_out = lists("aaaaaaaa", MONDAY, held_out=2)
    versions.publish(job.site, job.environment, held_out, beside(), "proved")
    log(job, MONDAY)
    log(job, TUESDAY)
    bought = [(MONDAY, "u0", "i1"), (TUESDAY, "u1", "i1"), (TUESDAY, "u2", "other")]
    log(job, WEDNESDAY, bought=bought, shown=[(TUESDAY, "u0", "aaaaaaaa")])
    record = run(job, WEDNESDAY)
    metrics = record["metrics"]
    assert metrics["feedback_lift_2d"]["value"] == pytest.approx(0.5), "(1 + 1) / 2 adjusted, (1 + 0) / 2 held out"
    assert metrics["feedback_adjusted_ndcg_2d"]["value"] == 1.0
    assert metrics["feedback_relevance_ndcg_2d"]["value"] == 0.0

    night = replace(job, date=WEDNESDAY)
    parent = tracking.night_run(night)
    client = mlflow.MlflowClient()
    (nested,) = client.search_runs([client.get_run(parent).info.experiment_id], "attributes.run_name = 'feedback'")
    assert nested.data.tags["mlflow.parentRunId"] == parent
    assert nested.data.metrics["feedback_lift_2d"] == pytest.approx(0.5)
    assert nested.data.metrics["feedback_lift_2d_low"] == pytest.approx(metrics["feedback_lift_2d"]["low"])

    lake = Lake(night)
    totals = held_out.to_pandas().assign(held_out=0.0, explored=0.0, relevance_effect=0.0, rows=1)
    adjust.write_metrics(lake, totals, [record], {"passed": True, "checks": []}, seed=0)
    written = {row["metric"]: row for row in lake.read_arrow(RUN_METRICS).to_pylist()}
    assert written["feedback_lift_2d"]["high"] == metrics["feedback_lift_2d"]["high"]
