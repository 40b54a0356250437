"""What a table of the lake is: its columns with their types, its key, and the check of what is found.

Types are Arrow's names. An ``open`` table carries further columns, which are attributes.
"""

from dataclasses import dataclass

import pyarrow as pa

from jobs.runtime.errors import DataError

ARROW = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "int64s": pa.list_(pa.int64()),
}
SPARK = {
    "string": "string",
    "int32": "int",
    "int64": "bigint",
    "float32": "float",
    "float64": "double",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "int64s": "array<bigint>",
}

# characters; an index of the warehouse takes no row of more than 2,704 bytes
LONGEST = {"user_id": 400, "item_id": 400, "event_id": 400, "exposure_id": 400, "category": 200}


@dataclass(frozen=True)
class Table:
    """One table: ``columns`` maps a column to its type, a trailing ``?`` where it may be null."""

    name: str
    meaning: str
    columns: dict[str, str]
    key: tuple[str, ...]
    open: bool = False
    incremental: str | None = None  # the day column by which a night adds only what is new

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return list(self.columns)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the fixed columns."""
        return pa.schema(
            pa.field(name, ARROW[kind.rstrip("?")], nullable=kind.endswith("?")) for name, kind in self.columns.items()
        )

    @property
    def spark_ddl(self) -> str:
        """The fixed columns as a Spark DDL string."""
        return ", ".join(f"`{name}` {SPARK[kind.rstrip('?')]}" for name, kind in self.columns.items())

    def check_columns(self, found: dict[str, str], where: str) -> None:
        """DataError where a column is missing, retyped or, in a closed table, unknown; ``found`` has Spark's names."""
        missing = [name for name in self.columns if name not in found]
        retyped = [
            f"{name} is {found[name]}, not {SPARK[kind.rstrip('?')]}"
            for name, kind in self.columns.items()
            if name in found and found[name] != SPARK[kind.rstrip("?")]
        ]
        unknown = [] if self.open else sorted(set(found) - set(self.columns))
        problems = [
            f"missing columns {', '.join(missing)}" if missing else "",
            "; ".join(retyped),
            f"unknown columns {', '.join(unknown)}" if unknown else "",
        ]
        if any(problems):
            raise DataError(f"{self.name} in {where}: {'; '.join(filter(None, problems))}")
