"""Contracts: every table is well-formed, and a wrong column is named."""

import pytest

from jobs.runtime.errors import DataError
from jobs.tables import contracts


@pytest.mark.parametrize("table", contracts.TABLES.values(), ids=lambda table: table.name)
def test_every_table_has_a_meaning_known_types_and_a_key_of_its_own_columns(table: contracts.Table) -> None:
    assert table.meaning.endswith(".")
    assert set(table.key) <= set(table.columns)
    assert all(kind.rstrip("?") in contracts.ARROW for kind in table.columns.values())
    assert table.incremental is None or table.incremental in table.columns


def test_features_are_distinct() -> None:
    assert len(set(contracts.FEATURES)) == len(contracts.FEATURES) > 30


def test_a_closed_table_refuses_an_unknown_column_and_an_open_one_takes_it() -> None:
    with pytest.raises(DataError, match="pair_periods in here: unknown columns colour"):
        contracts.PAIR_PERIODS.check_columns(
            {"user_id": "string", "item_id": "string", "shown": "bigint", "outcome": "bigint", "colour": "string"},
            "here",
        )
    contracts.USERS.check_columns({"user_id": "string", "colour": "string"}, "here")
