"""What the effects page shows, from the mart's rows: plain values for the templates."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from jobs.runtime import pages
from jobs.runtime.environment import Environment
from jobs.runtime.figure_words import effect_cells, share
from jobs.runtime.proof_words import proofs
from jobs.runtime.site import Site
from jobs.tables.mart import Mart
from nightlift import links, runs
from nightlift.verdict import Verdict, verdict

Row = Mapping[str, Any]
NIGHTS, MEASURED, VERSIONS, USERS = 14, 14, 10, 25  # rows of a table on one page
CATEGORIES = 15
HEAT_STEPS = 4
NIGHTLY = ("list_effect", "list_effect_by_relevance", "overlap_share", "identified_share", "effects_gate")
GLANCE = {
    "average_effect": "average effect of showing an item",
    "list_effect": "mean effect of the adjusted lists, as estimated",
    "list_effect_by_relevance": "the same users' lists by relevance, as estimated",
    "qini": "Qini: does the estimated effect find who is moved by showing? Above 0 it does",
    "overlap_share": "trials with overlap",
    "list_identified_share": "places in the lists whose effect is identified",
}
SHARES = ("overlap_share", "identified_share", "list_identified_share")
FIGURES = ("qini",)
PREFERENCES = ("category", "brand", "price_position", "part_of_day", "weekday", "channel")


def number(value: float) -> str:
    """A count."""
    return f"{value:,.0f}"


@dataclass(frozen=True)
class Axis:
    """A common axis for the intervals of one table: ``at`` is a place on it in per cent of its length."""

    low: float
    high: float

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Axis":
        """The shortest axis with zero and every interval on it."""
        ends = [0.0, *(row[name] for row in rows for name in ("low", "high", "value") if row.get(name) is not None)]
        low, high = min(ends), max(ends)
        return cls(low, high if high > low else low + 1.0)

    def at(self, value: float) -> float:
        """Where a value lies."""
        return round(2.0 + 96.0 * (value - self.low) / (self.high - self.low), 2)


def verdict_of(found: Mart | None, session: Session, site: str) -> Verdict:
    """The verdict of a site for the list of sites."""
    run = next(iter(runs.of_site(session, site, 1)), None)
    return _verdict(found, run)


def _verdict(found: Mart | None, run: runs.Run | None) -> Verdict:
    if found is None:
        return verdict(None, None, {}, run)
    published, newest = found.published(), next(iter(found.versions(1)), None)
    return verdict(published, newest, found.figures(published["version_id"]) if published else {}, run)


def site_values(
    found: Mart | None, site: Site, environment: Environment, nights: Sequence[runs.Run], page: int
) -> dict[str, Any]:
    """Everything of the page of a site; what is not there yet is None or empty."""
    values: dict[str, Any] = {
        "site": site.site,
        "verdict": _verdict(found, next(iter(nights), None)),
        "published": None,
        "versions": [],
        "page": page,
        "more": False,
        "links": [],
        "outcome": ", ".join(site.outcome.event_types),
        "window_days": site.outcome.window_days,
        "period_days": site.period_days,
        "keep_days": site.keep_days,
    }
    if found is None:
        return values
    by_date = {run.run_date: run for run in reversed(nights) if run.run_date}
    versions = found.versions(VERSIONS + 1, VERSIONS * (page - 1))
    values |= {
        "versions": [
            row
            | {
                "run": by_date.get(row["run_date"]),
                "rollback": rollback(site, row),
                "mlflow": _mlflow(environment, row),
            }
            for row in versions[:VERSIONS]
        ],
        "more": len(versions) > VERSIONS,
    }
    published = found.published()
    if published is None:
        return values
    version = published["version_id"]
    figures = found.figures(version)
    return values | {
        "published": published,
        "proofs": proofs(figures),
        "links": _links(site, environment, published, by_date.get(published["run_date"])),
        "glance": glance(figures),
        "lift": (lifted := lift(found)),
        "measured": measured(lifted["measured"]),
        "overlap": overlap(found.effects(version, "category", "pooled")),
        "heat": heat_map(found.effects(version, "segment_category", "aipw"), found.segments(version)),
    }


def rollback(site: Site, row: Row) -> str | None:
    """The command that publishes a version again; None for the one that is published."""
    if row["published"]:
        return None
    return f"python -m jobs rollback --site {site.site} --version {row['version_id']}"


def _links(site: Site, environment: Environment, published: Row, run: runs.Run | None) -> list[Row]:
    """Pages that say more: label and either a path below this app, a path below Airflow, or an address elsewhere."""
    docs, day = environment.home / "docs", published["run_date"]
    written = {
        "Report": pages.report_page(docs, site.site, day),
        "Data Docs": pages.checks_page(docs, site.site, day),
    }
    out: list[Row] = [
        {"label": label, "in": "page", "to": f"/docs/{path.relative_to(docs).as_posix()}"}
        for label, path in written.items()
        if path.exists()
    ]
    if address := _mlflow(environment, published):
        out.append({"label": "MLflow run", "in": "", "to": address})
    if run:
        out.append({"label": "DAG run", "in": "airflow", "to": run.path})
    return out


def _mlflow(environment: Environment, version: Row) -> str:
    return links.mlflow_run(environment, version["mlflow_run_id"], version["mlflow_experiment_id"])


def glance(figures: Mapping[str, Row]) -> list[Row]:
    """The figures to look at first, each with its interval where it has one, as text."""
    rows = []
    for name, label in GLANCE.items():
        if name not in figures:
            continue
        figure = figures[name]
        show = share if name in SHARES else "{:.4f}".format
        cells = {
            "value": show(figure["value"]),
            "interval": None if figure["low"] is None else f"{show(figure['low'])} to {show(figure['high'])}",
        }
        rows.append({"label": label, **(cells if name in (*SHARES, *FIGURES) else effect_cells(figure))})
    return rows


def lift(found: Mart) -> dict[str, Any]:
    """Estimated effects of both lists night by night on one axis, and what was measured of lists that were shown."""
    nights = found.nights(NIGHTLY, NIGHTS)
    drawn = [night["figures"][name] for night in nights for name in NIGHTLY[:2] if name in night["figures"]]
    measured = found.measured(MEASURED)
    return {"nights": nights, "axis": Axis.of(drawn), "measured": measured, "measured_axis": Axis.of(measured)}


def measured(rows: Sequence[Row]) -> str:
    """What was measured of the list measured last, in a sentence."""
    if not rows:
        return "What the lists really changed is not measured yet: nothing shown so far says that it came from one."
    row = rows[0]
    about = f", 90 % interval {row['low']:+.3f} to {row['high']:+.3f}" if row["low"] is not None else ""
    return (
        f"Measured, not estimated: those who got the list of {row['list_date']} had {row['value']:+.3f} outcomes a user"
        f" against the control group{about}."
    )


def overlap(rows: Sequence[Row]) -> dict[str, Any]:
    """The categories with most trials: effect with interval and share of trials with overlap; and how many more."""
    shown = [{**row, "value": row["estimate"]} for row in rows[:CATEGORIES]]
    return {"rows": shown, "axis": Axis.of(shown), "left_out": max(len(rows) - CATEGORIES, 0)}


def heat_map(rows: Sequence[Row], segments: Sequence[Row]) -> dict[str, Any] | None:
    """Segments in columns, the categories with most trials in rows; None where the version has no such effects.

    A cell is None where too few users are in it; ``step`` of a cell is -4 to 4, its share of the largest effect.
    """
    cells: dict[str, dict[str, Row]] = {}
    for row in rows:
        segment, category = json.loads(row["key"])
        cells.setdefault(category, {})[segment] = row
    if not cells:
        return None
    trials = {name: sum(row["treated"] + row["control"] for row in mine.values()) for name, mine in cells.items()}
    shown = sorted(cells, key=lambda name: (-trials[name], name))[:CATEGORIES]
    names = [f"{segment['segment']} {segment['segment_label']}" for segment in segments]
    largest = max(abs(row["estimate"]) for name in shown for row in cells[name].values()) or 1.0
    return {
        "segments": segments,
        "largest": largest,
        "left_out": len(cells) - len(shown),
        "rows": [(name, [_cell(cells[name].get(segment), largest) for segment in names]) for name in shown],
    }


def _cell(row: Row | None, largest: float) -> Row | None:
    if row is None:
        return None
    step = round(HEAT_STEPS * row["estimate"] / largest)
    return {**row, "step": step, "unsure": row["low"] <= 0 <= row["high"]}


def users_values(found: Mart | None, site: Site, prefix: str, after: str | None, user: str | None) -> dict[str, Any]:
    """Users of the published version that start with ``prefix``, and the two lists of ``user``."""
    values: dict[str, Any] = {"site": site.site, "prefix": prefix, "after": after, "user": user, "published": None}
    published = found.published() if found else None
    if found is None or published is None:
        return values
    version = published["version_id"]
    ids = found.users(version, prefix, USERS + 1, after)
    more = ids[USERS - 1] if len(ids) > USERS else None
    chosen = user_values(found, version, user) if user is not None else None
    said = proofs(found.figures(version)) if chosen else []
    return values | {"published": published, "ids": ids[:USERS], "next": more, "chosen": chosen, "proofs": said}


def user_values(found: Mart, version: str, user: str) -> dict[str, Any] | None:
    """Profile and both lists of a user; None where the version has no list of the user."""
    adjusted, plain = found.adjusted_list(version, user), found.relevance_list(version, user)
    if not adjusted:
        return None
    items = found.items(sorted({row["item_id"] for row in [*adjusted, *plain]}))
    places = {row["item_id"]: row["rank"] for row in plain}
    lists = {"adjusted": adjusted, "plain": plain}
    for row in [*adjusted, *plain]:
        row |= {"title": items.get(row["item_id"], {}).get("title"), "plain_rank": places.get(row["item_id"])}
    published_at = {row["item_id"]: row["rank"] for row in adjusted}
    for row in plain:
        row["adjusted_rank"] = published_at.get(row["item_id"])
    profile = found.profile(version, user)
    preferences = json.loads(profile["preferences"]) if profile else []
    likes = {kind: [one for one in preferences if kind in one] for kind in PREFERENCES}
    drawn = [{"low": row["effect_low"], "high": row["effect_high"]} for row in adjusted]
    return {
        **lists,
        "axis": Axis.of(drawn),
        "profile": profile,
        "likes": likes,
        "held_out": all(row["policy"] == "relevance" for row in adjusted),
    }
