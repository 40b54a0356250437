"""Which nights a night is compared with, and by which rows."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from jobs.runtime.args import JobArgs
from jobs.runtime.site import Drift
from jobs.tables import drift_samples
from jobs.tables.lake import Lake
from tests import drifting_night

MONDAY, TUESDAY, WEDNESDAY = (date(2024, 1, 8) + timedelta(days=n) for n in range(3))


def test_only_the_last_nights_are_compared_with(job: JobArgs) -> None:
    one = replace(job, site=job.site.model_copy(update={"drift": Drift(nights=1)}))
    for day in (MONDAY, TUESDAY):
        drifting_night.write(one, day)
    night = replace(one, date=WEDNESDAY)
    assert drift_samples.nights(night, Lake(night)) == [TUESDAY]
    assert drift_samples.nights(replace(one, date=TUESDAY), Lake(replace(one, date=TUESDAY))) == [MONDAY]


def test_a_sample_is_of_tonights_as_of_day_and_the_same_again(job: JobArgs, monkeypatch: pytest.MonkeyPatch) -> None:
    night = drifting_night.write(job, MONDAY)
    lake = Lake(night)
    whole = drift_samples.take(night, lake)
    assert len(whole["user_value_91d"]) == drifting_night.USERS, "not the label window's rows"
    monkeypatch.setattr(drift_samples, "ROWS", 50)
    first, again = drift_samples.take(night, lake), drift_samples.take(night, lake)
    assert len(first["effect"]) == 50 and (first["effect"] == again["effect"]).all()
    assert set(first["effect"]) <= set(whole["effect"])
