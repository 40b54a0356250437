"""Tonight in a few sentences: what readers see, whether it rests on effects, and why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightlift.runs import Run

CHECKS = {
    "placebo": "a treatment that did nothing seems to have an effect",
    "identified_share": "too few trials have overlap and both arms of their item",
    "qini": "ranking by predicted effect is not surely better than showing at random",
    "random_subset": "the average effect is another one among a random share of the users",
    "random_common_cause": "the average effect is another one after adding a feature of noise",
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """A headline, its tone (good, warn or bad) and the sentences below it."""

    tone: str
    headline: str
    why: tuple[str, ...]


def verdict(published: Row | None, newest: Row | None, figures: Mapping[str, Row], run: Run | None) -> Verdict:
    """The verdict of a site.

    ``published`` and ``newest`` are versions as the mart has them, ``figures`` those of the published one, ``run`` the
    latest DAG run.
    """
    why = [sentence for sentence in (_run(run, newest), _newest(published, newest)) if sentence]
    failed = run is not None and run.state == "failed"
    if published is None:
        return Verdict(
            "bad" if failed else "warn", "Nothing is published yet: readers see no recommendations.", (*why,)
        )
    passed = published["uplift_version"] is not None
    users = figures.get("users")
    whom = f" for {users['value']:,.0f} users" if users else ""
    headline = (
        f"Published is the night of {published['run_date']}: {published['rows']:,} places{whom},"
        f" {'ranked by what showing changes' if passed else 'ranked by relevance alone'}."
    )
    if not passed:
        why.append(f"The gate did not let the effects rank the lists: {_gate(figures)}.")
    tone = "bad" if failed else "good" if passed and not why else "warn"
    return Verdict(tone, headline, (*why,))


def _gate(figures: Mapping[str, Row]) -> str:
    fallen = [
        name.removeprefix("gate_")
        for name, figure in figures.items()
        if name.startswith("gate_") and figure["value"] == 0
    ]
    words = [CHECKS.get(name, name.replace("_", " ")) for name in sorted(fallen)]
    return "; ".join(words) or "the night's figures do not say which check failed"


def _run(run: Run | None, newest: Row | None) -> str:
    if run is None:
        return ""
    night = f"the night of {run.run_date}" if run.run_date else "the latest run"
    where = f" at {', '.join(run.at)}" if run.at else ""
    if run.state == "failed":
        return f"It stays so because {night} failed{where}; the task's log says what and where."
    if run.state in ("running", "queued"):
        return f"{night[0].upper()}{night[1:]} is {run.state} now{where}."
    loaded = newest["run_date"] if newest else None
    if run.run_date and (loaded is None or loaded < run.run_date):
        return f"{night[0].upper()}{night[1:]} ended without loading a version: it was a dry run."
    return ""


def _newest(published: Row | None, newest: Row | None) -> str:
    if not newest or (published and newest["version_id"] == published["version_id"]):
        return ""
    which = f"Version {newest['version_id']} of {newest['run_date']}"
    if newest["published_at"] is None:
        return f"{which} is loaded but was not published: a newer night or a rollback was in its way."
    return f"{which} was published before and rolled back."
