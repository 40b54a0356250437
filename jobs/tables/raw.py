"""How the raw tables are read: accepted types, what the warehouse casts, and an order that rows always have."""

from collections.abc import Mapping

from psycopg import sql

from jobs.tables import warehouse
from jobs.tables.schema import Table

_TIMES = {"timestamp with time zone", "timestamp without time zone", "date"}
_WHOLE = {"smallint", "integer", "bigint"}
_NUMBERS = {*_WHOLE, "real", "double precision", "numeric"}
_TEXT = ("text", "character varying")
_PLAIN = {*_TEXT, "boolean", *(_NUMBERS - {"numeric"}), *_TIMES}  # read as they are
_NO_TEXT = {"boolean", "real", "double precision", "json", "jsonb", "bytea", "interval", *_TIMES}
_ACCEPTED = {"double precision": _NUMBERS, "integer": _WHOLE, "timestamptz": _TIMES}
RESERVED = ("reason",)  # what the cleaner calls its own column


def name(table: Table) -> str:
    """Name of a raw table in the warehouse."""
    return table.name.removeprefix("raw_")


def problems(table: Table, found: Mapping[str, str]) -> list[str]:
    """What is wrong with the columns of a raw table; ``found`` maps them to their PostgreSQL types."""
    wanted = warehouse.RAW_COLUMNS[name(table)]
    missing = [column for column in warehouse.REQUIRED[name(table)] if column not in found]
    said = [f"missing required columns {', '.join(missing)}"] if missing else []
    for column, kind in wanted.items():
        if column in found and not _fits(found[column], kind):
            said.append(f"column {column} is {found[column]}, not {kind}")
    lower: dict[str, str] = {}
    for column in found:
        twin = lower.setdefault(column.lower(), column)
        if twin != column:
            said.append(f"columns {twin} and {column} differ in case only")
    return said


def _fits(kind: str, wanted: str) -> bool:
    if wanted == "text":  # numbers, enums, uuids have one way to be written
        return kind not in _NO_TEXT and not kind.endswith("[]")
    return kind in _ACCEPTED[wanted]


def attributes(table: Table, found: Mapping[str, str]) -> list[str]:
    """Columns beyond the contract, in order."""
    return [column for column in found if column not in table.columns and column not in RESERVED]


def columns(table: Table, found: Mapping[str, str]) -> dict[str, sql.Composable]:
    """What to select of a raw table by column: the contract's columns as its types, then the attributes.

    A number of any precision is a double, JSON and whatever else Arrow has no type for is text, and an infinite time
    says as much as none. Text sorts by its bytes: by the database's language, the same rows would give another file on
    another server.
    """
    wanted = warehouse.RAW_COLUMNS[name(table)]
    names = [column for column in table.columns if column in found] + attributes(table, found)
    return {column: _expression(table, column, found[column], wanted.get(column)) for column in names}


def _expression(table: Table, column: str, kind: str, wanted: str | None) -> sql.Composable:
    quoted: sql.Composable = sql.Identifier(column)
    value = quoted
    if kind in _TIMES and column != warehouse.TIMES.get(name(table)):
        value = sql.SQL("CASE WHEN isfinite({}) THEN {} END").format(quoted, quoted)
    if wanted is None:
        wanted = kind if kind in _PLAIN else "double precision" if kind == "numeric" else "text"
    as_it_is = (
        kind == wanted
        or wanted == "integer"
        or (wanted, kind)
        in {
            ("text", "character varying"),
            ("timestamptz", "timestamp with time zone"),
        }
    )
    value = value if as_it_is else sql.SQL("({})::{}").format(value, sql.SQL(wanted))
    return sql.SQL('{} COLLATE "C"').format(value) if wanted in _TEXT else value


def select(table: Table, schema: str, what: Mapping[str, sql.Composable], where: sql.Composable) -> sql.Composable:
    """The SELECT of a raw table, ordered by time, key and everything else: the same rows give the same file."""
    first = [warehouse.TIMES.get(name(table)), warehouse.KEYS[name(table)]]
    order = [column for column in first if column] + [column for column in what if column not in first]
    return sql.SQL("SELECT {} FROM {} {} ORDER BY {}").format(
        sql.SQL(", ").join(sql.SQL("{} AS {}").format(value, sql.Identifier(column)) for column, value in what.items()),
        warehouse.ident(schema, name(table)),
        where,
        sql.SQL(", ").join(map(sql.Identifier, order)),
    )
