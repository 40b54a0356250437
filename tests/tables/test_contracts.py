"""Contracts: every table is well-formed."""

import pytest

from jobs.tables import contracts
from jobs.tables.schema import ARROW, Table


@pytest.mark.parametrize("table", contracts.TABLES.values(), ids=lambda table: table.name)
def test_every_table_has_a_meaning_known_types_and_a_key_of_its_own_columns(table: Table) -> None:
    assert table.meaning.endswith(".")
    assert set(table.key) <= set(table.columns)
    assert all(kind.rstrip("?") in ARROW for kind in table.columns.values())
    assert table.incremental is None or table.incremental in table.columns


def test_features_are_distinct() -> None:
    assert len(set(contracts.FEATURES)) == len(contracts.FEATURES) > 30
