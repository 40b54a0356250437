"""Jobs as processes: their arguments, their output and what their exit codes mean."""

import logging
import sys
from datetime import date
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from nightlift import operators, run_date


def context(**params: object) -> dict[str, object]:
    return {"params": params, "dag_run": SimpleNamespace(run_id="r", data_interval_start=None, data_interval_end=None)}


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
