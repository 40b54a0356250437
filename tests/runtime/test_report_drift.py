"""Drift in words: which columns, against which nights, or that nothing can be known yet."""

from datetime import date
from typing import Any

from jobs.runtime import report_drift
from jobs.runtime.site import Drift


def shift(column: str, psi: float, chance: float = 0.01) -> dict[str, Any]:
    return {"column": column, "psi": psi, "chance": chance, "beyond": max(psi - chance, 0), "rows": 10, "reference": 20}


def record(*shifts: dict[str, Any]) -> dict[str, Any]:
    return {"nights": ["2024-01-07", "2024-01-06"], "shifts": list(shifts), "metrics": {}}


def test_a_first_night_says_that_nothing_is_known_yet():
    found = report_drift.drift({"nights": [], "shifts": [], "metrics": {}}, Drift())
    assert "not known yet" in found["sentence"] and found["plot"] is None and found["rows"] == []
    again = report_drift.drift({"nights": [], "shifts": [], "metrics": {}}, Drift(since=date(2024, 1, 8)))
    assert "from 2024-01-08 on" in again["sentence"]


def test_what_is_beyond_the_warning_is_named_with_the_nights_it_is_compared_with():
    found = report_drift.drift(record(shift("vote", 0.3), shift("price", 0.05)), Drift())
    assert "2 published nights from 2024-01-06 to 2024-01-07" in found["sentence"]
    assert "1 of 2 columns are beyond 0.1: vote 0.30 (chance 0.01)" in found["sentence"]
    assert [row["name"] for row in found["rows"]] == ["vote", "price"]
    assert "largest vote 0.3000" in found["plot"]["summary"] and "<svg" in found["plot"]["svg"]


def test_a_quiet_night_says_so():
    found = report_drift.drift(record(shift("price", 0.05)), Drift())
    assert "all 1 columns are within 0.1" in found["sentence"]
