"""Ids of every kind from the lists to the reader: published, found, explained and rolled back to the last character."""

import hashlib
import json
from datetime import date

import pyarrow as pa

from jobs.runtime import answers
from jobs.runtime.environment import Environment
from jobs.runtime.site import Site
from jobs.tables import contracts, mart, versions
from tests import small_night
from tests.hostile import HOSTILE

MONDAY, TUESDAY = date(2024, 1, 8), date(2024, 1, 9)
LONG = tuple(hashlib.sha256(bytes([n])).hexdigest() * 7 for n in range(2))  # 448 characters that no index can shrink
IDS = (*HOSTILE, *(one[:400] for one in LONG))


def lists(version: str, day: date) -> pa.Table:
    """The two places of a user for every id; each id is an item, too."""
    pair = small_night.lists(version, day).slice(0, 2).to_pylist()
    rows = [
        place | {"user_id": user, "item_id": IDS[(number + rank) % len(IDS)], "reason": user}
        for number, user in enumerate(IDS)
        for rank, place in enumerate(pair)
    ]
    return pa.Table.from_pylist(rows, schema=contracts.RECOMMENDATIONS.arrow_schema)


def beside() -> dict[str, pa.Table]:
    tables = small_night.beside()
    profile, effect = (tables[name].to_pylist()[0] for name in ("user_profiles", "item_effects"))
    categories = [one[:200] for one in IDS]
    keys = [json.dumps(["few purchases, many visits (12)", one]) for one in categories]
    rows = {
        "user_profiles": [profile | {"user_id": one, "segment_label": one} for one in IDS],
        "item_effects": [effect | {"level": "segment_category", "key": key} for key in keys]
        + [
            effect | {"level": level, "key": key}
            for level, names in (("item", IDS), ("category", categories))
            for key in names
        ],
    }
    made = {name: pa.Table.from_pylist(some, schema=contracts.TABLES[name].arrow_schema) for name, some in rows.items()}
    return tables | made


def test_ids_are_published_found_explained_and_rolled_back(shop: Site, warehouse: Environment) -> None:
    for version, day in (("aaaaaaaa", MONDAY), ("bbbbbbbb", TUESDAY)):
        assert versions.publish(shop, warehouse, lists(version, day), beside(), "it's proved")["state"] == "published"
    with mart.read(shop, warehouse) as found:
        assert found is not None
        assert set(found.users("bbbbbbbb", "", 100)) == set(IDS)
        for number, user in enumerate(IDS):
            assert found.users("bbbbbbbb", user, 10) == [user], "its own id is the start of nobody else's"
            rows = answers.explain(shop, warehouse, user)
            assert [row["item_id"] for row in rows] == [IDS[(number + rank) % len(IDS)] for rank in (0, 1)]
            assert {row["reason"] for row in rows} == {row["segment"] for row in rows} == {user}
        assert {row["key"] for row in found.effects("bbbbbbbb", "item", "aipw")} == set(IDS)
    assert versions.rollback(shop, warehouse)["to"] == "aaaaaaaa"


def test_a_pattern_in_an_id_finds_itself_only(shop: Site, warehouse: Environment) -> None:
    versions.publish(shop, warehouse, lists("aaaaaaaa", MONDAY), beside(), "proved")
    with mart.read(shop, warehouse) as found:
        assert found is not None
        for pattern in ("%", "_", "$$ {raw} %s", "\\", "%'"):
            assert found.users("aaaaaaaa", pattern, 100) == [one for one in sorted(IDS) if one.startswith(pattern)]


def test_every_table_is_still_there(shop: Site, warehouse: Environment) -> None:
    versions.publish(shop, warehouse, lists("aaaaaaaa", MONDAY), beside(), "'; DROP SCHEMA mart CASCADE; --")
    assert versions.status(shop, warehouse)[0]["verdict"] == "'; DROP SCHEMA mart CASCADE; --"
