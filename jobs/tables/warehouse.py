"""The warehouse: connections, quoted names and the tables of the raw and the mart schema.

Everything else that touches PostgreSQL goes through here. Names from site files, file headers and users are always
``psycopg.sql.Identifier``; values are always parameters.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from jobs.runtime.environment import Environment
from jobs.runtime.errors import SetupError

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

_HISTORY = """
    run_date date NOT NULL,
    user_id text NOT NULL,
    rank integer NOT NULL,
    item_id text NOT NULL,
    score double precision NOT NULL,
    relevance double precision NOT NULL,
    effect double precision NOT NULL,
    effect_low double precision NOT NULL,
    effect_high double precision NOT NULL,
    identified boolean NOT NULL,
    policy text NOT NULL,
    propensity double precision NOT NULL,
    reason text NOT NULL,
    ranker_version text NOT NULL,
    uplift_version text,
    version_id text NOT NULL,
    mlflow_run_id text NOT NULL
"""
_MART = [
    "CREATE SCHEMA IF NOT EXISTS {mart}",
    f"CREATE TABLE IF NOT EXISTS {{mart}}.recommendations_history ({_HISTORY}) PARTITION BY LIST (version_id)",
    # one row a user, in byte order: users are looked up by the start of their id
    """CREATE INDEX IF NOT EXISTS recommendations_history_users ON {mart}.recommendations_history
        (user_id COLLATE "C") WHERE rank = 1""",
    """CREATE TABLE IF NOT EXISTS {mart}.versions (
        version_id text PRIMARY KEY, run_date date NOT NULL, ranker_version text NOT NULL, uplift_version text,
        mlflow_run_id text NOT NULL, rows bigint NOT NULL, checksum text NOT NULL, loaded_at timestamptz NOT NULL,
        verdict text NOT NULL)""",
    # when the pointer last moved to the version, null where it never did; marts made earlier get the column too
    "ALTER TABLE {mart}.versions ADD COLUMN IF NOT EXISTS published_at timestamptz",
    """CREATE TABLE IF NOT EXISTS {mart}.published (
        table_name text PRIMARY KEY, version_id text NOT NULL, run_date date NOT NULL, ranker_version text NOT NULL,
        uplift_version text, mlflow_run_id text NOT NULL, rows bigint NOT NULL, checksum text NOT NULL,
        published_at timestamptz NOT NULL, verdict text NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS {mart}.item_effects (
        version_id text NOT NULL, level text NOT NULL, key text NOT NULL, method text NOT NULL,
        estimate double precision NOT NULL, low double precision NOT NULL, high double precision NOT NULL,
        treated bigint NOT NULL, control bigint NOT NULL, overlap_share double precision, identified boolean NOT NULL,
        PRIMARY KEY (version_id, level, key, method))""",
    """CREATE TABLE IF NOT EXISTS {mart}.user_profiles (
        version_id text NOT NULL, user_id text NOT NULL, segment integer NOT NULL, segment_label text NOT NULL,
        preferences text NOT NULL, factors text, PRIMARY KEY (version_id, user_id))""",
    """CREATE TABLE IF NOT EXISTS {mart}.run_metrics (
        run_date date NOT NULL, version_id text NOT NULL, metric text NOT NULL, value double precision NOT NULL,
        low double precision, high double precision, PRIMARY KEY (run_date, version_id, metric))""",
    """CREATE TABLE IF NOT EXISTS {mart}.relevance_lists (
        version_id text NOT NULL, user_id text NOT NULL, rank integer NOT NULL, item_id text NOT NULL,
        relevance double precision NOT NULL, PRIMARY KEY (version_id, user_id, rank))""",
    """CREATE OR REPLACE VIEW {mart}.recommendations AS
        SELECT history.* FROM {mart}.recommendations_history AS history
        WHERE history.version_id = (SELECT published.version_id FROM {mart}.published
                                    WHERE published.table_name = 'recommendations')""",
]


def mart_columns() -> dict[str, dict[str, str]]:
    """Columns and types of every table of the mart, as the statements that make it say."""
    columns: dict[str, dict[str, str]] = {}
    for statement in _MART:
        statement = re.sub(r"\) PARTITION BY .*", ")", statement)
        made = re.match(r"CREATE TABLE IF NOT EXISTS \{mart\}\.(\w+) \((.*)\)", statement, re.DOTALL)
        if made:
            parts = re.sub(r",\s*PRIMARY KEY \(.*\)", "", made[2], flags=re.DOTALL).split(",")
            words = [part.replace(" NOT NULL", "").replace(" PRIMARY KEY", "").split(maxsplit=1) for part in parts]
            columns[made[1]] = {name: kind.strip() for name, kind in words}
        added = re.match(r"ALTER TABLE \{mart\}\.(\w+) ADD COLUMN IF NOT EXISTS (\w+) (\w+)", statement)
        if added:
            columns[added[1]][added[2]] = added[3]
    return columns


def connect(environment: Environment, autocommit: bool = False) -> psycopg.Connection[Any]:
    """A psycopg connection whose session is in UTC; SetupError where the warehouse cannot be reached."""
    url = _checked_url(environment)
    try:
        return psycopg.connect(url, autocommit=autocommit, options="-c timezone=UTC", connect_timeout=10)
    except psycopg.Error as error:
        raise _unreachable(url, error) from None


@contextmanager
def adbc_connect(environment: Environment) -> Iterator[adbc.Connection]:
    """An ADBC connection: Arrow in and out; commits only where the caller does."""
    url = _checked_url(environment)
    try:
        connection = adbc.connect(url)
    except adbc.Error as error:
        raise _unreachable(url, error) from None
    with connection:
        with connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
        yield connection


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


def create_mart(connection: Connection, schema: str) -> None:
    """The mart schema, where it or a part of it is missing; the view shows the version the pointer row names."""
    index = column_types(connection, schema, "recommendations_history_users")
    if index and "published_at" in column_types(connection, schema, "versions"):
        return
    lock(connection, f"nightlift ddl {schema}")
    for statement in _MART:
        execute(connection, sql.SQL(statement).format(mart=ident(schema)))


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


def _unreachable(url: str, error: Exception) -> SetupError:
    said = " ".join(str(error).split()).replace(url, "...")
    password = conninfo_to_dict(url).get("password")
    if password:
        said = said.replace(str(password), "...")
    return SetupError(f"the warehouse cannot be reached ({said}); check WAREHOUSE_URL or run `make up`")
