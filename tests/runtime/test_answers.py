"""What people ask the command line, as rows for programs and as words for a support person."""

from datetime import date

import pyarrow as pa
import pytest
from psycopg import sql

from jobs.runtime import answers
from jobs.runtime.environment import Environment
from jobs.runtime.errors import NightliftError
from jobs.runtime.site import Site
from jobs.tables import contracts, roles, versions
from jobs.tables import warehouse as tables
from tests import small_night

MONDAY, TUESDAY = date(2024, 1, 8), date(2024, 1, 9)


def publish(site: Site, environment: Environment, version: str, day: date, **changed: object) -> None:
    rows = [row | changed for row in small_night.lists(version, day).to_pylist()]
    lists = pa.Table.from_pylist(rows, schema=contracts.RECOMMENDATIONS.arrow_schema)
    versions.publish(site, environment, lists, small_night.beside(), "effects proved")


def test_explain_has_the_same_keys_for_every_item_and_names_from_the_warehouse(
    warehouse: Environment, shop: Site
) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    with tables.connect(warehouse) as connection:
        tables.create_raw(connection, shop.warehouse.raw_schema)
        items = sql.Identifier(shop.warehouse.raw_schema, "items")
        connection.execute(
            sql.SQL("INSERT INTO {} (item_id, title, category) VALUES ('i1', 'Milk', 'dairy')").format(items)
        )
        roles.grant_raw(connection, shop.warehouse.raw_schema)
    rows = answers.explain(shop, warehouse, "u0")
    assert [tuple(row) for row in rows] == [answers.EXPLAINED] * 2
    named = [(row["item_id"], row["title"], row["category"]) for row in rows]
    assert named == [("i1", "Milk", "dairy"), ("i2", None, None)]
    assert {(row["version_id"], row["run_date"], row["segment"]) for row in rows} == {
        ("aaaaaaaa", MONDAY, "few purchases")
    }


def test_explain_can_be_read_out(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY, identified=False)
    headline, cells, notes = answers.explain_words(shop, "u0", answers.explain(shop, warehouse, "u0"))
    assert headline == "User u0, segment few purchases: 2 items, night of 2024-01-08, version aaaaaaaa"
    assert cells[0] == ["1", "i1", "none", "10.0 %", "+2.00 (+1.00 to +3.00)", "no", "adjusted", "because"]
    assert len(cells[0]) == len(answers.LIST_HEAD)
    assert any("purchase within 7 days" in note for note in notes)
    assert any(note.startswith("identified no:") for note in notes)
    assert [note for note in notes if note.startswith("policy")] == [f"policy adjusted: {answers.POLICIES['adjusted']}"]


def test_beside_a_list_stands_what_the_night_proves(warehouse: Environment, shop: Site) -> None:
    assert answers.proved(shop, warehouse) == []
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    average, single, ranking = answers.proved(shop, warehouse)
    assert average.endswith("that is proved.") and "12.5 % (90 % interval 10.0 to 15.0 %) have" in single
    assert "ranking by effect brings more than ranking by relevance" in ranking


def test_what_is_identified_needs_no_note(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    notes = answers.explain_words(shop, "u0", answers.explain(shop, warehouse, "u0"))[2]
    assert not any(note.startswith("identified no:") for note in notes)


def test_a_user_without_a_list_and_a_site_without_a_night_are_one_line(warehouse: Environment, shop: Site) -> None:
    with pytest.raises(NightliftError, match="nothing is published yet; run a night"):
        answers.explain(shop, warehouse, "u0")
    with pytest.raises(NightliftError, match="has no version of 2024-01-08"):
        answers.night(shop, warehouse, MONDAY)
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    with pytest.raises(NightliftError, match="user 'U0' has no list in version aaaaaaaa of 2024-01-08"):
        answers.explain(shop, warehouse, "U0")


def test_status_says_which_version_readers_see(warehouse: Environment, shop: Site) -> None:
    assert answers.status_words(shop, versions.status(shop, warehouse))[1] == []
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    publish(shop, warehouse, "bbbbbbbb", TUESDAY)
    versions.rollback(shop, warehouse)
    rows = versions.status(shop, warehouse)
    assert list(rows[0]) == [
        "version_id", "run_date", "published", "published_at", "loaded_at", "dropped_at", "rows", "checksum",
        "ranker_version", "uplift_version", "mlflow_run_id", "verdict",
    ]  # fmt: skip
    headline, cells = answers.status_words(shop, rows)
    assert headline == "Published: the night of 2024-01-08, version aaaaaaaa, 8 places; effects proved"
    assert [(line[1], line[2]) for line in cells] == [("bbbbbbbb", "published before"), ("aaaaaaaa", "published")]
    assert all(len(line) == len(answers.STATUS_HEAD) for line in cells)


def test_a_night_shows_one_users_two_lists_side_by_side(warehouse: Environment, shop: Site) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    publish(shop, warehouse, "bbbbbbbb", TUESDAY)
    found = answers.night(shop, warehouse, MONDAY)  # also of a night that is no longer the published one
    assert (found["version_id"], found["user_id"], found["rows"]) == ("aaaaaaaa", "u0", 8)
    top, beside = answers.night_words(found)
    assert [line[0] for line in top] == ["1", "2"]
    assert beside == [["1", "i1", "i1"], ["2", "no item", "i2"]]
