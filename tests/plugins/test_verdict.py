"""The verdict: what readers see, and why they do not see something else."""

from datetime import UTC, date, datetime

import pytest

from nightlift.runs import Run
from nightlift.verdict import verdict

MONDAY, TUESDAY = date(2024, 1, 8), date(2024, 1, 9)
FIGURES = {"users": {"value": 400.0}, "gate_qini": {"value": 1.0}, "gate_placebo": {"value": 1.0}}


def version(name: str, day: date, uplift: str | None = "1", published: bool = True) -> dict[str, object]:
    at = datetime(2024, 1, 9, tzinfo=UTC) if published else None
    return {"version_id": name, "run_date": day, "rows": 8000, "uplift_version": uplift, "published_at": at}


def run(state: str, day: date | None = TUESDAY, *at: str) -> Run:
    return Run("manual__1", day, state, at, "/dags/nightly_shop/runs/manual__1")


def test_a_published_night_with_effects_is_good() -> None:
    shown = version("a", TUESDAY)
    found = verdict(shown, shown, FIGURES, run("success"))
    assert found.tone == "good" and found.why == ()
    assert found.headline == (
        "Published is the night of 2024-01-09: 8,000 places for 400 users, ranked by what showing changes."
    )


def test_nothing_published_says_so() -> None:
    found = verdict(None, None, {}, None)
    assert found.tone == "warn" and "Nothing is published yet" in found.headline


def test_a_gate_that_did_not_pass_names_its_checks() -> None:
    shown = version("a", TUESDAY, uplift=None)
    found = verdict(shown, shown, FIGURES | {"gate_qini": {"value": 0.0}, "gate_own": {"value": 0.0}}, None)
    assert found.tone == "warn" and "ranked by relevance alone" in found.headline
    (why,) = found.why
    assert "not surely better than showing at random" in why and "own" in why and "did nothing" not in why


@pytest.mark.parametrize("shown", [None, version("a", MONDAY)])
def test_a_failed_night_names_its_task_and_what_readers_keep(shown: dict[str, object] | None) -> None:
    found = verdict(shown, shown, FIGURES, run("failed", TUESDAY, "check_clean"))
    assert found.tone == "bad"
    assert "the night of 2024-01-09 failed at check_clean" in found.why[0]
    assert ("2024-01-08" if shown else "Nothing") in found.headline


def test_a_running_night_is_said() -> None:
    shown = version("a", MONDAY)
    found = verdict(shown, shown, FIGURES, run("running", TUESDAY, "score"))
    assert found.why == ("The night of 2024-01-09 is running now at score.",)


def test_a_dry_run_loads_nothing() -> None:
    shown = version("a", MONDAY)
    assert "dry run" in verdict(shown, shown, FIGURES, run("success", TUESDAY)).why[0]
    assert verdict(shown, shown, FIGURES, run("success", MONDAY)).why == ()
    assert verdict(shown, shown, FIGURES, run("success", None)).why == ()


def test_a_newer_version_was_rolled_back_or_never_published() -> None:
    shown = version("a", MONDAY)
    rolled_back = verdict(shown, version("b", TUESDAY), FIGURES, run("success"))
    assert rolled_back.tone == "warn"
    assert rolled_back.why == ("Version b of 2024-01-09 was published before and rolled back.",)
    kept = verdict(shown, version("b", TUESDAY, published=False), FIGURES, run("success"))
    assert "was not published" in kept.why[0]
