"""What the report says of drift: how far features, scores and effects are from the last published nights."""

from collections.abc import Mapping
from typing import Any

from jobs.models.drift import moved
from jobs.runtime import plots
from jobs.runtime.figure_words import number
from jobs.runtime.site import Drift

DRAWN = 15


def drift(record: Mapping[str, Any], how: Drift) -> dict[str, Any]:
    """A sentence, the columns that moved most as a plot, and all of them as rows; a first night has a sentence only."""
    shifts, days = record["shifts"], record["nights"]
    if not days:
        since = f" from {how.since} on" if how.since else ""
        nothing = f"No earlier published night{since} to compare with: whether anything has drifted is not known yet."
        return {"sentence": nothing, "plot": None, "rows": []}
    far = moved(shifts, how.warn)
    against = f"the {len(days)} published nights from {min(days)} to {max(days)}" if days[1:] else f"{days[0]}"
    found = f"{len(far)} of {len(shifts)} columns are beyond {how.warn:g}: {', '.join(far)}." if far else ""
    return {
        "sentence": f"Against {against}, " + (found or f"all {len(shifts)} columns are within {how.warn:g} of chance."),
        "plot": _plot(shifts, how),
        "rows": [
            {"name": shift["column"], "psi": number(shift["psi"]), "chance": number(shift["chance"])}
            for shift in shifts
        ],
    }


def _plot(shifts: list[dict[str, Any]], how: Drift) -> dict[str, str]:
    most = shifts[:DRAWN]
    largest = max(shifts, key=lambda shift: shift["psi"])
    rows = {shift["column"]: shift["psi"] for shift in most}
    return {
        "svg": plots.bars("drift", rows, "population stability index", (how.warn, how.fail)),
        "summary": f"The {len(most)} columns that moved most; largest {largest['column']} {number(largest['psi'])},"
        f" levels {how.warn:g} and {how.fail:g}.",
        "caption": "How to read it: 0 is no change. The lines are the site's levels: beyond the first the night warns,"
        " beyond the second, chance set apart, it fails and the version before stays.",
    }
