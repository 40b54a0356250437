"""Bring your own data: ``users``, ``items``, ``interactions`` and ``exposures`` as ``.parquet`` or ``.csv`` files.

DuckDB reads and checks the files; only when all of them are right are they copied (ADBC) in one transaction, so that a
load is all or nothing. Columns beyond the contract's become attributes of the raw table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError
from jobs.runtime.screen import Advance, Screen
from jobs.runtime.site import Site
from jobs.tables import warehouse
from jobs.tables.files import DUCKDB_TYPES, MEANINGS, attribute_type, quoted, scan, sniff
from jobs.tables.schema import LONGEST

BATCH_ROWS = 200_000
SHOWN = 5  # bad rows named in an error
AGAIN = "mend the file and load again (nothing was loaded)"


@dataclass(frozen=True)
class _File:
    """One checked file: ``columns`` maps each of its columns to the PostgreSQL type it is loaded as."""

    table: str
    path: Path
    columns: Mapping[str, str]
    rows: int = 0

    @property
    def source(self) -> str:
        return f'"file {self.table}"'


def load_folder(site: Site, folder: Path, environment: Environment, screen: Screen | None = None) -> dict[str, int]:
    """Check the four files of ``folder`` and append them to the site's raw tables; returns rows by table.

    A file may be missing only where its table already holds rows. Raises DataError, naming file, column and the first
    bad rows, for a missing file or column, a value of the wrong type, an empty or repeated key, a key the table already
    has, an unknown user or item, and a propensity outside (0, 1]; the warehouse is then as it was.
    """
    schema, screen = site.warehouse.raw_schema, screen or Screen()
    rows: dict[str, int] = {}
    with warehouse.adbc_connect(environment) as connection, duckdb.connect() as source:
        source.execute("SET threads = 2; SET memory_limit = '2GB'; SET TimeZone = 'UTC'")
        warehouse.create_raw(connection, schema)
        filled = {table: warehouse.has_rows(connection, schema, table) for table in warehouse.RAW_COLUMNS}
        files = []
        for table, path in _find(folder, schema, filled).items():
            known = warehouse.column_types(connection, schema, table)
            screen.say(f"{path.name}: reading {path.stat().st_size / 1e6:,.1f} MB")
            files.append(_open(source, table, path, known))
            screen.say(f"{path.name}: {files[-1].rows:,} rows, types and keys are right")
        for file in files:
            if filled[file.table]:
                _check_new_keys(source, connection, schema, file)
        _check_references(source, connection, schema, files, filled)
        for file in files:
            with screen.track(f"{schema}.{file.table}", file.rows) as advance:
                rows[file.table] = _copy(source, connection, schema, file, filled[file.table], advance)
        for table in set(warehouse.RAW_COLUMNS) - set(rows):
            warehouse.add_raw_keys(connection, schema, table)
        connection.commit()
    return rows


def _find(folder: Path, schema: str, filled: Mapping[str, bool]) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; name one with users, items, interactions and exposures files")
    found: dict[str, Path] = {}
    for table in warehouse.RAW_COLUMNS:
        paths = [path for path in (folder / f"{table}.parquet", folder / f"{table}.csv") if path.exists()]
        if len(paths) > 1:
            raise DataError(f"{folder} has both {paths[0].name} and {paths[1].name}; keep the one to load")
        if paths:
            found[table] = paths[0]
        elif not filled[table]:
            raise DataError(
                f"{folder} has no {table}.parquet or {table}.csv, and {schema}.{table} is empty; add the file"
            )
    if not found:
        raise DataError(f"{folder} has none of users, items, interactions and exposures as .parquet or .csv")
    return found


def _open(source: duckdb.DuckDBPyConnection, table: str, path: Path, known: Mapping[str, str]) -> _File:
    """Read one file as text or typed rows, numbered, and check everything that needs no other table."""
    csv = path.suffix == ".csv"
    first = 2 if csv else 1  # the number a person sees: the line of a CSV with its header, the row of a Parquet file
    name, numbered = f'"read {table}"', f'row_number() OVER () + {first - 1} AS "row "'
    try:
        source.execute(f"CREATE TABLE {name} AS SELECT {numbered}, * FROM {scan(path)}")
    except duckdb.Error as error:
        said = " ".join(str(error).split())[:300]
        raise DataError(f"{path.name} cannot be read ({said}); {AGAIN}") from None
    kinds = {str(row[0]): str(row[1]) for row in source.execute(f"DESCRIBE {name}").fetchall()}
    kinds.pop("row ")
    missing = [column for column in warehouse.REQUIRED[table] if column not in kinds]
    if missing:
        raise DataError(
            f"{path.name}: required column {', '.join(missing)} is missing (there: {', '.join(kinds)}); {AGAIN}"
        )
    taken = {column.lower(): column for column in known}
    for column in kinds:
        twin = taken.get(column.lower(), column)
        if twin != column:
            raise DataError(f"{path.name}: column {column} is {twin} in the warehouse; write it the same; {AGAIN}")
        if len(column.encode()) > 63:
            raise DataError(f"{path.name}: column name {column[:30]}... is longer than 63 bytes; {AGAIN}")
    columns = {
        column: known.get(column) or (sniff(source, name, column) if csv else attribute_type(kind))
        for column, kind in kinds.items()
    }
    file = _File(table, path, columns)
    _check_values(source, name, file)
    typed = ", ".join(f"TRY_CAST({quoted(column)} AS {_duck(file, column)}) AS {quoted(column)}" for column in columns)
    source.execute(f'CREATE VIEW {file.source} AS SELECT "row ", {typed} FROM {name}')
    return replace(file, rows=_check_unique(source, file))


def _duck(file: _File, column: str) -> str:
    kind = file.columns[column]
    if kind not in DUCKDB_TYPES:
        raise DataError(
            f"{file.path.name}: column {column} has type {kind} in the warehouse, which cannot be loaded; "
            "make it text, double precision, bigint, boolean or timestamptz there"
        )
    return DUCKDB_TYPES[kind]


def _check_values(source: duckdb.DuckDBPyConnection, name: str, file: _File) -> None:
    """One pass over the file counts the bad values of every column; only a bad column is read again to name rows."""
    required = warehouse.REQUIRED[file.table]
    rules: dict[tuple[str, str], str] = {}
    for column in file.columns:
        values, kind = quoted(column), _duck(file, column)
        cast = f"TRY_CAST({values} AS {kind})"
        wrong = f"{values} IS NOT NULL AND {cast} IS NULL"
        if kind in ("TIMESTAMPTZ", "TIMESTAMP", "DATE"):
            wrong = f"{values} IS NOT NULL AND ({cast} IS NULL OR NOT isfinite({cast}))"
        rules[column, f"not {MEANINGS[kind]}"] = wrong
        if kind == "VARCHAR":
            rules[column, "text with a NUL character"] = f"contains({cast}, chr(0))"
        if column in LONGEST and column in warehouse.RAW_COLUMNS[file.table]:
            longest = LONGEST[column]
            rules[column, f"longer than {longest} characters"] = f"length({cast}) > {longest}"
        if column in required:
            rules[column, "empty"] = f"{values} IS NULL" + (f" OR {cast} = ''" if kind == "VARCHAR" else "")
        if file.table == "exposures" and column == "propensity":
            rules[column, "outside (0, 1]"] = f"{cast} IS NOT NULL AND NOT ({cast} > 0 AND {cast} <= 1)"
    counts = source.execute(
        f"SELECT {', '.join(f'count(*) FILTER ({rule})' for rule in rules.values())} FROM {name}"
    ).fetchall()[0]
    for (column, what), rule, count in zip(rules, rules.values(), counts, strict=True):
        if count:
            bad = source.execute(
                f'SELECT "row ", {quoted(column)} FROM {name} WHERE {rule} ORDER BY 1 LIMIT {SHOWN}'
            ).fetchall()
            raise _problem(file, column, count, what, bad)


def _check_unique(source: duckdb.DuckDBPyConnection, file: _File) -> int:
    """Rows of the file; DataError where two have the same key."""
    key = quoted(warehouse.KEYS[file.table])
    found = source.execute(f"SELECT count(*), count(DISTINCT {key}) FROM {file.source}").fetchall()[0]
    if found[0] != found[1]:
        bad = source.execute(
            f'SELECT "row ", {key} FROM {file.source} '
            f'QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY "row ") > 1 ORDER BY 1 LIMIT {SHOWN}'
        ).fetchall()
        raise _problem(file, warehouse.KEYS[file.table], found[0] - found[1], "a key an earlier row has", bad)
    return int(found[0])


def _check_new_keys(
    source: duckdb.DuckDBPyConnection, connection: warehouse.adbc.Connection, schema: str, file: _File
) -> None:
    key = warehouse.KEYS[file.table]
    temporary = f"keys_of_{file.table}"
    with connection.cursor() as cursor:
        reader = source.cursor().sql(f"SELECT {quoted(key)} FROM {file.source}").to_arrow_reader(BATCH_ROWS)
        cursor.adbc_ingest(temporary, reader, mode="create", temporary=True)
    old = warehouse.execute(
        connection,
        warehouse.sql.SQL("SELECT t.{key} FROM {table} AS t JOIN {temporary} AS k USING ({key})").format(
            key=warehouse.ident(key),
            table=warehouse.ident(schema, file.table),
            temporary=warehouse.ident("pg_temp", temporary),
        ),
    )
    warehouse.execute(connection, warehouse.sql.SQL("DROP TABLE {}").format(warehouse.ident("pg_temp", temporary)))
    if old:
        keys = sorted(row[0] for row in old)
        bad = source.execute(
            f'SELECT "row ", {quoted(key)} FROM {file.source} WHERE {quoted(key)} = ANY($keys)'
            f" ORDER BY 1 LIMIT {SHOWN}",
            {"keys": keys[:1000]},
        ).fetchall()
        raise _problem(file, key, len(keys), f"a key {schema}.{file.table} already has", bad)


def _check_references(
    source: duckdb.DuckDBPyConnection,
    connection: warehouse.adbc.Connection,
    schema: str,
    files: list[_File],
    filled: Mapping[str, bool],
) -> None:
    by_table = {file.table: file for file in files}
    for column, parent in (("user_id", "users"), ("item_id", "items")):
        parts = [f"SELECT {column} FROM {by_table[parent].source}"] if parent in by_table else []
        if filled[parent]:
            with connection.cursor() as cursor:
                query = warehouse.sql.SQL("SELECT {} FROM {}").format(
                    warehouse.ident(column), warehouse.ident(schema, parent)
                )
                cursor.execute(warehouse.text(query))
                source.register(f"warehouse_{parent}", cursor.fetch_arrow_table())
            parts.append(f"SELECT {column} FROM warehouse_{parent}")
        for table in ("interactions", "exposures"):
            if table not in by_table:
                continue
            child = by_table[table]
            orphan = f"FROM {child.source} WHERE {column} NOT IN ({' UNION ALL '.join(parts)})"
            found = source.execute(f"SELECT count(*) {orphan}").fetchall()[0]
            if found[0]:
                bad = source.execute(f'SELECT "row ", {column} {orphan} ORDER BY 1 LIMIT {SHOWN}').fetchall()
                raise _problem(child, column, found[0], f"not in {parent}", bad)


def _copy(
    source: duckdb.DuckDBPyConnection,
    connection: warehouse.adbc.Connection,
    schema: str,
    file: _File,
    filled: bool,
    advance: Advance,
) -> int:
    known = warehouse.column_types(connection, schema, file.table)
    for column, kind in file.columns.items():
        if column not in known:
            warehouse.add_column(connection, schema, file.table, column, kind)
    if not filled:
        warehouse.drop_raw_keys(connection, schema, file.table)
    order = warehouse.TIMES.get(file.table, warehouse.KEYS[file.table])
    columns = ", ".join(quoted(column) for column in file.columns)
    reader = source.cursor().sql(f"SELECT {columns} FROM {file.source} ORDER BY {order}").to_arrow_reader(BATCH_ROWS)
    try:
        rows = warehouse.ingest(connection, schema, file.table, reader, advance)
        warehouse.add_raw_keys(connection, schema, file.table)
    except warehouse.adbc.Error as error:
        said = " ".join(str(error).split())[:300]
        raise DataError(f"{file.path.name}: the warehouse refused it ({said}); {AGAIN}") from None
    return rows


def _problem(file: _File, column: str, count: int, what: str, bad: list[tuple[object, ...]]) -> DataError:
    where = "line" if file.path.suffix == ".csv" else "row"
    shown = ", ".join(f"{where} {number}: {_show(value)}" for number, value in bad)
    more = ", ..." if count > len(bad) else ""
    rows = "1 row is" if count == 1 else f"{count:,} rows are"
    return DataError(f"{file.path.name}: column {column}: {rows} {what} ({shown}{more}); {AGAIN}")


def _show(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
