"""The days a night looks back from: as-of days of the ranker's label windows and starts of the trials' periods."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any


def label_days(site: Any, run_date: date) -> list[date]:
    """As-of days of the label windows, oldest first: [run_date - k * window_days] for k = label_windows .. 1."""
    return [run_date - timedelta(days=k * site.outcome.window_days) for k in range(site.ranker.label_windows, 0, -1)]


def period_starts(site: Any, run_date: date) -> list[date]:
    """Starts of the trials' periods, oldest first.

    The last period is the latest one that ended, and whose outcome window ended, by ``run_date``. Starts lie a whole
    number of periods from ``site.period_anchor``, or, without one, from the run date.
    """
    step = site.period_days
    last_possible = run_date - timedelta(days=max(step, site.outcome.window_days))
    offset = (last_possible - (site.period_anchor or run_date)).days % step
    last = last_possible - timedelta(days=offset)
    return [last - timedelta(days=step * k) for k in range(site.history_periods - 1, -1, -1)]


def as_of_days(site: Any, run_date: date, made: Sequence[date]) -> list[date]:
    """Every as-of day that needs features, ascending: run date, label windows ``made`` tonight, the periods' starts."""
    return sorted({run_date, *made, *period_starts(site, run_date)})
