"""Old versions go, what is published never does, and the chain still says what there was."""

from datetime import date, timedelta

import pytest
from psycopg import sql

from jobs.runtime import answers
from jobs.runtime.environment import Environment
from jobs.runtime.errors import NightliftError
from jobs.runtime.site import Site
from jobs.tables import mart, retention, versions
from jobs.tables import warehouse as tables
from tests import small_night

FIRST = date(2024, 1, 8)
DAYS = {f"{number:08x}": FIRST + timedelta(days=7 * number) for number in range(4)}
OLDEST, OLD, NEW, NEWEST = DAYS


@pytest.fixture
def site(shop: Site, warehouse: Environment) -> Site:
    """A shop that keeps ten days, with four weekly nights: two are older."""
    site = shop.model_copy(update={"keep_days": 10})
    for version in DAYS:
        publish(site, warehouse, version)
    return site


def publish(site: Site, environment: Environment, version: str) -> str:
    lists = small_night.lists(version, DAYS[version])
    return str(versions.publish(site, environment, lists, small_night.beside(), "proved")["state"])


def held(site: Site, environment: Environment) -> dict[str, set[str]]:
    """Versions with rows in each table of the mart."""
    found = {}
    with tables.connect(environment) as connection:
        for table in ("recommendations_history", *retention.BESIDE, "run_metrics", "versions"):
            name = sql.Identifier(site.warehouse.mart_schema, table)
            query = sql.SQL("SELECT DISTINCT version_id FROM {}").format(name)
            found[table] = {row[0] for row in tables.execute(connection, query)}
    return found


def test_lists_older_than_the_site_keeps_are_dropped_and_the_chain_says_so(warehouse: Environment, site: Site) -> None:
    assert retention.drop_old(site, warehouse) == [OLDEST, OLD]
    left = held(site, warehouse)
    assert left["versions"] == left["run_metrics"] == set(DAYS)
    assert all(left[table] == {NEW, NEWEST} for table in ("recommendations_history", *retention.BESIDE))
    cells = answers.status_words(site, versions.status(site, warehouse))[1]
    assert {line[1]: line[2] for line in cells} == {
        NEWEST: "published",
        NEW: "published before",
        OLD: "published before, lists dropped",
        OLDEST: "published before, lists dropped",
    }
    with mart.read(site, warehouse) as found:
        assert found is not None and [row["version_id"] for row in found.versions(None)] == [NEWEST, NEW]
    assert retention.drop_old(site, warehouse) == []


def test_the_published_version_and_what_is_asked_for_stay(warehouse: Environment, site: Site) -> None:
    versions.rollback(site, warehouse, OLDEST)
    assert retention.drop_old(site, warehouse) == [], "ten days are counted from what readers see"
    versions.rollback(site, warehouse, NEWEST)
    assert retention.drop_old(site, warehouse, {OLDEST}) == [OLD]
    assert held(site, warehouse)["recommendations_history"] == {OLDEST, NEW, NEWEST}


def test_a_version_published_between_choice_and_drop_stays(
    warehouse: Environment, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = retention._old(site, warehouse)
    versions.rollback(site, warehouse, OLD)
    monkeypatch.setattr(retention, "_old", lambda *_: chosen)
    assert retention.drop_old(site, warehouse) == [OLDEST]
    assert held(site, warehouse)["recommendations_history"] == {OLD, NEW, NEWEST}


def test_a_rollback_never_shows_a_version_without_lists(warehouse: Environment, site: Site) -> None:
    retention.drop_old(site, warehouse)
    assert versions.rollback(site, warehouse)["to"] == NEW
    with pytest.raises(NightliftError, match=r"lists of version before 2024-01-22 were dropped \(keep_days\)"):
        versions.rollback(site, warehouse)
    with pytest.raises(NightliftError, match=f"lists of version {OLD} were dropped"):
        versions.rollback(site, warehouse, OLD)


def test_a_dropped_night_run_again_has_its_lists_again_and_moves_nothing(warehouse: Environment, site: Site) -> None:
    before = held(site, warehouse)
    retention.drop_old(site, warehouse)
    assert publish(site, warehouse, OLDEST) == publish(site, warehouse, OLD) == "kept"
    assert held(site, warehouse) == before
    assert versions.rollback(site, warehouse, OLD)["to"] == OLD


def test_a_reader_of_an_old_version_is_left_alone_until_the_next_night(
    warehouse: Environment, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retention, "SECONDS", 0.2)
    with mart.read(site, warehouse) as reader:
        assert reader is not None and len(reader.adjusted_list(OLDEST, "u0")) == 2
        assert retention.drop_old(site, warehouse) == []
        assert f"version {OLDEST} is old and somebody reads it" in capsys.readouterr().out
        assert len(reader.adjusted_list(OLDEST, "u1")) == 2
    assert retention.drop_old(site, warehouse) == [OLDEST, OLD]
