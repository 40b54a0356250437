"""The run date, resolved in one place: the param, else the end of the data interval, else a loud failure."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from airflow.sdk.exceptions import AirflowFailException


def resolve(context: Mapping[str, Any]) -> date:
    """Run date of this DAG run; AirflowFailException where nothing names one.

    The night that starts at 02:00 of day D closes the interval that ends then: its run date is D.
    """
    given = (context.get("params") or {}).get("run_date")
    if given:
        try:
            return date.fromisoformat(given)
        except ValueError:
            raise AirflowFailException(f"param run_date: {given!r} is not a day; write YYYY-MM-DD") from None
    run = context.get("dag_run")
    end = getattr(run, "data_interval_end", None)
    start = getattr(run, "data_interval_start", None)
    if end is None or start == end:
        raise AirflowFailException("this run has no data interval: trigger it again with the param run_date")
    return date.fromisoformat(str(end)[:10])
