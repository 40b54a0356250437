"""Who may do what in the warehouse: four roles of PostgreSQL, none of which logs in.

The login of WAREHOUSE_URL may take each of them and is, on its own, a reader. A step takes the one role it needs for
its transaction, and PostgreSQL refuses it everything else.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from jobs.runtime.errors import SetupError
from jobs.tables import warehouse

OWNER = "nightlift_owner"  # makes and drops tables and views of the mart
LOADER = "nightlift_loader"  # reads the raw tables, fills the table of a new version and what stands beside it
PUBLISHER = "nightlift_publisher"  # moves the pointer
READER = "nightlift_reader"  # reads the views of the mart, and the names of items
ROLES = (OWNER, LOADER, PUBLISHER, READER)
NAMES = ("item_id", "title", "category")  # columns of the raw items that a reader sees
DENIED = "42501"


def act_as(connection: warehouse.Connection, role: str) -> None:
    """Work as ``role``, with its rights alone, until the transaction ends or takes another role."""
    warehouse.execute(connection, sql.SQL("SET LOCAL ROLE {}").format(warehouse.ident(role)))


def statements(login: str, known: Sequence[str] = ()) -> list[sql.Composed]:
    """What an administrator runs once for ``login``; ``known`` are the roles there are already."""
    made = [sql.SQL("CREATE ROLE {} NOLOGIN").format(warehouse.ident(role)) for role in ROLES if role not in known]
    work = sql.SQL(", ").join(map(sql.Identifier, (OWNER, LOADER, PUBLISHER)))
    return [
        *made,
        sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(work, sql.Identifier(login)),
        sql.SQL("GRANT {} TO {}").format(sql.Identifier(READER), sql.Identifier(login)),
    ]


def make(connection: warehouse.Connection) -> None:
    """The roles, where they are missing; SetupError says what to run where the login may not make them."""
    query = "SELECT rolname::text, pg_has_role(oid, 'SET') FROM pg_roles WHERE rolname IN ({})"
    every = sql.SQL(", ").join(map(sql.Literal, ROLES))
    found = {row[0]: row[1] for row in warehouse.execute(connection, sql.SQL(query).format(every))}
    if len(found) == len(ROLES) and all(found.values()):
        return
    ((login,),) = warehouse.execute(connection, sql.SQL("SELECT current_user::text"))
    wanted = statements(login, list(found))
    with advice("this login may not make the roles of the warehouse", wanted):
        warehouse.lock(connection, "nightlift ddl roles")
        for statement in wanted:
            warehouse.execute(connection, statement)


def grant_raw(connection: warehouse.Connection, schema: str) -> None:
    """Let the loader read the raw tables and readers the names of items; what is granted already is left alone.

    The raw tables stay their owner's. SetupError says what the owner runs where the login may not grant it.
    """
    query = """
        SELECT c.relname::text, a.attname::text, has_table_privilege({loader}, c.oid, 'SELECT'),
               has_column_privilege({reader}, c.oid, a.attnum, 'SELECT'),
               has_schema_privilege({loader}, n.oid, 'USAGE') AND has_schema_privilege({reader}, n.oid, 'USAGE')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE n.nspname = {schema} AND c.relname IN ({tables}) AND a.attnum > 0 AND NOT a.attisdropped"""
    rows = warehouse.execute(
        connection,
        sql.SQL(query).format(
            loader=sql.Literal(LOADER),
            reader=sql.Literal(READER),
            schema=sql.Literal(schema),
            tables=sql.SQL(", ").join(map(sql.Literal, warehouse.RAW_COLUMNS)),
        ),
    )
    wanted = []
    if not all(row[4] for row in rows):
        grant = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}, {}")
        wanted.append(grant.format(*map(sql.Identifier, (schema, LOADER, READER))))
    for table in sorted({row[0] for row in rows if not row[2]}):
        grant = sql.SQL("GRANT SELECT ON {} TO {}")
        wanted.append(grant.format(warehouse.ident(schema, table), sql.Identifier(LOADER)))
    names = [(column, may) for table, column, _, may, _ in rows if table == "items" and column in NAMES]
    if not all(may for _, may in names):
        grant = sql.SQL("GRANT SELECT ({}) ON {} TO {}")
        columns = sql.SQL(", ").join(sql.Identifier(column) for column, _ in names)
        wanted.append(grant.format(columns, warehouse.ident(schema, "items"), sql.Identifier(READER)))
    with advice(f"this login may not let the night read {schema}", wanted):
        for statement in wanted:
            warehouse.execute(connection, statement)


@contextmanager
def advice(problem: str, wanted: Sequence[sql.Composable]) -> Iterator[None]:
    """Where PostgreSQL denies a statement: SetupError with ``problem`` and what somebody with more rights runs."""
    try:
        yield
    except (psycopg.Error, warehouse.adbc.Error) as error:
        if error.sqlstate != DENIED:
            raise
        said = "; ".join(map(warehouse.text, wanted))
        raise SetupError(f"{problem} ({str(error).splitlines()[0]}); an administrator runs: {said};") from None
