"""Published versions: load beside the old, audit, move one pointer; roll back by the same pointer.

A version is loaded in one transaction and shown by another, each under an advisory lock: readers of the view see whole
versions only, and of a killed publisher nothing is left, or a version nobody sees, which the same night again shows.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import dict_row

from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError, NightliftError
from jobs.runtime.site import Site
from jobs.tables import mart_schema, roles, warehouse

Row = dict[str, Any]
READERS_SECONDS = 2.0
HEAD = ("version_id", "run_date", "ranker_version", "uplift_version", "mlflow_run_id", "rows", "checksum")
AUDITS = {
    "its rows are of more than one night": (
        "SELECT count(DISTINCT (version_id, run_date, ranker_version, uplift_version, mlflow_run_id)) <> 1 FROM {new}"
    ),
    "a score, relevance or effect is not a finite number": (
        "SELECT EXISTS (SELECT FROM {new} WHERE '{{NaN,Infinity,-Infinity}}'::double precision[]"
        " && ARRAY[score, relevance, effect, effect_low, effect_high])"
    ),
    "a list is longer than list_length": "SELECT EXISTS (SELECT FROM {new} WHERE rank > {list_length})",
    "a user has an item twice": "SELECT count(*) <> count(DISTINCT (user_id, item_id)) FROM {new}",
    "a user's ranks are not 1, 2, 3 ...": (
        "SELECT EXISTS (SELECT FROM {new} GROUP BY user_id"
        " HAVING min(rank) <> 1 OR max(rank) <> count(*) OR count(DISTINCT rank) <> count(*))"
    ),
    "a list is not sorted by score": (
        "SELECT EXISTS (SELECT FROM (SELECT score, lag(score) OVER (PARTITION BY user_id ORDER BY rank) AS before"
        " FROM {new}) AS pairs WHERE score > before)"
    ),
    "an interval does not hold its effect": (
        "SELECT EXISTS (SELECT FROM {new} WHERE NOT (effect_low <= effect AND effect <= effect_high))"
    ),
    "a propensity is not in (0, 1]": "SELECT EXISTS (SELECT FROM {new} WHERE NOT (propensity > 0 AND propensity <= 1))",
}


def checksum(lists: pa.Table) -> str:
    """sha256 of the lists in canonical order; the MLflow run is left out, so the same night twice agrees."""
    rows = lists.drop_columns(["mlflow_run_id"]).sort_by([("user_id", "ascending"), ("rank", "ascending")])
    sink = pa.BufferOutputStream()
    plain = pa.table([column.combine_chunks() for column in rows.columns], names=rows.column_names)
    with pa.ipc.new_stream(sink, plain.schema) as writer:
        writer.write_table(plain)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def publish(
    site: Site,
    environment: Environment,
    lists: pa.Table,
    beside: Mapping[str, pa.Table],
    verdict: str,
    force: bool = False,
    experiment: str | None = None,
) -> Row:
    """Load ``lists`` (columns of the contract) and the tables beside them as one version, and point at it.

    ``experiment`` is the MLflow experiment of the lists' run.

    Returns version_id, rows, checksum and state: 'published', 'unchanged' (the same version again: no new rows) or
    'kept' (loaded, but a newer run date, or what a rollback chose, stays published). Raises DataError where an audit
    fails or a version_id comes with other rows than before; nothing has changed then.
    """
    mart, head = site.warehouse.mart_schema, _head(site, lists)
    with warehouse.adbc_connect(environment) as connection:
        about = head | {"verdict": verdict, "mlflow_experiment_id": experiment}
        is_new, known = _load_once(connection, site, lists, beside, about)
        if is_new:
            connection.commit()
            _outwait_readers(connection, mart)
            lock(connection, mart)
        state = _point(connection, mart, head, verdict, force, known)
        connection.commit()
    return head | {"state": state}


def rehearse(
    site: Site,
    environment: Environment,
    lists: pa.Table,
    beside: Mapping[str, pa.Table],
    verdict: str,
    experiment: str | None = None,
) -> Row:
    """Load and audit a version as ``publish`` does, then undo it; state is 'dry run', and errors are the same."""
    head = _head(site, lists)
    with warehouse.adbc_connect(environment) as connection:
        about = head | {"verdict": verdict, "mlflow_experiment_id": experiment}
        _load_once(connection, site, lists, beside, about)
        connection.rollback()
    return head | {"state": "dry run"}


def _head(site: Site, lists: pa.Table) -> Row:
    """What is said of a version in ``versions`` and ``published``."""
    if not lists.num_rows:
        raise DataError(
            f"the new version of {site.warehouse.mart_schema}.recommendations has no rows; nothing was published"
        )
    head = {name: lists[name][0].as_py() for name in ("version_id", "run_date", "ranker_version", "uplift_version")}
    head |= {"mlflow_run_id": lists["mlflow_run_id"][0].as_py(), "rows": lists.num_rows, "checksum": checksum(lists)}
    if not re.fullmatch(r"[0-9a-f]{8,40}", str(head["version_id"])):
        raise DataError(f"version_id {head['version_id']!r} is not a hash")
    return head


def _load_once(
    connection: warehouse.adbc.Connection,
    site: Site,
    lists: pa.Table,
    beside: Mapping[str, pa.Table],
    about: Row,
) -> tuple[bool, bool]:
    """Load and audit a version that is not there; whether it was new, and whether it has been published before."""
    mart, version = site.warehouse.mart_schema, str(about["version_id"])
    mart_schema.make(connection, mart)
    lock(connection, mart)
    roles.act_as(connection, roles.LOADER)
    query = (
        "SELECT checksum, dropped_at IS NOT NULL, published_at IS NOT NULL FROM {versions} WHERE version_id = {version}"
    )
    known = _select(connection, query, mart, version=version)
    if known and known[0][0] != about["checksum"]:
        raise DataError(
            f"version {version} was loaded before with other rows (checksum {known[0][0][:12]}, now"
            f" {about['checksum'][:12]}); the night is not deterministic: nothing was published"
        )
    is_new = not known or bool(known[0][1])
    if is_new:
        _load(connection, site, lists, beside, about)
    return is_new, bool(known) and bool(known[0][2])


@contextmanager
def alone(site: Site, environment: Environment) -> Iterator[None]:
    """Be the only night of the mart that publishes until the end; a second one waits.

    What belongs to a version outside the warehouse (aliases of models, tags of the night) moves with it, in one order.
    """
    with warehouse.connect(environment) as connection:
        warehouse.lock(connection, f"nightlift night of {site.warehouse.mart_schema}")
        yield


def lock(connection: warehouse.Connection, mart: str) -> None:
    """Be the only one who loads, points at or drops versions of ``mart`` until the transaction ends."""
    warehouse.lock(connection, f"nightlift publish {mart}")


def partition(version: str) -> str:
    """Table of a version's lists."""
    return f"recommendations_{version}"


def _load(
    connection: warehouse.adbc.Connection,
    site: Site,
    lists: pa.Table,
    beside: Mapping[str, pa.Table],
    head: Row,
) -> None:
    """Owner and loader take turns: the one makes the version's table, the other fills and audits it, and has no right
    to it any more once it is part of the history.
    """
    mart, version = site.warehouse.mart_schema, str(head["version_id"])
    new = warehouse.ident(mart, partition(version))
    history, loader = warehouse.ident(mart, "recommendations_history"), warehouse.ident(roles.LOADER)

    def run(statement: str, **names: sql.Composable) -> list[tuple[Any, ...]]:
        given = {"new": new, "history": history, "loader": loader, **names}
        return warehouse.execute(connection, sql.SQL(statement).format(**given))

    roles.act_as(connection, roles.OWNER)
    run("DROP TABLE IF EXISTS {new}")
    run("CREATE TABLE {new} (LIKE {history} INCLUDING ALL)")
    run("GRANT SELECT, INSERT ON {new} TO {loader}")
    for name in beside:  # what was left of it where it had been dropped
        run("DELETE FROM {table} WHERE version_id = {id}", table=warehouse.ident(mart, name), id=sql.Literal(version))
    roles.act_as(connection, roles.LOADER)
    warehouse.ingest(connection, mart, partition(version), lists)
    for problem, query in AUDITS.items():
        if run(query, list_length=sql.Literal(site.list_length))[0][0]:
            raise DataError(f"the new version {version} of {mart}.recommendations: {problem}; nothing was published")
    roles.act_as(connection, roles.OWNER)
    run("REVOKE ALL ON {new} FROM {loader}")
    run("ALTER TABLE {new} ADD PRIMARY KEY (user_id, rank)")
    run("ALTER TABLE {history} ATTACH PARTITION {new} FOR VALUES IN ({id})", id=sql.Literal(version))
    run("ANALYZE {new}")
    roles.act_as(connection, roles.LOADER)
    run(
        "INSERT INTO {versions} ({names}, loaded_at) VALUES ({values}, now())"
        " ON CONFLICT (version_id) DO UPDATE SET loaded_at = now(), dropped_at = NULL",
        versions=warehouse.ident(mart, "versions"),
        names=sql.SQL(", ").join(map(sql.Identifier, head)),
        values=sql.SQL(", ").join(map(sql.Literal, head.values())),
    )
    for name, table in beside.items():
        table = table.add_column(0, "version_id", pa.array([version] * table.num_rows, pa.string()))
        if name == "run_metrics":
            table = table.add_column(0, "run_date", pa.array([head["run_date"]] * table.num_rows, pa.date32()))
        warehouse.ingest(connection, mart, name, table)


def _outwait_readers(connection: warehouse.adbc.Connection, mart: str) -> None:
    """Let statements end that were planned before the new version was part of the history.

    Such a one looks for its rows in vain if the pointer moves before it takes its snapshot. That is a moment after it
    is planned, so nobody is waited for longer than ``READERS_SECONDS``.
    """
    query = (
        "SELECT l.pid, l.virtualtransaction FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {mart}"
        " AND c.relname = 'recommendations_history' AND l.pid <> pg_backend_pid()"
    )
    end, first = time.monotonic() + READERS_SECONDS, None
    while time.monotonic() < end:
        now = set(warehouse.execute(connection, sql.SQL(query).format(mart=sql.Literal(mart))))
        connection.rollback()
        first = now if first is None else first & now
        if not first:
            return
        time.sleep(0.02)


def _point(
    connection: warehouse.Connection, mart: str, head: Row, verdict: str, force: bool, known: bool = False
) -> str:
    """Compare and set: an older run date never replaces a newer one, nor a rerun a rollback, unless forced."""
    roles.act_as(connection, roles.PUBLISHER)
    now = _select(connection, "SELECT version_id, run_date FROM {published} WHERE table_name = 'recommendations'", mart)
    if now and now[0][0] == head["version_id"]:
        return "unchanged"
    if now and (known or now[0][1] > head["run_date"]) and not force:
        return "kept"
    names = sql.SQL(", ").join(map(sql.Identifier, HEAD))
    values = sql.SQL(", ").join(sql.Literal(head[name]) for name in HEAD)
    warehouse.execute(
        connection,
        sql.SQL(
            "INSERT INTO {published} (table_name, {names}, verdict, published_at)"
            " VALUES ('recommendations', {values}, {verdict}, now())"
            " ON CONFLICT (table_name) DO UPDATE SET ({names}, verdict, published_at) = ({values}, {verdict}, now())"
        ).format(
            published=warehouse.ident(mart, "published"), names=names, values=values, verdict=sql.Literal(verdict)
        ),
    )
    warehouse.execute(
        connection,
        sql.SQL("UPDATE {} SET published_at = now() WHERE version_id = {}").format(
            warehouse.ident(mart, "versions"), sql.Literal(head["version_id"])
        ),
    )
    return "published"


def _select(connection: warehouse.Connection, query: str, mart: str, **values: object) -> list[tuple[Any, ...]]:
    names = {name: warehouse.ident(mart, name) for name in ("versions", "published")}
    return warehouse.execute(
        connection, sql.SQL(query).format(**names, **{key: sql.Literal(value) for key, value in values.items()})
    )


def status(site: Site, environment: Environment) -> list[Row]:
    """Every version, newest first, which one is published, and which have no lists any more (``dropped_at``)."""
    mart = site.warehouse.mart_schema
    with mart_schema.reading(environment, mart) as connection:
        return _chain(connection, mart_schema.views(mart)) if connection else []


def _chain(connection: psycopg.Connection[Any], names: Mapping[str, sql.Composable]) -> list[Row]:
    query = sql.SQL(
        "SELECT v.version_id, v.run_date, p.version_id IS NOT NULL AS published, v.published_at, v.loaded_at,"
        " v.dropped_at, v.rows, v.checksum, v.ranker_version, v.uplift_version, v.mlflow_run_id, v.verdict"
        " FROM {versions} v LEFT JOIN {published} p ON p.version_id = v.version_id"
        " ORDER BY v.run_date DESC, v.loaded_at DESC, v.version_id"
    )
    return connection.cursor(row_factory=dict_row).execute(query.format(**names)).fetchall()


def model_before(site: Site, environment: Environment, run_date: date, model: str) -> str | None:
    """Registry version of ``model`` ('ranker' or 'uplift') behind the lists of the night published last, among those
    of run dates before ``run_date``; None where there is none. The same night run again finds the same.
    """
    mart = site.warehouse.mart_schema
    query = sql.SQL(
        "SELECT {column} FROM {versions} WHERE published_at IS NOT NULL AND run_date < {before} AND {column} IS NOT"
        " NULL ORDER BY published_at DESC LIMIT 1"
    )
    with mart_schema.reading(environment, mart) as connection:
        if connection is None:
            return None
        given = mart_schema.views(mart) | {"column": sql.Identifier(f"{model}_version")}
        found = warehouse.execute(connection, query.format(**given, before=sql.Literal(run_date)))
    return str(found[0][0]) if found else None


def rollback(site: Site, environment: Environment, version_id: str | None = None) -> Row:
    """Point at an earlier version: the one named, or the newest that has lists of a run date before the published.

    Returns the versions left and shown, and the models that made the one shown; MLflow's aliases are left alone, so a
    rollback works while MLflow is away.
    """
    mart = site.warehouse.mart_schema
    if not status(site, environment):
        raise NightliftError(f"{mart}.recommendations: nothing is published, so nothing can be rolled back")
    with warehouse.connect(environment) as connection:
        lock(connection, mart)  # what is chosen below is not dropped meanwhile
        roles.act_as(connection, roles.PUBLISHER)
        names = {name: warehouse.ident(mart, name) for name in ("versions", "published")}
        current, target = _choose(_chain(connection, names), mart, version_id)
        _point(connection, mart, target, target["verdict"], force=True)
    models = {name: target[name] for name in ("ranker_version", "uplift_version")}
    return {"from": current["version_id"], "to": target["version_id"], "run_date": target["run_date"], **models}


def _choose(chain: Sequence[Row], mart: str, version_id: str | None) -> tuple[Row, Row]:
    """What is published, and what a rollback shows instead."""
    current = next((row for row in chain if row["published"]), None)
    if current is None:
        raise NightliftError(f"{mart}.recommendations: nothing is published, so nothing can be rolled back")
    earlier = [
        row
        for row in chain
        if (row["version_id"] == version_id if version_id else row["run_date"] < current["run_date"])
    ]
    target = next((row for row in earlier if row["dropped_at"] is None), None)
    if target is None:
        wanted = f"version {version_id}" if version_id else f"version before {current['run_date']}"
        gone = f"the lists of {wanted} were dropped (keep_days)" if earlier else f"no {wanted}"
        raise NightliftError(f"{mart}.recommendations: {gone}; `python -m jobs status` lists the versions")
    return current, target
