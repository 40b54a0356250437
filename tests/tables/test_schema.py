"""Schemas: what is missing, retyped or unknown is named with the table and the place."""

import pyarrow as pa
import pytest

from jobs.runtime.errors import DataError
from jobs.tables.schema import Table

VISITS = Table("visits", "Visits by day.", {"user_id": "string", "day": "date", "visits": "int64?"}, ("user_id", "day"))
FOUND = {"user_id": "string", "day": "date", "visits": "bigint"}


def test_arrow_and_spark_agree_on_names_types_and_nulls() -> None:
    assert VISITS.arrow_schema == pa.schema(
        [
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("day", pa.date32(), nullable=False),
            pa.field("visits", pa.int64()),
        ]
    )
    assert VISITS.spark_ddl == "`user_id` string, `day` date, `visits` bigint"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({name: kind for name, kind in FOUND.items() if name != "day"}, "missing columns day"),
        (FOUND | {"visits": "string"}, "visits is string, not bigint"),
        (FOUND | {"colour": "string"}, "unknown columns colour"),
        ({"user_id": "int", "day": "date", "hour": "int"},
         "missing columns visits; user_id is int, not string; unknown columns hour"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_columns_is_named_at_once(found: dict[str, str], said: str) -> None:
    with pytest.raises(DataError) as error:
        VISITS.check_columns(found, "here")
    assert str(error.value) == f"visits in here: {said}"


def test_the_columns_of_the_table_pass_and_only_an_open_table_takes_more() -> None:
    columns, key = {"user_id": "string"}, ("user_id",)
    VISITS.check_columns(FOUND, "here")
    Table("people", "People.", columns, key, open=True).check_columns(FOUND, "here")
    with pytest.raises(DataError, match="people in here: unknown columns day, visits"):
        Table("people", "People.", columns, key).check_columns(FOUND, "here")
