"""Days a night looks back from."""

from datetime import date, timedelta

from jobs.runtime.site import Outcome, Ranker, Site
from jobs.transforms import calendar

MONDAY = date(2017, 1, 2)


def site(**settings: object) -> Site:
    outcome = Outcome(event_types=("purchase",), window_days=7)
    return Site(site="shop", outcome=outcome, history_periods=3, ranker=Ranker(label_windows=2), **settings)


def test_without_an_anchor_the_last_period_ends_on_the_run_date() -> None:
    starts = calendar.period_starts(site(), date(2017, 12, 6))
    assert starts == [date(2017, 11, 15), date(2017, 11, 22), date(2017, 11, 29)]


def test_an_anchor_aligns_the_starts_and_no_period_ends_after_the_run_date() -> None:
    for shift in range(7):
        run_date = date(2017, 12, 4) + timedelta(days=shift)
        starts = calendar.period_starts(site(period_anchor=MONDAY), run_date)
        assert starts[-1] == date(2017, 11, 27)
        assert all((start - MONDAY).days % 7 == 0 for start in starts)


def test_a_long_outcome_window_pushes_the_last_period_back() -> None:
    outcome = Outcome(event_types=("purchase",), window_days=14)
    long = site().model_copy(update={"outcome": outcome})
    assert calendar.period_starts(long, date(2017, 12, 6))[-1] == date(2017, 11, 22)


def test_as_of_days_are_run_date_label_windows_and_period_starts_once_each() -> None:
    run_date = date(2017, 12, 6)
    days = calendar.as_of_days(site(), run_date, [date(2017, 11, 22), date(2017, 11, 29)])
    assert days == [date(2017, 11, 15), date(2017, 11, 22), date(2017, 11, 29), run_date]
    assert calendar.label_days(site(), run_date) == [date(2017, 11, 22), date(2017, 11, 29)]
