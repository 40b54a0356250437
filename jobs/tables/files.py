"""Files that people bring: how DuckDB reads them, and what type each column has."""

import re
from pathlib import Path

import duckdb

DUCKDB_TYPES = {
    "text": "VARCHAR",
    "character varying": "VARCHAR",
    "double precision": "DOUBLE",
    "real": "FLOAT",
    "bigint": "BIGINT",
    "integer": "INTEGER",
    "smallint": "SMALLINT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp with time zone": "TIMESTAMPTZ",
    "timestamptz": "TIMESTAMPTZ",
    "timestamp without time zone": "TIMESTAMP",
}
MEANINGS = {
    "DOUBLE": "a number",
    "FLOAT": "a number",
    "BIGINT": "a whole number",
    "INTEGER": "a whole number",
    "SMALLINT": "a whole number",
    "BOOLEAN": "true or false",
    "DATE": "a day such as 2024-05-31",
    "TIMESTAMPTZ": "a time such as 2024-05-31T18:30:00Z",
    "TIMESTAMP": "a time such as 2024-05-31 18:30:00",
    "VARCHAR": "text",
}


def quoted(name: str) -> str:
    """A name in DuckDB's SQL."""
    return '"' + name.replace('"', '""') + '"'


def scan(path: Path) -> str:
    """The table function for a file. What DuckDB would guess of a CSV is said: a wrong guess can skip rows."""
    literal = "'" + str(path).replace("'", "''") + "'"
    if path.suffix != ".csv":
        return f"read_parquet({literal})"
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        head = re.sub(r'"[^"]*"', "", lines.readline())
    delimiter = max(",;\t|", key=head.count)
    return (
        f"read_csv({literal}, all_varchar = true, header = true, nullstr = '', delim = '{delimiter}', quote = '\"',"
        " escape = '\"', skip = 0, comment = '', ignore_errors = false, null_padding = false)"
    )


def sniff(source: duckdb.DuckDBPyConnection, name: str, column: str) -> str:
    """Type of an attribute in a CSV: the narrowest every value fits. 007 stays text: it is a code, not a number."""
    values = quoted(column)
    tests = [f"count(*) FILTER ({values} IS NOT NULL)", f"count(*) FILTER (regexp_matches({values}, '^[+-]?0[0-9]'))"]
    tests += [f"count(TRY_CAST({values} AS {kind}))" for kind in ("BIGINT", "DOUBLE", "TIMESTAMPTZ")]
    tests.append(f"count(*) FILTER (lower({values}) IN ('true', 'false'))")
    tests.append(f"count(*) FILTER (regexp_matches({values}, '^[+-]?[0-9]+$'))")
    found = source.execute(f"SELECT {', '.join(tests)} FROM {name}").fetchall()[0]
    filled, codes, whole, numbers, times, truths, digits = found
    if not filled:
        return "text"
    if truths == filled:
        return "boolean"
    if codes == 0 and whole == filled and digits == filled:
        return "bigint"
    if codes == 0 and numbers == filled:
        return "double precision"
    return "timestamptz" if times == filled else "text"


def attribute_type(kind: str) -> str:
    """PostgreSQL type of an attribute of a Parquet file, by its type in DuckDB."""
    if kind in ("BOOLEAN",):
        return "boolean"
    if kind in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"):
        return "bigint"
    if kind in ("FLOAT", "DOUBLE", "UBIGINT", "HUGEINT") or kind.startswith("DECIMAL"):
        return "double precision"
    return "timestamptz" if kind == "DATE" or kind.startswith("TIMESTAMP") else "text"
