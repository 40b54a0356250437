"""What people ask the command line: what is published, why a user gets an item, what a night brought.

Rows are for programs and keep their keys; ``*_words`` say the same to a support person.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from jobs.runtime.environment import Environment
from jobs.runtime.errors import NightliftError
from jobs.runtime.figure_words import points, points_between
from jobs.runtime.proof_words import proofs
from jobs.runtime.site import Site
from jobs.tables import mart
from jobs.tables.mart import Mart

Row = dict[str, Any]
Words = list[list[str]]
EXPLAINED = (
    "rank",
    "item_id",
    "title",
    "category",
    "policy",
    "score",
    "relevance",
    "effect",
    "effect_low",
    "effect_high",
    "identified",
    "propensity",
    "reason",
    "segment",
    "version_id",
    "run_date",
)
LIST_HEAD = ("place", "item", "category", "relevance", "effect and 90 % interval, pp", "identified", "policy", "reason")
STATUS_HEAD = ("night of", "version", "state", "places", "ranker", "uplift", "shown from", "verdict")
POLICIES = {
    "adjusted": "ranked by what showing the item changes",
    "relevance": "ranked by relevance alone: a user of the control group, or effects that were not proved",
    "explore": "a random place with a known probability, so that the log can tell what showing changes",
}
TOP = 10


def explain(site: Site, environment: Environment, user: str) -> list[Row]:
    """The published list of a user, best first, with the keys EXPLAINED; NightliftError where there is none."""
    with mart.read(site, environment) as found:
        published = found.published() if found else None
        if found is None or published is None:
            raise NightliftError(_nothing(site))
        rows = _list_of(found, published, user)
    if not rows:
        raise NightliftError(
            f"user {user!r} has no list in version {published['version_id']} of {published['run_date']};"
            " upper and lower case of an id count"
        )
    return rows


def proved(site: Site, environment: Environment) -> list[str]:
    """What the published version proves and what it does not, in sentences; none where its figures do not say."""
    with mart.read(site, environment) as found:
        published = found.published() if found else None
        return proofs(found.figures(published["version_id"])) if found and published else []


def night(site: Site, environment: Environment, run_date: date) -> Row:
    """The version of a night, and one of its users: ``list`` as in ``explain`` and ``relevance`` as items by rank."""
    with mart.read(site, environment) as found:
        mine = [row for row in found.versions(None) if row["run_date"] == run_date] if found else []
        if found is None or not mine:
            raise NightliftError(f"{site.warehouse.mart_schema}.recommendations has no version of {run_date}")
        user = found.example_user(mine[0]["version_id"])
        plain = found.relevance_list(mine[0]["version_id"], user)
        items = found.items([row["item_id"] for row in plain])
        return mine[0] | {
            "user_id": user,
            "list": _list_of(found, mine[0], user),
            "relevance": {row["rank"]: item_words(row | items.get(row["item_id"], {})) for row in plain},
        }


def _list_of(found: Mart, version: Mapping[str, Any], user: str) -> list[Row]:
    rows = found.adjusted_list(version["version_id"], user)
    items = found.items([row["item_id"] for row in rows])
    profile = found.profile(version["version_id"], user)
    about = {"segment": profile["segment_label"] if profile else None} | {
        name: version[name] for name in ("version_id", "run_date")
    }
    unnamed = {"title": None, "category": None}
    whole = [row | unnamed | items.get(row["item_id"], {}) | about for row in rows]
    return [{name: row[name] for name in EXPLAINED} for row in whole]


def explain_words(site: Site, user: str, rows: Sequence[Row]) -> tuple[str, Words, list[str]]:
    """A headline, the cells below LIST_HEAD, and what the words in them mean."""
    first = rows[0]
    segment = f", segment {first['segment']}" if first["segment"] else ""
    headline = f"User {user}{segment}: {len(rows)} items, night of {first['run_date']}, version {first['version_id']}"
    outcome = f"{' or '.join(site.outcome.event_types)} within {site.outcome.window_days} days"
    notes = [
        f"effect: by how many percentage points (pp) showing the item changes the probability of {outcome}",
        "relevance: that probability if nothing is known about showing",
    ]
    if not all(row["identified"] for row in rows):
        notes.append("identified no: the log has no fair comparison for this user and item; others stand in for it")
    notes += [f"policy {name}: {said}" for name, said in POLICIES.items() if name in {row["policy"] for row in rows}]
    return headline, list_words(rows), notes


def list_words(rows: Sequence[Row]) -> Words:
    """Cells of a list, one row an item."""
    return [
        [
            str(row["rank"]),
            item_words(row),
            row["category"] or "none",
            f"{100 * row['relevance']:.1f} %",
            f"{points(row['effect'], '')} ({points_between(row['effect_low'], row['effect_high'], '')})",
            "yes" if row["identified"] else "no",
            row["policy"],
            row["reason"],
        ]
        for row in rows
    ]


def item_words(row: Mapping[str, Any]) -> str:
    """An item by its title and id, or its id alone."""
    return f"{row['title']} ({row['item_id']})" if row.get("title") else str(row["item_id"])


def night_words(found: Row) -> tuple[Words, Words]:
    """Cells of the first ten places of the user of ``night``, and the relevance list beside them."""
    top = found["list"][:TOP]
    beside = [[str(row["rank"]), found["relevance"].get(row["rank"], "no item"), item_words(row)] for row in top]
    return list_words(top), beside


def status_words(site: Site, rows: Sequence[Row]) -> tuple[str, Words]:
    """A headline and the cells below STATUS_HEAD; ``rows`` are those of ``versions.status``."""
    shown = next((row for row in rows if row["published"]), None)
    if shown is None:
        return _nothing(site), []
    headline = (
        f"Published: the night of {shown['run_date']}, version {shown['version_id']}, {shown['rows']:,} places;"
        f" {shown['verdict']}"
    )
    cells = [
        [
            str(row["run_date"]),
            row["version_id"],
            _state(row),
            f"{row['rows']:,}",
            row["ranker_version"],
            row["uplift_version"] or "none",
            f"{row['published_at']:%Y-%m-%d %H:%M}" if row["published_at"] else "never",
            row["verdict"],
        ]
        for row in rows
    ]
    return headline, cells


def _state(row: Mapping[str, Any]) -> str:
    """Published, or what became of a version that is not; without lists there is nothing to roll back to."""
    before = "published before" if row["published_at"] else "loaded only"
    return "published" if row["published"] else f"{before}, lists dropped" if row["dropped_at"] else before


def _nothing(site: Site) -> str:
    schema = site.warehouse.mart_schema
    return f"{schema}.recommendations: nothing is published yet; run a night: `python -m jobs run --site {site.site}`"
