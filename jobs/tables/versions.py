"""Published versions: load beside the old, audit, move one pointer; roll back by the same pointer.

Everything happens in one transaction under an advisory lock: readers of the view see whole versions only, and a killed
publisher leaves nothing behind.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow as pa
from psycopg import sql
from psycopg.rows import dict_row

from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError, NightliftError
from jobs.runtime.site import Site
from jobs.tables import warehouse

Row = dict[str, Any]
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
) -> Row:
    """Load ``lists`` (columns of the contract) and the tables beside them as one version, and point at it.

    Returns version_id, rows, checksum and state: 'published', 'unchanged' (the same version again: no new rows) or
    'kept' (loaded, but a newer run date, or what a rollback chose, stays published). Raises DataError where an audit
    fails or a version_id comes with other rows than before; nothing has changed then.
    """
    mart = site.warehouse.mart_schema
    if not lists.num_rows:
        raise DataError(f"the new version of {mart}.recommendations has no rows; nothing was published")
    head = {name: lists[name][0].as_py() for name in ("version_id", "run_date", "ranker_version", "uplift_version")}
    head |= {"mlflow_run_id": lists["mlflow_run_id"][0].as_py(), "rows": lists.num_rows, "checksum": checksum(lists)}
    version = str(head["version_id"])
    if not re.fullmatch(r"[0-9a-f]{8,40}", version):
        raise DataError(f"version_id {version!r} is not a hash")
    with warehouse.adbc_connect(environment) as connection:
        warehouse.create_mart(connection, mart)
        warehouse.lock(connection, f"nightlift publish {mart}")
        known = _select(
            connection, "SELECT checksum FROM {versions} WHERE version_id = {version}", mart, version=version
        )
        if known and known[0][0] != head["checksum"]:
            raise DataError(
                f"version {version} was loaded before with other rows (checksum {known[0][0][:12]}, now"
                f" {head['checksum'][:12]}); the night is not deterministic: nothing was published"
            )
        if not known:
            _load(connection, site, version, lists, beside, head, verdict)
        state = _point(connection, mart, head, verdict, force, known=bool(known))
        connection.commit()
    return head | {"state": state}


def _load(
    connection: warehouse.adbc.Connection,
    site: Site,
    version: str,
    lists: pa.Table,
    beside: Mapping[str, pa.Table],
    head: Row,
    verdict: str,
) -> None:
    mart, partition = site.warehouse.mart_schema, f"recommendations_{version}"
    new = warehouse.ident(mart, partition)
    history = warehouse.ident(mart, "recommendations_history")
    warehouse.execute(connection, sql.SQL("DROP TABLE IF EXISTS {}").format(new))
    warehouse.execute(connection, sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(new, history))
    warehouse.ingest(connection, mart, partition, lists)
    for problem, query in AUDITS.items():
        audit = sql.SQL(query).format(new=new, list_length=sql.Literal(site.list_length))
        if warehouse.execute(connection, audit)[0][0]:
            raise DataError(f"the new version {version} of {mart}.recommendations: {problem}; nothing was published")
    warehouse.execute(connection, sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (user_id, rank)").format(new))
    warehouse.execute(
        connection,
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES IN ({})").format(history, new, sql.Literal(version)),
    )
    warehouse.execute(connection, sql.SQL("ANALYZE {}").format(new))
    values = [head[name] for name in ("version_id", "run_date", "ranker_version", "uplift_version", "mlflow_run_id")]
    warehouse.execute(
        connection,
        sql.SQL("INSERT INTO {} VALUES ({}, now(), {})").format(
            warehouse.ident(mart, "versions"),
            sql.SQL(", ").join(map(sql.Literal, [*values, head["rows"], head["checksum"]])),
            sql.Literal(verdict),
        ),
    )
    for name, table in beside.items():
        table = table.add_column(0, "version_id", pa.array([version] * table.num_rows, pa.string()))
        if name == "run_metrics":
            table = table.add_column(0, "run_date", pa.array([head["run_date"]] * table.num_rows, pa.date32()))
        warehouse.ingest(connection, mart, name, table)


def _point(
    connection: warehouse.Connection, mart: str, head: Row, verdict: str, force: bool, known: bool = False
) -> str:
    """Compare and set: an older run date never replaces a newer one, nor a rerun a rollback, unless forced."""
    now = _select(connection, "SELECT version_id, run_date FROM {published} WHERE table_name = 'recommendations'", mart)
    if now and now[0][0] == head["version_id"]:
        return "unchanged"
    if now and (known or now[0][1] > head["run_date"]) and not force:
        return "kept"
    columns = ["version_id", "run_date", "ranker_version", "uplift_version", "mlflow_run_id", "rows", "checksum"]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    values = sql.SQL(", ").join(sql.Literal(head[name]) for name in columns)
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


def _rows(site: Site, environment: Environment, query: str, values: tuple[object, ...] = ()) -> list[Row]:
    mart = site.warehouse.mart_schema
    tables = ("versions", "published")
    with warehouse.connect(environment) as connection:
        if not warehouse.column_types(connection, mart, "published"):
            return []
        cursor = connection.cursor(row_factory=dict_row)
        names = {name: warehouse.ident(mart, name) for name in tables}
        return cursor.execute(sql.SQL(query).format(**names), values).fetchall()


def status(site: Site, environment: Environment) -> list[Row]:
    """Every version, newest first, and which one is published."""
    return _rows(
        site,
        environment,
        "SELECT v.version_id, v.run_date, p.version_id IS NOT NULL AS published, v.published_at, v.loaded_at, v.rows,"
        " v.checksum, v.ranker_version, v.uplift_version, v.mlflow_run_id, v.verdict FROM {versions} v"
        " LEFT JOIN {published} p ON p.version_id = v.version_id ORDER BY v.run_date DESC, v.loaded_at DESC",
    )


def model_before(site: Site, environment: Environment, run_date: date, model: str) -> str | None:
    """Registry version of ``model`` ('ranker' or 'uplift') behind the lists of the night published last, among those
    of run dates before ``run_date``; None where there is none. The same night run again finds the same.
    """
    column = sql.Identifier(f"{model}_version")
    query = sql.SQL(
        "SELECT {column} FROM {{versions}} WHERE published_at IS NOT NULL AND run_date < %s AND {column} IS NOT NULL"
        " ORDER BY published_at DESC LIMIT 1"
    ).format(column=column)
    found = _rows(site, environment, query.as_string(None), (run_date,))
    return next(iter(found[0].values())) if found else None


def rollback(site: Site, environment: Environment, version_id: str | None = None) -> Row:
    """Point at an earlier version: the one named, or the newest loaded before the published run date.

    Returns the versions left and shown, and the models that made the one shown; MLflow's aliases are left alone, so a
    rollback works while MLflow is away.
    """
    mart = site.warehouse.mart_schema
    known = status(site, environment)
    current = next((row for row in known if row["published"]), None)
    if current is None:
        raise NightliftError(f"{mart}.recommendations: nothing is published, so nothing can be rolled back")
    earlier = [
        row
        for row in known
        if (row["version_id"] == version_id if version_id else row["run_date"] < current["run_date"])
    ]
    if not earlier:
        wanted = f"no version {version_id}" if version_id else f"no version before {current['run_date']}"
        raise NightliftError(f"{mart}.recommendations: {wanted}; `python -m jobs status` lists the versions")
    (target,) = _rows(
        site,
        environment,
        "SELECT version_id, run_date, ranker_version, uplift_version, mlflow_run_id, rows, checksum, verdict"
        " FROM {versions} WHERE version_id = %s",
        (earlier[0]["version_id"],),
    )
    with warehouse.connect(environment) as connection:
        warehouse.create_mart(connection, mart)
        warehouse.lock(connection, f"nightlift publish {mart}")
        _point(connection, mart, target, target["verdict"], force=True)
    models = {name: target[name] for name in ("ranker_version", "uplift_version")}
    return {"from": current["version_id"], "to": target["version_id"], "run_date": target["run_date"], **models}
