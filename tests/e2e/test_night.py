"""One real night through the scheduler on a small generated shop, then what must hold of the next ones, in order."""

import json
import time
from datetime import date, timedelta
from urllib.parse import quote

import psutil
import psycopg

from tests.e2e import person
from tests.e2e.conftest import Night

RUN_DATE, USERS, LIST_LENGTH = date(2024, 3, 4), 400, 5  # of the tutorial
LATER = RUN_DATE + timedelta(days=7)
KILLED_IN = "build_features"


def test_every_user_gets_one_full_list_in_order(night: Night, first: tuple[object, ...]) -> None:
    assert first[1] == RUN_DATE and first[2] == USERS * LIST_LENGTH
    assert night.rows("select count(*), count(distinct user_id) from mart.recommendations") == [
        (USERS * LIST_LENGTH, USERS)
    ]
    assert night.rows(
        "select count(*) from mart.recommendations a join mart.recommendations b"
        " on a.user_id = b.user_id and a.rank = b.rank - 1 where a.score < b.score"
    ) == [(0,)]
    assert night.rows(
        "select count(*) from mart.recommendations where not (effect_low <= effect and effect <= effect_high)"
        " or relevance not between 0 and 1 or propensity <= 0 or propensity > 1 or reason = ''"
    ) == [(0,)]


def test_the_adjusted_lists_find_the_planted_effects(night: Night, first: tuple[object, ...]) -> None:
    policies = dict(night.rows("select policy, count(distinct user_id) from mart.recommendations group by 1"))
    assert set(policies) == {"adjusted", "relevance", "explore"}
    ((effect,),) = night.rows("select avg(effect) from mart.recommendations where policy = 'adjusted' and identified")
    ((relevant,),) = night.rows("select avg(effect) from mart.recommendations where policy = 'relevance'")
    assert 0.1 < effect < 0.4, "planted effects are 0.25 of what is left to win"
    assert effect > relevant


def test_the_run_says_in_airflow_what_it_published_and_where_to_look(night: Night, first: tuple[object, ...]) -> None:
    (run,) = night.airflow("/api/v2/dags/nightly_corner/dagRuns")["dag_runs"]
    assert run["note"].startswith(f"published: version {first[0]} of {RUN_DATE}, {first[2]:,} rows")
    events = night.airflow("/api/v2/assets/events?limit=100")["asset_events"]
    extras = {event["name"]: event["extra"] for event in events}
    assert extras["corner.recommendations"]["rows"] == first[2]
    assert {extra["version_id"] for extra in extras.values()} == {first[0]}
    links = {
        task: night.airflow(f"/api/v2/dags/nightly_corner/dagRuns/{run['dag_run_id']}/taskInstances/{task}/links")
        for task in ("train_ranker", "check_raw", "clean", "report")
    }
    shown = {task: {name for name, to in found["extra_links"].items() if to} for task, found in links.items()}
    assert shown == {
        "train_ranker": {"Effects page", "MLflow run"},
        "check_raw": {"Effects page", "Data Docs"},
        "clean": {"Effects page", "Spark history"},
        "report": {"Effects page", "MLflow run", "Report"},
    }


def tries(night: Night) -> dict[str, tuple[str, int]]:
    """State and try of every task of the newest run."""
    with psycopg.connect(night.address("airflow_database_url")) as connection:
        found = connection.execute(
            "SELECT task_id, state, try_number FROM task_instance WHERE run_id ="
            " (SELECT run_id FROM dag_run WHERE dag_id = 'nightly_corner' ORDER BY id DESC LIMIT 1)"
        )
        return {task: (state, number) for task, state, number in found}


def family(scheduler: psutil.Process, job: str) -> list[psutil.Process]:
    """What the scheduler started, once this job is among it."""
    found = scheduler.children(recursive=True)
    commands = [one.info["cmdline"] for one in psutil.process_iter(["cmdline"]) if one in found]
    return found if job in str(commands) else []


def test_the_next_night_ends_well_although_the_scheduler_is_killed_in_the_middle(
    night: Night, first: tuple[object, ...]
) -> None:
    run = night.start("run", "--site", "corner", "--date", LATER.isoformat())
    scheduler = psutil.Process(night.process("airflow-scheduler"))
    until = time.monotonic() + 600
    while not (left := family(scheduler, f"jobs.{KILLED_IN}")):
        assert run.poll() is None and time.monotonic() < until, tries(night)
        time.sleep(0.2)
    scheduler.kill()
    assert "starting airflow-scheduler again" in night.command("up")
    alive = psutil.wait_procs(left, timeout=10)[1]
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE], "they would go on beside the next try"
    assert "published" in night.end(run)
    after = tries(night)
    assert {state for state, _ in after.values()} == {"success"} and after[KILLED_IN][1] > 1
    assert night.published()[1] == LATER
    loaded = "select run_date, count(*), count(distinct version_id) from mart.recommendations_history group by 1"
    assert set(night.rows(loaded)) == {(day, USERS * LIST_LENGTH, 1) for day in (RUN_DATE, LATER)}


def test_status_and_explain_tell_of_the_next_night_and_rollback_returns(
    night: Night, first: tuple[object, ...]
) -> None:
    assert night.published()[1] == LATER
    assert len(json.loads(night.command("status", "--site", "corner", "--json"))) == 2
    shown = json.loads(night.command("explain", "--site", "corner", "--user", "user-0001", "--json"))
    assert len(shown) == LIST_LENGTH and all(row["reason"] for row in shown)
    night.command("rollback", "--site", "corner")
    assert night.published() == first


def test_again_without_later_rows_gives_the_same_version_and_no_new_rows(
    night: Night, first: tuple[object, ...]
) -> None:
    before = night.rows("select count(*) from mart.recommendations_history")
    with psycopg.connect(night.command("warehouse-url").strip()) as connection:
        gone = connection.execute("delete from raw.interactions where event_ts >= %s", (RUN_DATE,)).rowcount
        gone_too = connection.execute("delete from raw.exposures where exposed_at >= %s", (RUN_DATE,)).rowcount
    assert gone > 0 and gone_too > 0
    if person.chromium():
        with person.browser() as browser:
            page = browser.new_page()
            person.log_in(page, f"{night.address('airflow_url')}/", night.password)
            sent = person.trigger(page, f"{night.address('airflow_url')}/dags/nightly_corner", RUN_DATE.isoformat())
        run = night.airflow(f"/api/v2/dags/nightly_corner/dagRuns/{quote(sent, safe='')}")
        assert (run["state"], run["conf"]["run_date"]) == ("success", RUN_DATE.isoformat())
        assert run["note"].startswith(f"unchanged: version {first[0]} of {RUN_DATE}")
    else:
        night.command("run", "--site", "corner", "--date", RUN_DATE.isoformat())
    assert night.published() == first
    assert night.rows("select count(*) from mart.recommendations_history") == before


def test_an_unknown_site_is_one_line(night: Night) -> None:
    said = night.command("run", "--site", "nowhere", "--date", "2024-03-04", fails=True)
    assert len(said.strip().splitlines()) == 1 and "no site 'nowhere'" in said
