"""Old versions leave the mart: their lists and what stands beside them. Who made them and their figures stay."""

from collections.abc import Collection

import psycopg
from psycopg import sql

from jobs.runtime.environment import Environment
from jobs.runtime.site import Site
from jobs.tables import mart_schema, roles, versions, warehouse

SECONDS = 2  # a reader waits at most, while the owner waits for those who still read an old version
BESIDE = ("item_effects", "user_profiles", "relevance_lists")


def drop_old(site: Site, environment: Environment, keep: Collection[str] = ()) -> list[str]:
    """Drop versions of more than ``keep_days`` before the published run date; returns them, oldest first.

    Never the published one, nor one of ``keep``. What somebody reads for longer than SECONDS stays for the next night.
    """
    mart, dropped = site.warehouse.mart_schema, []
    candidates = [version for version in _old(site, environment) if version not in keep]
    with warehouse.connect(environment, autocommit=True) as connection:
        for version in candidates:
            try:
                if _drop(connection, mart, version):
                    dropped.append(version)
            except psycopg.errors.LockNotAvailable:
                print(f"version {version} is old and somebody reads it: the next night drops it")
                break
    return dropped


def _old(site: Site, environment: Environment) -> list[str]:
    mart = site.warehouse.mart_schema
    query = sql.SQL(
        "SELECT v.version_id FROM {versions} v JOIN {published} p ON v.run_date < p.run_date - {days}"
        " WHERE p.table_name = 'recommendations' AND v.dropped_at IS NULL ORDER BY v.run_date, v.version_id"
    )
    with mart_schema.reading(environment, mart) as connection:
        if connection is None:
            return []
        given = query.format(**mart_schema.views(mart), days=sql.Literal(site.keep_days))
        return [row[0] for row in warehouse.execute(connection, given)]


def _drop(connection: psycopg.Connection[object], mart: str, version: str) -> bool:
    """Drop one version in a transaction of its own; False where it was published meanwhile."""

    def run(statement: str, table: str) -> list[tuple[object, ...]]:
        given = {"table": warehouse.ident(mart, table), "id": sql.Literal(version)}
        return warehouse.execute(connection, sql.SQL(statement).format(**given))

    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{SECONDS}s")))
        versions.lock(connection, mart)
        roles.act_as(connection, roles.OWNER)
        if run("SELECT 1 FROM {table} WHERE version_id = {id}", "published"):
            return False
        run("DROP TABLE IF EXISTS {table}", versions.partition(version))
        for table in BESIDE:
            run("DELETE FROM {table} WHERE version_id = {id}", table)
        run("UPDATE {table} SET dropped_at = now() WHERE version_id = {id}", "versions")
    return True
