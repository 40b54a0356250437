"""The warehouse: connections, quoted names and the tables of the raw schema.

Everything else that touches PostgreSQL goes through here. Names from site files, file headers and users are always
``psycopg.sql.Identifier``; values are always parameters.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from jobs.runtime.environment import Environment
from jobs.runtime.errors import AwayError, SetupError

Connection: TypeAlias = psycopg.Connection[Any] | adbc.Connection

# Required columns first, then the optional ones; DESIGN section 2.
RAW_COLUMNS: dict[str, dict[str, str]] = {
    "users": {"user_id": "text"},
    "items": {
        "item_id": "text",
        "category": "text",
        "price": "double precision",
        "title": "text",
        "description": "text",
        "available_from": "timestamptz",
        "available_until": "timestamptz",
    },
    "interactions": {
        "event_id": "text",
        "user_id": "text",
        "item_id": "text",
        "event_type": "text",
        "event_ts": "timestamptz",
        "value": "double precision",
        "quantity": "double precision",
        "rating": "double precision",
        "text": "text",
        "session_id": "text",
    },
    "exposures": {
        "exposure_id": "text",
        "user_id": "text",
        "item_id": "text",
        "exposed_at": "timestamptz",
        "position": "integer",
        "slate_id": "text",
        "policy": "text",
        "propensity": "double precision",
        "version_id": "text",
    },
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "users": ("user_id",),
    "items": ("item_id",),
    "interactions": ("event_id", "user_id", "item_id", "event_type", "event_ts"),
    "exposures": ("exposure_id", "user_id", "item_id", "exposed_at"),
}
KEYS = {"users": "user_id", "items": "item_id", "interactions": "event_id", "exposures": "exposure_id"}
TIMES = {"interactions": "event_ts", "exposures": "exposed_at"}


# Nothing is found by a name alone: every statement says the schema.
SEARCH_PATH = "pg_catalog,pg_temp"
GONE = ("08", "57P")  # SQLSTATE of a broken connection and of a server that stops or starts


@contextmanager
def connect(environment: Environment, autocommit: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection in UTC with a fixed search path; commits at its end, or nothing where an error leaves it.

    AwayError where the warehouse cannot be reached or goes away in the middle.
    """
    options = f"-c timezone=UTC -c search_path={SEARCH_PATH}"
    url = _checked_url(environment)
    try:
        connection = psycopg.connect(url, autocommit=autocommit, options=options, connect_timeout=10)
    except psycopg.Error as error:
        raise _unreachable(url, error) from None
    with _going_away(), connection:
        yield connection


@contextmanager
def adbc_connect(environment: Environment) -> Iterator[adbc.Connection]:
    """An ADBC connection, otherwise the same: Arrow in and out; commits only where the caller does."""
    url = _checked_url(environment)
    try:
        connection = adbc.connect(url)
    except adbc.Error as error:
        raise _unreachable(url, error) from None
    with _going_away(), connection:
        execute(connection, sql.SQL("SET timezone = 'UTC'"))
        execute(connection, sql.SQL("SET search_path = pg_catalog, pg_temp"))
        yield connection


@contextmanager
def _going_away() -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, adbc.Error) as error:
        state, said = (error.sqlstate or "").strip("\0"), " ".join(str(error).split())
        if not state.startswith(GONE) and (state or "connection" not in said):
            raise
        raise AwayError(
            f"the warehouse went away in the middle ({said}); what was not committed is undone: run it again"
        ) from None


def ident(*names: str) -> sql.Composable:
    """A quoted, possibly qualified name."""
    return sql.Identifier(*names)


def text(statement: sql.Composable) -> str:
    """A composed statement as text, for ADBC."""
    return statement.as_string(None)


def execute(connection: Connection, statement: sql.Composable) -> list[tuple[Any, ...]]:
    """Run one statement on either kind of connection, inside its transaction; the rows it returns, if any."""
    if isinstance(connection, psycopg.Connection):
        result = connection.execute(text(statement).encode())
        return result.fetchall() if result.description else []
    with connection.cursor() as cursor:
        cursor.execute(text(statement))
        return cursor.fetchall() if cursor.description else []


def create_raw(connection: Connection, schema: str) -> None:
    """The four raw tables, where they are missing; their keys come with ``add_raw_keys``."""
    lock(connection, f"nightlift ddl {schema}")
    execute(connection, sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(ident(schema)))
    for table, columns in RAW_COLUMNS.items():
        body = sql.SQL(", ").join(
            sql.SQL("{} {} {}").format(
                ident(column), sql.SQL(kind), sql.SQL("NOT NULL" if column in REQUIRED[table] else "")
            )
            for column, kind in columns.items()
        )
        execute(connection, sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(ident(schema, table), body))


def add_raw_keys(connection: Connection, schema: str, table: str) -> None:
    """Primary key and, on tables with a time, a BRIN index: by far the smallest for rows that arrive in time order."""
    if _primary_key(connection, schema, table) is None:
        execute(
            connection,
            sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(ident(schema, table), ident(KEYS[table])),
        )
    if table in TIMES:
        execute(
            connection,
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING brin ({}) WITH (pages_per_range = 32)").format(
                ident(f"{table}_{TIMES[table]}_brin"), ident(schema, table), ident(TIMES[table])
            ),
        )
    execute(connection, sql.SQL("ANALYZE {}").format(ident(schema, table)))


def drop_raw_keys(connection: Connection, schema: str, table: str) -> None:
    """Take off the primary key of an empty table before a bulk load: building it once afterwards is several times
    faster."""
    name = _primary_key(connection, schema, table)
    if name is not None:
        execute(connection, sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(ident(schema, table), ident(name)))
    if table in TIMES:
        index = ident(schema, f"{table}_{TIMES[table]}_brin")
        execute(connection, sql.SQL("DROP INDEX IF EXISTS {}").format(index))


def add_column(connection: Connection, schema: str, table: str, column: str, kind: str) -> None:
    """A further column of a raw table: an attribute."""
    execute(
        connection,
        sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(ident(schema, table), ident(column), sql.SQL(kind)),
    )


def column_types(connection: Connection, schema: str, table: str) -> dict[str, str]:
    """Columns and their PostgreSQL types in order; empty where there is no such table."""
    return dict(
        execute(
            connection,
            sql.SQL(
                "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = ("
                "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE n.nspname = {} AND c.relname = {}) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
            ).format(sql.Literal(schema), sql.Literal(table)),
        )
    )


def has_rows(connection: Connection, schema: str, table: str) -> bool:
    """Whether a table exists and holds at least one row."""
    if not column_types(connection, schema, table):
        return False
    return bool(execute(connection, sql.SQL("SELECT EXISTS (SELECT FROM {})").format(ident(schema, table)))[0][0])


def ingest(
    connection: adbc.Connection,
    schema: str,
    table: str,
    data: pa.Table | pa.RecordBatchReader,
    passed: Callable[[int], None] | None = None,
) -> int:
    """Append Arrow rows to a table by COPY inside the connection's transaction; returns how many.

    ``passed`` is told the rows of each batch on its way.
    """
    counted = _Counter(data.to_reader() if isinstance(data, pa.Table) else data, passed)
    with connection.cursor() as cursor:
        cursor.adbc_ingest(table, counted.reader, mode="append", db_schema_name=schema)  # type: ignore[arg-type]
    return counted.rows


class _Counter:
    """Counts the rows of a stream as they pass."""

    def __init__(self, source: pa.RecordBatchReader, passed: Callable[[int], None] | None) -> None:
        self.rows = 0
        self.passed = passed
        self.reader = pa.RecordBatchReader.from_batches(source.schema, self._pass(source))

    def _pass(self, source: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for batch in source:
            self.rows += batch.num_rows
            if self.passed:
                self.passed(batch.num_rows)
            yield batch


def lock(connection: Connection, name: str) -> None:
    """Hold the advisory lock ``name`` until the transaction ends."""
    execute(
        connection, sql.SQL("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))::text").format(sql.Literal(name))
    )


def _primary_key(connection: Connection, schema: str, table: str) -> str | None:
    rows = execute(
        connection,
        sql.SQL(
            "SELECT k.conname::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {} AND k.contype = 'p'"
        ).format(sql.Literal(schema), sql.Literal(table)),
    )
    return str(rows[0][0]) if rows else None


def _checked_url(environment: Environment) -> str:
    """The URL; SetupError where it is none, which repeats nothing of it: any part may be one of a password."""
    url = environment.warehouse_url
    try:
        parts = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError:
        parts = {"port": "unknown"}
    ports = filter(None, parts.get("port", "").split(","))
    if not all(map(str.isdigit, ports)) or "@" in parts.get("host", "") + parts.get("dbname", ""):
        raise SetupError(
            "WAREHOUSE_URL is no libpq URL; in its user and password write % as %25, / as %2F, : as %3A and @ as %40"
        )
    return url


def _unreachable(url: str, error: Exception) -> AwayError:
    said = " ".join(str(error).split()).replace(url, "...")
    password = conninfo_to_dict(url).get("password")
    if password:
        said = said.replace(str(password), "...")
    return AwayError(f"the warehouse cannot be reached ({said}); check WAREHOUSE_URL or run `make up`")
