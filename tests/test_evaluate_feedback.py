"""Which versions are judged, by what, and whether the log says that they were shown."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import mlflow
import pyarrow as pa
import pytest
import yaml

from jobs import adjust, evaluate_feedback
from jobs.models.lists import held_out
from jobs.runtime import tracking
from jobs.runtime.args import JobArgs
from jobs.tables import feedback_log, versions
from jobs.tables.contracts import EXPLORED, EXPOSURES, INTERACTIONS, ITEMS, RECOMMENDATIONS, RUN_METRICS, USER_PROFILES
from jobs.tables.lake import FIRST_DAY, Lake
from tests.small_night import HEADLINE, beside, lists

DAYS = [date(2024, 1, 8) + timedelta(days=n) for n in range(4)]
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = DAYS
Rows = Sequence[tuple[date, str, str]]  # day, user and what: an item bought, or the version shown


SHARE = 0.5


@pytest.fixture
def job(job: JobArgs) -> JobArgs:
    """The shop with half of its users held out, so that a handful of users makes two groups."""
    return replace(job, site=job.site.model_copy(update={"holdout_share": SHARE}))


def people(job: JobArgs) -> tuple[list[str], list[str]]:
    """Two users with the adjusted list and two held out."""
    users = [f"u{number}" for number in range(40)]
    held = held_out(users, job.site.site, SHARE)
    return [user for user, out in zip(users, held, strict=True) if not out][:2], [
        user for user, out in zip(users, held, strict=True) if out
    ][:2]


def published(job: JobArgs, version: str, day: date) -> pa.Table:
    """Two items for each of ``people``, with the policy of their group."""
    made = lists(version, day).to_pandas()
    adjusted, kept = people(job)
    names = dict(zip(("u0", "u1", "u2", "u3"), adjusted + kept, strict=True))
    made["policy"] = made["user_id"].map(lambda user: "relevance" if user in ("u2", "u3") else "adjusted")
    made["user_id"] = made["user_id"].map(names)
    return pa.Table.from_pandas(made, schema=RECOMMENDATIONS.arrow_schema, preserve_index=False)


def publish(job: JobArgs, version: str, day: date, share: float = SHARE, segments: int = 2) -> str:
    adjusted, kept = people(job)
    tables = beside(HEADLINE | {"holdout_share": (share, None, None)})
    profiles = [
        {"user_id": user, "segment": number % segments, "segment_label": "few", "preferences": "[]", "factors": None}
        for users in (adjusted, kept)
        for number, user in enumerate(users)
    ]
    tables["user_profiles"] = pa.Table.from_pylist(profiles, schema=USER_PROFILES.arrow_schema)
    done = versions.publish(job.site, job.environment, published(job, version, day), tables, "proved")
    return str(done["state"])


def log(
    job: JobArgs,
    night: date,
    bought: Rows = (),
    shown: Rows = (),
    clicked: Rows = (),
    said: Sequence[dict[str, object]] = (),
) -> None:
    """What the nights' `clean` leaves: each night its own day, the first one everything before it."""
    covers = (FIRST_DAY if night == MONDAY else night - timedelta(days=1), night)
    lake = Lake(replace(job, date=night))

    def event(number: int, kind: str, at: date, user: str, item: str) -> dict[str, object]:
        when = {"event_ts": datetime(at.year, at.month, at.day, 12, tzinfo=UTC), "event_day": at}
        return {"event_id": f"{kind}-{at}-{number}", "user_id": user, "item_id": item, "event_type": kind} | when

    events = [
        event(number, kind, *row)
        for kind, rows in (("purchase", bought), ("click", clicked))
        for number, row in enumerate(rows)
    ]
    events += [
        event(number, str(one["event_type"]), *one.pop("at")) | one for number, one in enumerate(map(dict, said))
    ]  # type: ignore[misc]
    exposures = [
        {
            "exposure_id": f"{at}-{number}",
            "user_id": user,
            "item_id": "i1",
            "exposed_at": datetime(at.year, at.month, at.day, 12, tzinfo=UTC),
            "exposed_day": at,
            "version_id": version,
            "policy": "adjusted" if user in people(job)[0] else "relevance",
            "position": 1,
        }
        for number, (at, user, version) in enumerate(shown)
    ]
    for table, rows in ((INTERACTIONS, events), (EXPOSURES, exposures)):
        lake.write_arrow(table, pa.Table.from_pylist(rows, schema=table.arrow_schema), covers=covers)
    items = [{"item_id": name, "category": "c"} for name in ("i1", "i2", "i3", "other")]
    lake.write_arrow(ITEMS, pa.Table.from_pylist(items, schema=ITEMS.arrow_schema))


def judge(job: JobArgs, night: date) -> list[evaluate_feedback.Judged]:
    job = replace(job, date=night)
    return evaluate_feedback.evaluate(job, Lake(job))[0]


def names(job: JobArgs, night: date) -> list[str]:
    return [one.version.version_id for one in judge(job, night)]


def run(job: JobArgs, night: date) -> dict[str, Any]:
    (job.environment.sites / f"{job.site.site}.yaml").write_text(yaml.safe_dump(job.site.model_dump(mode="json")))
    assert evaluate_feedback.main(["--site", job.site.site, "--date", night.isoformat()]) == 0
    return Lake(replace(job, date=night)).read_json("feedback")


def test_on_a_first_night_there_is_nothing_to_judge(job: JobArgs, capsys: pytest.CaptureFixture[str]) -> None:
    log(job, MONDAY)
    assert run(job, MONDAY) == {"versions": [], "metrics": {}, "running": None, "unknown": []}
    assert "nothing to evaluate tonight" in capsys.readouterr().out


def test_a_version_that_was_loaded_but_never_published_is_not_judged(job: JobArgs) -> None:
    assert publish(job, "bbbbbbbb", TUESDAY) == "published"
    assert publish(job, "aaaaaaaa", MONDAY) == "kept"
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        log(job, day)
    assert names(job, WEDNESDAY) == ["bbbbbbbb"]


def test_of_two_versions_of_a_night_the_one_published_last_is_judged(job: JobArgs) -> None:
    for version in ("cccccccc", "aaaaaaaa"):
        assert publish(job, version, MONDAY) == "published"
    versions.rollback(job.site, job.environment, "cccccccc")
    for day in (MONDAY, TUESDAY):
        log(job, day)
    assert names(job, TUESDAY) == ["cccccccc"]


def test_only_nights_inside_the_outcome_window_are_judged(job: JobArgs) -> None:
    outcome = job.site.outcome.model_copy(update={"window_days": 1})
    short = replace(job, site=job.site.model_copy(update={"outcome": outcome}))
    publish(job, "aaaaaaaa", MONDAY)
    publish(job, "bbbbbbbb", TUESDAY)
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        log(job, day)
    assert names(job, WEDNESDAY) == ["aaaaaaaa", "bbbbbbbb"]
    assert names(short, WEDNESDAY) == ["bbbbbbbb"]
    assert names(job, MONDAY) == []


def test_outcomes_count_from_the_run_date_to_the_day_before_tonight(job: JobArgs) -> None:
    (first, second), _ = people(job)
    publish(job, "aaaaaaaa", TUESDAY)
    log(job, MONDAY)
    log(job, TUESDAY, bought=[(MONDAY, first, "i1")])
    log(job, WEDNESDAY, bought=[(TUESDAY, second, "i2")])
    (one,) = judge(job, WEDNESDAY)
    assert one.figures["adjusted_hit_rate"].value == 1.0, "the second bought the second item, the first one before"
    assert one.figures["adjusted_ndcg"].value == pytest.approx(0.6309, abs=1e-4)
    assert "relevance_ndcg" not in one.figures
    assert one.figures["coverage"] == 0.5, "two of four items are listed"
    log(job, WEDNESDAY, bought=[(MONDAY, first, "i1")])
    (one,) = judge(job, WEDNESDAY)
    assert set(one.figures) == {"coverage"}


def test_a_version_was_shown_where_any_nights_exposures_say_so(job: JobArgs) -> None:
    (first, _), _ = people(job)
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    log(job, TUESDAY, shown=[(MONDAY, first, "aaaaaaaa")])
    for day in (WEDNESDAY, THURSDAY):  # tonight's increment says nothing of it
        log(job, day, shown=[(day - timedelta(days=1), first, "bbbbbbbb")])
    lake = Lake(replace(job, date=THURSDAY))
    assert feedback_log.shown_versions(lake, ["aaaaaaaa", "cccccccc"]) == {"aaaaaaaa"}
    assert [one.shown for one in judge(job, THURSDAY)] == [True]


def test_without_an_exposure_of_the_version_there_is_no_lift(job: JobArgs, capsys: pytest.CaptureFixture[str]) -> None:
    (first, _), _ = people(job)
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    log(job, TUESDAY, bought=[(MONDAY, first, "i1")], shown=[(MONDAY, first, "bbbbbbbb")])
    (one,) = judge(job, TUESDAY)
    assert (one.shown, one.lift) == (False, None) and "adjusted_ndcg" in one.figures
    record = run(job, TUESDAY)
    assert not [name for name in record["metrics"] if "lift" in name or ("rate_adjusted" in name and "hit" not in name)]
    assert record["running"] is None
    assert "no exposure says that this list was shown" in capsys.readouterr().out


def test_clicks_and_outcomes_of_what_was_shown_are_told_by_policy_and_by_place(job: JobArgs) -> None:
    (first, second), (third, _) = people(job)
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    shown = [(MONDAY, user, "aaaaaaaa") for user in (first, second, third)]
    clicked = [(MONDAY, first, "i1"), (MONDAY, third, "i3")]
    log(job, TUESDAY, bought=[(MONDAY, first, "i1"), (MONDAY, second, "i2")], shown=shown, clicked=clicked)
    (one,) = judge(job, TUESDAY)
    found = {name: figure.value for name, figure in one.figures.items() if name.startswith(("click", "outcome"))}
    assert found == {
        "click_rate_adjusted": 0.5,
        "click_rate_adjusted_1": 0.5,
        "click_rate_relevance": 0.0,
        "click_rate_relevance_1": 0.0,
        "outcome_rate_adjusted": 0.5,
        "outcome_rate_adjusted_1": 0.5,
        "outcome_rate_relevance": 0.0,
        "outcome_rate_relevance_1": 0.0,
    }


def test_places_are_told_for_the_oldest_version_only_and_clicks_where_there_are_any(job: JobArgs) -> None:
    (first, _), _ = people(job)
    for version, day in (("aaaaaaaa", MONDAY), ("bbbbbbbb", TUESDAY)):
        publish(job, version, day)
    log(job, MONDAY)
    log(job, TUESDAY)
    log(job, WEDNESDAY, shown=[(TUESDAY, first, "aaaaaaaa"), (TUESDAY, first, "bbbbbbbb")])
    old, new = judge(job, WEDNESDAY)
    assert {"outcome_rate_adjusted", "outcome_rate_adjusted_1"} <= set(old.figures)
    assert "outcome_rate_adjusted" in new.figures and "outcome_rate_adjusted_1" not in new.figures
    assert not [name for name in old.figures if "click" in name]


def test_votes_and_comments_on_what_was_shown_are_told_by_policy(job: JobArgs) -> None:
    (first, second), (third, _) = people(job)
    job = replace(job, site=job.site.model_copy(update={"feedback": {"like": 1.0, "rating": 2.0, "comment": 0.5}}))
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    shown = [(MONDAY, user, "aaaaaaaa") for user in (first, second, third)]
    said: list[dict[str, object]] = [
        {"at": (MONDAY, first, "i1"), "event_type": "like", "votes": 1},
        {"at": (MONDAY, second, "i1"), "event_type": "rating", "votes": 1, "valence": -1.0},
        {"at": (MONDAY, second, "i2"), "event_type": "like", "votes": 1},
        {"at": (MONDAY, third, "i1"), "event_type": "comment", "valence": 0.6},
        {"at": (MONDAY, third, "i1"), "event_type": "comment"},
    ]
    log(job, TUESDAY, shown=shown, said=said)
    (one,) = judge(job, TUESDAY)
    assert one.figures["mean_vote_adjusted"].value == pytest.approx((1 - 2) / 2), "i2 was not shown"
    assert one.figures["like_share_adjusted"].value == 0.5
    assert one.figures["sentiment_relevance"] == pytest.approx(0.6), "nobody knows what the other comment says"
    assert "mean_vote_relevance" not in one.figures and "sentiment_adjusted" not in one.figures
    record = run(job, TUESDAY)
    assert record["metrics"]["feedback_mean_vote_adjusted_1d"]["value"] == pytest.approx(-0.5)


def test_a_later_vote_of_another_day_takes_the_place_of_the_first(job: JobArgs) -> None:
    (first, _), _ = people(job)
    job = replace(job, site=job.site.model_copy(update={"feedback": {"like": 1.0, "dislike": -1.0}}))
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    for night, kind in ((TUESDAY, "like"), (WEDNESDAY, "dislike")):
        day = night - timedelta(days=1)
        said: dict[str, object] = {"at": (day, first, "i1"), "event_type": kind, "votes": 1}
        log(job, night, shown=[(day, first, "aaaaaaaa")], said=[said])
    assert [one.figures["mean_vote_adjusted"] for one in judge(job, TUESDAY)] == [1.0]
    assert [one.figures["mean_vote_adjusted"] for one in judge(job, WEDNESDAY)] == [-1.0]


def test_without_feedback_events_no_opinion_is_told(job: JobArgs) -> None:
    (first, _), _ = people(job)
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    log(job, TUESDAY, shown=[(MONDAY, first, "aaaaaaaa")])
    (one,) = judge(job, TUESDAY)
    assert one.shown and not [name for name in one.figures if name.startswith(("mean_vote", "like", "sentiment"))]


def test_the_random_slots_of_the_version_are_compared_with_what_was_spared(job: JobArgs) -> None:
    (first, second), _ = people(job)
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    rows = [
        {"user_id": user, "item_id": item, "shown": item == "i3", "effect": 0.2, "version_id": "aaaaaaaa"}
        for user in (first, second)
        for item in ("i3", "other")
    ]
    Lake(job).write_arrow(EXPLORED, pa.Table.from_pylist(rows, schema=EXPLORED.arrow_schema))
    log(job, TUESDAY, bought=[(MONDAY, first, "i3"), (MONDAY, second, "other")], shown=[(MONDAY, first, "aaaaaaaa")])
    (one,) = judge(job, TUESDAY)
    assert one.figures["explore_effect"].value == 1.0, "the second user saw nothing of the version"
    assert one.figures["explore_effect_promised"] == pytest.approx(0.2)
    publish(job, "bbbbbbbb", MONDAY)  # the same night once more, whose slots the lake no longer has
    log(job, TUESDAY, shown=[(MONDAY, first, "bbbbbbbb")])
    (one,) = judge(job, TUESDAY)
    assert "explore_effect" not in one.figures


def test_lists_of_before_the_share_was_changed_have_no_lift_and_begin_no_experiment(job: JobArgs) -> None:
    (first, _), _ = people(job)
    publish(job, "aaaaaaaa", MONDAY, share=0.1)
    publish(job, "bbbbbbbb", TUESDAY)
    log(job, MONDAY)
    log(job, TUESDAY, shown=[(MONDAY, first, "aaaaaaaa")])
    night = replace(job, date=TUESDAY)
    (one,), experiment = evaluate_feedback.evaluate(night, Lake(night))
    assert experiment is None and one.lift is None and "before the control group" in one.why
    log(job, WEDNESDAY, shown=[(TUESDAY, first, "bbbbbbbb")])
    night = replace(job, date=WEDNESDAY)
    judged, experiment = evaluate_feedback.evaluate(night, Lake(night))
    assert experiment is not None and experiment.start.version_id == "bbbbbbbb"
    assert [one.lift is not None for one in judged] == [True, True], "the first list has the same groups"


def test_switches_that_are_off_are_said(job: JobArgs) -> None:
    (first, _), _ = people(job)
    publish(job, "aaaaaaaa", MONDAY, share=0.0)
    log(job, MONDAY)
    log(job, TUESDAY, shown=[(MONDAY, first, "aaaaaaaa")])
    off = replace(job, site=job.site.model_copy(update={"holdout_share": 0.0, "explore_share": 0.0}))
    (one,) = judge(off, TUESDAY)
    assert one.lift is None and "no control group" in one.why
    said = run(off, TUESDAY)["unknown"]
    assert len(said) == 2 and "holdout_share is 0" in said[0] and "explore_share is 0" in said[1]


def test_figures_reach_mlflow_and_run_metrics_under_the_age_of_the_lists(
    job: JobArgs,
) -> None:
    (first, second), (third, _) = people(job)
    publish(job, "aaaaaaaa", MONDAY)
    log(job, MONDAY)
    log(job, TUESDAY)
    bought = [(MONDAY, first, "i1"), (TUESDAY, second, "i1"), (TUESDAY, third, "other")]
    log(job, WEDNESDAY, bought=bought, shown=[(TUESDAY, first, "aaaaaaaa")])
    record = run(job, WEDNESDAY)
    metrics = record["metrics"]
    assert metrics["feedback_lift_2d"]["value"] == pytest.approx(0.5), "(1 + 1) / 2 adjusted, (1 + 0) / 2 held out"
    assert metrics["feedback_adjusted_ndcg_2d"]["value"] == 1.0
    assert metrics["feedback_relevance_ndcg_2d"]["value"] == 0.0
    assert metrics["lift_running"]["value"] == pytest.approx(0.5 * 7 / 2), "a user and window of seven days"
    assert metrics["lift_running"]["low"] < metrics["feedback_lift_2d"]["low"] * 7 / 2, "and may be looked at nightly"
    assert record["running"]["held_out"] == 2 and record["running"]["since"] == MONDAY.isoformat()
    assert "lift_running_segment_0" not in metrics, "one user of a segment in each group is too few"

    night = replace(job, date=WEDNESDAY)
    parent = tracking.night_run(night)
    client = mlflow.MlflowClient()
    (nested,) = client.search_runs([client.get_run(parent).info.experiment_id], "attributes.run_name = 'feedback'")
    assert nested.data.tags["mlflow.parentRunId"] == parent
    assert nested.data.metrics["feedback_lift_2d"] == pytest.approx(0.5)
    assert nested.data.metrics["feedback_lift_2d_low"] == pytest.approx(metrics["feedback_lift_2d"]["low"])

    lake = Lake(night)
    totals = published(job, "aaaaaaaa", MONDAY).to_pandas().assign(held_out=0.0, explored=0.0, relevance_effect=0.0)
    adjust.write_metrics(
        lake, totals.assign(rows=1, proved=float("nan")), [record], {"passed": True, "checks": []}, seed=0
    )
    written = {row["metric"]: row for row in lake.read_arrow(RUN_METRICS).to_pylist()}
    assert written["feedback_lift_2d"]["high"] == metrics["feedback_lift_2d"]["high"]


def test_a_segment_has_its_own_running_lift(job: JobArgs) -> None:
    (first, _), _ = people(job)
    publish(job, "aaaaaaaa", MONDAY, segments=1)
    log(job, MONDAY)
    log(job, TUESDAY, bought=[(MONDAY, first, "i1")], shown=[(MONDAY, first, "aaaaaaaa")])
    record = run(job, TUESDAY)
    assert record["metrics"]["lift_running_segment_0"] == record["metrics"]["lift_running"]
    assert record["running"]["labels"] == {"lift_running_segment_0": "few"}
