"""Publishing: whole versions only, one pointer, audits that can fail."""

import threading
import time
from datetime import date
from functools import partial

import pyarrow as pa
import pytest
from psycopg import sql

from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError, NightliftError
from jobs.runtime.site import Site
from jobs.tables import versions
from jobs.tables import warehouse as tables
from tests import small_night

MONDAY, TUESDAY = date(2024, 1, 8), date(2024, 1, 9)


lists = partial(small_night.lists, uplift=None, held_out=0, users=3)


def publish(site: Site, environment: Environment, new: pa.Table, force: bool = False) -> dict[str, object]:
    return versions.publish(site, environment, new, small_night.beside(), "effects proved", force)


def counts(site: Site, environment: Environment) -> dict[str, int]:
    names = ("recommendations", "recommendations_history", "versions", "item_effects", "run_metrics")
    mart = site.warehouse.mart_schema
    with tables.connect(environment) as connection:
        return {
            name: tables.execute(connection, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(mart, name)))[0][
                0
            ]
            for name in names
        }


def current(site: Site, environment: Environment) -> str:
    (row,) = [row for row in versions.status(site, environment) if row["published"]]
    return str(row["version_id"])


def test_a_version_is_published_with_all_beside_it(warehouse: Environment, shop: Site) -> None:
    done = publish(shop, warehouse, lists("aaaaaaaa", MONDAY))
    assert (done["state"], done["rows"]) == ("published", 6)
    assert counts(shop, warehouse) == {
        "recommendations": 6,
        "recommendations_history": 6,
        "versions": 1,
        "item_effects": 1,
        "run_metrics": len(small_night.HEADLINE),
    }


def test_the_same_version_again_adds_no_rows(warehouse: Environment, shop: Site) -> None:
    first = publish(shop, warehouse, lists("aaaaaaaa", MONDAY))
    before = counts(shop, warehouse)
    again = publish(shop, warehouse, lists("aaaaaaaa", MONDAY, run="another")[::-1])
    assert again["state"] == "unchanged"
    assert again["checksum"] == first["checksum"]
    assert counts(shop, warehouse) == before


def test_the_same_version_with_other_rows_is_refused(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, lists("aaaaaaaa", MONDAY))
    with pytest.raises(DataError, match="not deterministic"):
        publish(shop, warehouse, lists("aaaaaaaa", MONDAY, score=0.6))
    assert counts(shop, warehouse)["recommendations"] == 6


def test_an_older_run_date_is_kept_unless_forced(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, lists("bbbbbbbb", TUESDAY))
    assert publish(shop, warehouse, lists("aaaaaaaa", MONDAY))["state"] == "kept"
    assert current(shop, warehouse) == "bbbbbbbb"
    assert counts(shop, warehouse)["recommendations_history"] == 12
    assert publish(shop, warehouse, lists("aaaaaaaa", MONDAY), force=True)["version_id"] == "aaaaaaaa"
    assert current(shop, warehouse) == "aaaaaaaa"


def test_rollback_shows_the_version_before_and_a_named_one(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, lists("aaaaaaaa", MONDAY))
    publish(shop, warehouse, lists("bbbbbbbb", TUESDAY))
    assert versions.rollback(shop, warehouse)["to"] == "aaaaaaaa"
    assert current(shop, warehouse) == "aaaaaaaa"
    with pytest.raises(NightliftError, match="no version before 2024-01-08"):
        versions.rollback(shop, warehouse)
    assert versions.rollback(shop, warehouse, "bbbbbbbb")["to"] == "bbbbbbbb"
    with pytest.raises(NightliftError, match="no version ffff"):
        versions.rollback(shop, warehouse, "ffff")
    assert current(shop, warehouse) == "bbbbbbbb"


def test_rollback_names_the_models_of_the_lists_it_shows(warehouse: Environment, shop: Site) -> None:
    for version, day in (("aaaaaaaa", MONDAY), ("bbbbbbbb", TUESDAY)):
        publish(shop, warehouse, lists(version, day))
    assert versions.rollback(shop, warehouse) == {
        "from": "bbbbbbbb",
        "to": "aaaaaaaa",
        "run_date": MONDAY,
        "ranker_version": "1",
        "uplift_version": None,
    }


def test_rollback_of_nothing_says_so(warehouse: Environment, shop: Site) -> None:
    with pytest.raises(NightliftError, match="nothing is published"):
        versions.rollback(shop, warehouse)


def test_a_night_run_again_does_not_undo_a_rollback_unless_forced(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, lists("aaaaaaaa", MONDAY))
    publish(shop, warehouse, lists("bbbbbbbb", TUESDAY))
    versions.rollback(shop, warehouse)
    assert publish(shop, warehouse, lists("bbbbbbbb", TUESDAY))["state"] == "kept"
    assert current(shop, warehouse) == "aaaaaaaa"
    assert publish(shop, warehouse, lists("bbbbbbbb", TUESDAY), force=True)["state"] == "published"
    assert current(shop, warehouse) == "bbbbbbbb"


def test_a_version_without_rows_is_refused(warehouse: Environment, shop: Site) -> None:
    with pytest.raises(DataError, match="has no rows"):
        publish(shop, warehouse, lists("aaaaaaaa", MONDAY, users=0))


def replaced(table: pa.Table, column: str, values: list[object]) -> pa.Table:
    at = table.column_names.index(column)
    return table.set_column(at, table.field(column), pa.array(values, table.field(column).type))


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("item_id", ["i1", "i1", "i1", "i2"], "an item twice"),
        ("rank", [1, 3, 1, 2], "ranks are not 1, 2, 3"),
        ("rank", [1, 1, 1, 2], "ranks are not 1, 2, 3"),
        ("score", [0.1, 0.2, 0.5, 0.4], "not sorted by score"),
        ("effect", [0.5, 0.02, 0.02, 0.02], "interval does not hold"),
        ("propensity", [0.0, 1.0, 1.0, 1.0], r"propensity is not in \(0, 1\]"),
    ],
)
def test_a_failed_audit_publishes_nothing(
    warehouse: Environment, shop: Site, column: str, values: list[object], said: str
) -> None:
    publish(shop, warehouse, lists("aaaaaaaa", MONDAY))
    before = counts(shop, warehouse)
    with pytest.raises(DataError, match=said):
        publish(shop, warehouse, replaced(lists("bbbbbbbb", TUESDAY, users=2), column, values))
    assert counts(shop, warehouse) == before
    assert current(shop, warehouse) == "aaaaaaaa"


def test_a_leftover_of_a_killed_attempt_is_replaced(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, lists("aaaaaaaa", MONDAY))
    with tables.connect(warehouse) as connection:
        leftover = sql.Identifier(shop.warehouse.mart_schema, "recommendations_bbbbbbbb")
        connection.execute(sql.SQL("CREATE TABLE {} (half text)").format(leftover))
    assert publish(shop, warehouse, lists("bbbbbbbb", TUESDAY))["state"] == "published"
    assert counts(shop, warehouse)["recommendations"] == 6


def test_a_polling_reader_sees_whole_versions_only(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, lists("aaaaaaaa", MONDAY, users=10))
    old, new = ("aaaaaaaa", "aaaaaaaa", 20), ("bbbbbbbb", "bbbbbbbb", 40)
    stop, looked, seen = threading.Event(), threading.Event(), []

    def poll() -> None:
        view = sql.Identifier(shop.warehouse.mart_schema, "recommendations")
        query = sql.SQL("SELECT min(version_id), max(version_id), count(*) FROM {}").format(view)
        with tables.connect(warehouse, autocommit=True) as connection:
            while not stop.is_set():
                seen.extend(tables.execute(connection, query))
                looked.set()

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        assert looked.wait(60)
        publish(shop, warehouse, lists("bbbbbbbb", TUESDAY, users=20))
        for version in ("aaaaaaaa", "bbbbbbbb") * 3:
            looked.clear()
            assert looked.wait(60)
            versions.rollback(shop, warehouse, version)
        looked.clear()
        assert looked.wait(60)
    finally:
        stop.set()
        reader.join()
    assert set(seen) == {old, new}


@pytest.mark.parametrize("ends", [True, False])
def test_the_pointer_waits_for_statements_planned_before_the_version_but_not_for_ever(
    warehouse: Environment, shop: Site, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    publish(shop, warehouse, lists("aaaaaaaa", MONDAY, users=2))
    monkeypatch.setattr(versions, "READERS_SECONDS", 60.0 if ends else 0.5)
    history = sql.Identifier(shop.warehouse.mart_schema, "recommendations_history")
    with tables.connect(warehouse) as reader:
        tables.execute(reader, sql.SQL("SELECT count(*) FROM {}").format(history))
        started = time.monotonic()
        publisher = threading.Thread(target=publish, args=(shop, warehouse, lists("bbbbbbbb", TUESDAY, users=2)))
        publisher.start()
        publisher.join(3 if ends else 60)
        assert publisher.is_alive() == ends
        assert published(shop, warehouse) == ("aaaaaaaa" if ends else "bbbbbbbb")
        assert time.monotonic() - started >= 0.5
        reader.rollback()
    publisher.join()
    assert published(shop, warehouse) == "bbbbbbbb"


def published(shop: Site, warehouse: Environment) -> str:
    (now,) = [row["version_id"] for row in versions.status(shop, warehouse) if row["published"]]
    return now


@pytest.mark.parametrize("column", ["score", "effect", "effect_high", "relevance"])
def test_a_number_that_is_none_is_refused(warehouse: Environment, shop: Site, column: str) -> None:
    new = replaced(lists("aaaaaaaa", MONDAY, users=1), column, [float("nan"), float("nan")])
    with pytest.raises(DataError, match="nothing was published"):
        publish(shop, warehouse, new)


def test_a_list_longer_than_the_site_allows_is_refused(warehouse: Environment, shop: Site) -> None:
    short = shop.model_copy(update={"list_length": 1})
    with pytest.raises(DataError, match="nothing was published"):
        publish(short, warehouse, lists("aaaaaaaa", MONDAY))


def test_rows_of_two_nights_are_refused(warehouse: Environment, shop: Site) -> None:
    new = replaced(lists("aaaaaaaa", MONDAY, users=1), "run_date", [MONDAY, TUESDAY])
    with pytest.raises(DataError, match="nothing was published"):
        publish(shop, warehouse, new)


def test_the_champion_is_behind_what_was_published_last_before_the_night(warehouse: Environment, shop: Site) -> None:
    assert versions.model_before(shop, warehouse, MONDAY, "uplift") is None
    first = lists("aaaaaaaa", MONDAY)
    publish(shop, warehouse, first)
    (ranker, uplift) = (first[f"{model}_version"][0].as_py() for model in ("ranker", "uplift"))
    assert versions.model_before(shop, warehouse, MONDAY, "uplift") is None, "its own night is not before it"
    assert versions.model_before(shop, warehouse, TUESDAY, "ranker") == ranker
    place = first.column_names.index("uplift_version")
    later = lists("bbbbbbbb", TUESDAY)
    none = pa.nulls(later.num_rows, pa.string())
    publish(shop, warehouse, later.set_column(place, later.schema.field(place), none))
    wednesday = TUESDAY + (TUESDAY - MONDAY)
    assert versions.model_before(shop, warehouse, wednesday, "uplift") == uplift, "the last that had one"
    other = lists("cccccccc", TUESDAY).set_column(
        later.column_names.index("ranker_version"), later.schema.field("ranker_version"), pa.array(["9"] * 6)
    )
    publish(shop, warehouse, other, force=True)
    assert versions.model_before(shop, warehouse, wednesday, "ranker") == "9"
    versions.rollback(shop, warehouse, "bbbbbbbb")
    assert versions.model_before(shop, warehouse, wednesday, "ranker") == ranker, "what a rollback chose is champion"
    assert versions.model_before(shop, warehouse, TUESDAY, "ranker") == ranker
