"""What stops a night before it is published: drift beyond the site's level, and figures far from the last nights'."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pytest
import yaml

from jobs import check_recommendations
from jobs.runtime.args import JobArgs
from jobs.runtime.errors import DataError
from jobs.runtime.site import Drift
from jobs.tables.contracts import DRIFT_SAMPLES, NIGHTS, SCORES
from jobs.tables.lake import Lake
from tests import drifting_night

MONDAY, TUESDAY, WEDNESDAY = (date(2024, 1, 8) + timedelta(days=n) for n in range(3))


@pytest.fixture
def job(job: JobArgs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobArgs:
    monkeypatch.setenv("NIGHTLIFT_HOME", str(tmp_path / "home"))
    return job


def run(job: JobArgs) -> dict[str, Any]:
    """The check of a night; returns its row of NIGHTS."""
    (job.environment.sites / f"{job.site.site}.yaml").write_text(yaml.safe_dump(job.site.model_dump(mode="json")))
    assert check_recommendations.main(["--site", job.site.site, "--date", job.date.isoformat()]) == 0
    (row,) = Lake(job).read_arrow(NIGHTS).to_pylist()
    return row


def test_a_first_night_has_nothing_to_compare_with_and_says_so(
    job: JobArgs, capsys: pytest.CaptureFixture[str]
) -> None:
    night = drifting_night.write(job, MONDAY)
    assert set(run(night).values()) == {None}
    assert "drift: no earlier published night to compare with" in capsys.readouterr().out
    record = Lake(night).read_json("drift")
    assert record == {"nights": [], "shifts": [], "metrics": {}}
    assert Lake(night).read_arrow(DRIFT_SAMPLES).num_rows > 0, "the next night needs it"


def test_nights_that_are_alike_pass_and_their_figures_reach_metrics_and_mlflow(
    job: JobArgs, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in (MONDAY, TUESDAY):
        drifting_night.write(job, day)
    night = drifting_night.write(job, WEDNESDAY)
    assert run(night) == pytest.approx(
        {"users_ratio": 1.0, "list_rows_ratio": 1.0, "identified_share_change": 0.0, "average_effect_gap": 0.0}
    )
    said = capsys.readouterr().out
    assert "columns within 0.25 of 2 nights from 2024-01-08" in said and "has drifted" not in said
    record = Lake(night).read_json("drift")
    assert record["nights"] == ["2024-01-09", "2024-01-08"]
    assert {"psi_effect", "psi_relevance", "psi_item_price", "psi_vote"} <= set(record["metrics"])
    assert "psi_user_tenure_days" not in record["metrics"], "it grows with the calendar"
    assert record["metrics"]["drift_nights"]["value"] == 2
    runs = mlflow.search_runs(experiment_names=[job.site.site], filter_string="tags.mlflow.runName = 'drift'")
    assert record["metrics"]["psi_effect"]["value"] in set(runs["metrics.psi_effect"])


def test_a_column_beyond_the_level_fails_the_night_and_is_named(job: JobArgs) -> None:
    drifting_night.write(job, MONDAY)
    night = drifting_night.write(job, TUESDAY, effect=0.02, state="none")
    with pytest.raises(DataError, match=r"above drift\.fail = 0\.25 against 1 nights from 2024-01-08: effect \d"):
        run(night)
    again = drifting_night.write(job, WEDNESDAY)
    assert Lake(again).read_json("drift")["nights"] == ["2024-01-08"], "a night that was not published is no measure"
    run(again)


def test_a_column_beyond_the_first_level_is_a_warning(job: JobArgs, capsys: pytest.CaptureFixture[str]) -> None:
    wide = replace(job, site=job.site.model_copy(update={"drift": Drift(warn=0.1, fail=50.0)}))
    drifting_night.write(wide, MONDAY)
    run(drifting_night.write(wide, TUESDAY, effect=0.02))
    said = capsys.readouterr().out
    assert "warning: effect " in said and "has drifted from 1 nights from 2024-01-08" in said


def test_after_a_change_that_was_meant_a_site_starts_anew(job: JobArgs) -> None:
    drifting_night.write(job, MONDAY)
    meant = replace(job, site=job.site.model_copy(update={"drift": Drift(since=TUESDAY)}))
    night = drifting_night.write(meant, TUESDAY, effect=0.02)
    assert set(run(night).values()) == {None}
    later = drifting_night.write(meant, WEDNESDAY, effect=0.02)
    run(later)
    assert Lake(later).read_json("drift")["nights"] == ["2024-01-09"]


@pytest.mark.parametrize(
    ("name", "moved", "column"),
    [
        ("users", (1.0, None, None), "users_ratio"),
        ("list_rows", (40.0, None, None), "list_rows_ratio"),
        ("identified_share", (0.2, None, None), "identified_share_change"),
        ("average_effect", (-0.05, -0.06, -0.04), "average_effect_gap"),
    ],
)
def test_a_figure_far_from_the_last_nights_fails_the_night(
    job: JobArgs, name: str, moved: tuple[float, float | None, float | None], column: str
) -> None:
    drifting_night.write(job, MONDAY)
    with pytest.raises(DataError, match=rf"nights\.{column} column_values_to_be_between: 1 of 1 rows fail"):
        run(drifting_night.write(job, TUESDAY, figures={name: moved}))


def test_a_list_is_whole_by_what_may_be_listed_and_who_has_it_all_has_no_list(
    job: JobArgs, capsys: pytest.CaptureFixture[str]
) -> None:
    night = drifting_night.write(job, MONDAY)
    lake = Lake(night)
    everyone, spared = check_recommendations.count_candidates(night, lake)
    assert spared == 0 and (everyone == 1).all()
    scores = lake.read_pandas(SCORES)
    owned = scores["user_id"] < "u2"
    scores["days_since_last"] = owned.map({True: 3.0, False: None})
    lake.write_arrow(SCORES, pa.Table.from_pandas(scores, schema=SCORES.arrow_schema, preserve_index=False))
    never = night.site.model_copy(update={"ranking": night.site.ranking.model_copy(update={"owned": "never"})})
    left, spared = check_recommendations.count_candidates(replace(night, site=never), lake)
    assert spared == owned.sum() > 0 and set(left.index) == set(scores.loc[~owned, "user_id"])
    assert f"{owned.sum()} users have no list" in capsys.readouterr().out.replace(",", "")
    assert check_recommendations.count_candidates(night, lake)[1] == 0, "where the same is wanted again"
