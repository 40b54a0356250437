"""The benchmark asks for pages that say something: every one is there, and the user in the midst has both lists."""

from pathlib import Path

import pytest
import yaml

from benchmarks import effects_page
from jobs.runtime.environment import Environment
from jobs.runtime.site import Site
from tests.plugins.airflow_web import Web

USERS = 60


@pytest.fixture
def many(shop: Site, warehouse: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The benchmark's site, with two nights of lists."""
    many = shop.model_copy(update={"site": "many"})
    (tmp_path / "many.yaml").write_text(yaml.safe_dump(many.model_dump(mode="json")), encoding="utf-8")
    for name, value in (("WAREHOUSE_URL", warehouse.warehouse_url), ("NIGHTLIFT_SITES", str(tmp_path))):
        monkeypatch.setenv(name, value)
    effects_page.fill(many, warehouse, USERS, 2)
    return many


def test_every_page_is_timed_and_holds_what_was_published(web: Web, many: Site) -> None:
    found = effects_page.latencies(web, "many", USERS, 2)
    paths, client = effects_page.addresses("many", USERS), web.client("admin")
    assert list(found.index) == list(paths) and (found["median"] > 0).all()
    whole = client.get(paths["a site: verdict, lift, overlap, heat map, versions"]).text
    for words in (f"{USERS * many.list_length} places for {USERS} users", "segment 7", "category-1", "heat-plus-4"):
        assert words in whole, words
    assert "user-000031" in client.get(paths["users, a page in the midst"]).text
    assert "no list" in client.get(paths["an unknown user"]).text
    assert client.get(paths["a user's two lists"]).text.count("item-") >= 2 * many.list_length


def test_a_page_that_is_not_there_has_no_time(web: Web, many: Site) -> None:
    with pytest.raises(AssertionError, match="404"):
        effects_page.latencies(web, "nowhere", USERS, 1)
