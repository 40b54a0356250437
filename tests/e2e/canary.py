"""A secret that must be written nowhere: where it is planted, and where it is looked for."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
from psycopg import sql

CANARY = "canary5f1c9be07a2d"
VARIABLE = "SHOP_API_TOKEN"  # a secret of somebody else in the same environment
NO_LOG = {"postgres"}  # pages of the databases, which are searched as databases


def with_password(url: str) -> str:
    """The address with the canary as its password; on a Unix socket PostgreSQL asks for none."""
    parts = urlsplit(url)
    user = parts.netloc.partition("@")[0].partition(":")[0]
    return parts._replace(netloc=f"{user}:{CANARY}@{parts.netloc.partition('@')[2]}").geturl()


def with_comment(page: str, head: str) -> str:
    """A page whose file under ``head`` begins with a comment that holds the canary."""
    assert page.count(head) == 1
    return page.replace(head, f"{head}# token of the shop: {CANARY}\n")


def texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file below a folder, unpacked where it is packed."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and name.parts[0] not in NO_LOG:
            packed = path.name.split(".")[1:2] in (["zstd"], ["zst"])
            try:
                with pa.input_stream(str(path), compression="zstd" if packed else None) as stream:
                    yield str(name), stream.read()
            except OSError:  # still written to: what is there unpacked is not whole
                yield str(name), path.read_bytes()


def files(folder: Path) -> list[str]:
    """Files that hold the canary."""
    return [name for name, content in texts(folder) if CANARY.encode() in content]


def tables(url: str) -> list[str]:
    """Tables of a database with a row that holds the canary, as text or as bytes."""
    found = []
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert names
        for schema, table in names:
            query = sql.SQL("SELECT EXISTS (SELECT FROM {} AS t WHERE t::text LIKE %s OR t::text LIKE %s)").format(
                sql.Identifier(schema, table)
            )
            if connection.execute(query, (f"%{CANARY}%", f"%{CANARY.encode().hex()}%")).fetchall()[0][0]:
                found.append(f"{schema}.{table}")
    return found


def databases(home: Path) -> list[str]:
    """Addresses of the databases of a home."""
    record = json.loads((home / "services.json").read_text())
    return [value for value in record.values() if isinstance(value, str) and value.startswith("postgresql://")]
