"""What people read from the mart: versions, figures, effects, users and their lists.

Every read happens in one read-only snapshot with a time limit, so that a page never shows half of two versions and a
slow query never holds the warehouse. Needs no column beyond those of the mart; names of items come from the raw items.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from jobs.runtime.environment import Environment
from jobs.runtime.errors import NightliftError
from jobs.runtime.site import Site
from jobs.tables import mart_schema, roles, warehouse

Row = dict[str, Any]
SECONDS = 5  # a query may take
LAST = "\U0010ffff"  # no id goes on with it: prefix + LAST is above everything that starts with the prefix


@dataclass(frozen=True)
class Mart:
    """The mart of one site in one snapshot of the warehouse."""

    site: Site
    connection: psycopg.Connection[Any]

    def rows(self, query: str, *values: object) -> list[Row]:
        """Rows of a query; ``{table}`` becomes the quoted name of its view, ``%s`` a bound value."""
        names = mart_schema.views(self.site.warehouse.mart_schema)
        cursor = self.connection.cursor(row_factory=dict_row)
        return cursor.execute(sql.SQL(query).format(**names), values).fetchall()

    def published(self) -> Row | None:
        """The version readers see, or None."""
        rows = self.rows(
            "SELECT p.version_id, p.run_date, p.rows, p.checksum, p.ranker_version, p.uplift_version, p.mlflow_run_id,"
            " v.mlflow_experiment_id, p.published_at, p.verdict FROM {published} p"
            " LEFT JOIN {versions} v ON v.version_id = p.version_id WHERE p.table_name = 'recommendations'"
        )
        return rows[0] if rows else None

    def versions(self, limit: int | None, offset: int = 0) -> list[Row]:
        """Versions that have lists (None: all), newest first; ``published`` says which one is, ``published_at`` when
        it last was.
        """
        return self.rows(
            "SELECT v.version_id, v.run_date, v.rows, v.checksum, v.ranker_version, v.uplift_version, v.mlflow_run_id,"
            " v.mlflow_experiment_id, v.loaded_at, v.published_at, v.verdict, p.version_id IS NOT NULL AS published"
            " FROM {versions} v LEFT JOIN {published} p ON p.version_id = v.version_id WHERE v.dropped_at IS NULL"
            " ORDER BY v.run_date DESC, v.loaded_at DESC, v.version_id LIMIT %s OFFSET %s",
            limit,
            offset,
        )

    def figures(self, version: str) -> dict[str, Row]:
        """Figures of one version by name: value, low and high (90 %, None where there is no interval)."""
        rows = self.rows("SELECT metric, value, low, high FROM {run_metrics} WHERE version_id = %s", version)
        return {row.pop("metric"): row for row in rows}

    def nights(self, metrics: Sequence[str], limit: int) -> list[Row]:
        """The last nights, newest first: run_date, version_id and ``figures`` by name.

        Of several versions of a night the one that was published last, else the one loaded last.
        """
        rows = self.rows(
            "WITH nights AS (SELECT DISTINCT ON (run_date) run_date, version_id FROM {versions}"
            " ORDER BY run_date DESC, published_at DESC NULLS LAST, loaded_at DESC LIMIT %s)"
            " SELECT n.run_date, n.version_id, m.metric, m.value, m.low, m.high FROM nights n"
            " LEFT JOIN {run_metrics} m ON m.run_date = n.run_date AND m.version_id = n.version_id"
            " AND m.metric = ANY(%s) ORDER BY n.run_date DESC",
            limit,
            list(metrics),
        )
        nights: dict[str, Row] = {}
        for row in rows:
            head = {name: row[name] for name in ("run_date", "version_id")}
            night = nights.setdefault(row["version_id"], head | {"figures": {}})
            if row["metric"] is not None:
                night["figures"][row["metric"]] = {name: row[name] for name in ("value", "low", "high")}
        return list(nights.values())

    def measured(self, limit: int) -> list[Row]:
        """What was measured of published lists, newest list first: list_date, judged_on, days, value, low, high.

        Each list counts once, as its latest judgement has it.
        """
        return self.rows(
            "SELECT * FROM (SELECT DISTINCT ON (list_date) run_date - days AS list_date, run_date AS judged_on, days,"
            " value, low, high FROM (SELECT m.*, substring(metric FROM '^feedback_lift_([0-9]+)d$')::integer AS days"
            " FROM {run_metrics} m WHERE metric ~ '^feedback_lift_[0-9]+d$') AS lifts"
            " ORDER BY list_date DESC, run_date DESC) AS lists ORDER BY list_date DESC LIMIT %s",
            limit,
        )

    def effects(self, version: str, level: str, method: str) -> list[Row]:
        """ITEM_EFFECTS of a version at one level by one method, the groups with most trials first."""
        return self.rows(
            "SELECT key, estimate, low, high, treated, control, overlap_share, identified FROM {item_effects}"
            " WHERE version_id = %s AND level = %s AND method = %s ORDER BY treated + control DESC, key",
            version,
            level,
            method,
        )

    def segments(self, version: str) -> list[Row]:
        """Segments of a version: segment, segment_label and users."""
        return self.rows(
            "SELECT segment, segment_label, count(*) AS users FROM {user_profiles} WHERE version_id = %s"
            " GROUP BY segment, segment_label ORDER BY segment",
            version,
        )

    def users(self, version: str, prefix: str, limit: int, after: str | None = None) -> list[str]:
        """Users with a list whose id starts with ``prefix``, in byte order, those after ``after``."""
        rows = self.rows(
            'SELECT user_id FROM {recommendations_history} WHERE version_id = %s AND rank = 1 AND user_id COLLATE "C"'
            ' >= %s AND user_id COLLATE "C" < %s AND user_id COLLATE "C" > %s ORDER BY user_id COLLATE "C" LIMIT %s',
            version,
            prefix,
            prefix + LAST,
            after or "",
            limit,
        )
        return [str(row["user_id"]) for row in rows]

    def profile(self, version: str, user: str) -> Row | None:
        """Segment, its label and preferences (JSON) of a user, or None."""
        rows = self.rows(
            "SELECT segment, segment_label, preferences FROM {user_profiles} WHERE version_id = %s AND user_id = %s",
            version,
            user,
        )
        return rows[0] if rows else None

    def adjusted_list(self, version: str, user: str) -> list[Row]:
        """The list of a user as published: item, effect with interval, reason."""
        return self.rows(
            "SELECT rank, item_id, policy, score, relevance, effect, effect_low, effect_high, identified, propensity,"
            " reason FROM {recommendations_history} WHERE version_id = %s AND user_id = %s ORDER BY rank",
            version,
            user,
        )

    def relevance_list(self, version: str, user: str) -> list[Row]:
        """The list of a user by relevance alone."""
        return self.rows(
            "SELECT rank, item_id, relevance FROM {relevance_lists} WHERE version_id = %s AND user_id = %s"
            " ORDER BY rank",
            version,
            user,
        )

    def example_user(self, version: str) -> str:
        """The first user, by id, whose list is ranked by effect; or, where nobody's is, the first of all."""
        rows = self.rows(
            "SELECT user_id FROM {recommendations_history} WHERE version_id = %s AND rank = 1"
            " ORDER BY policy = 'adjusted' DESC, user_id LIMIT 1",
            version,
        )
        return str(rows[0]["user_id"])

    def items(self, ids: Sequence[str]) -> dict[str, Row]:
        """Title and category of items as the raw items have them; what is empty, no column there or not granted to
        readers is None.
        """
        raw = self.site.warehouse.raw_schema
        columns = self.rows(
            "SELECT a.attname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = 'items'"
            " AND a.attname = ANY(%s) AND has_schema_privilege(n.oid, 'USAGE')"
            " AND has_column_privilege(c.oid, a.attnum, 'SELECT')",
            raw,
            list(roles.NAMES),
        )
        known = {row["name"] for row in columns}
        if "item_id" not in known:
            return {}
        words = [
            sql.SQL("nullif({}::text, '') AS {}").format(sql.Identifier(name), sql.Identifier(name))
            if name in known
            else sql.SQL("NULL AS {}").format(sql.Identifier(name))
            for name in ("title", "category")
        ]
        query = sql.SQL("SELECT item_id, {} FROM {} WHERE item_id = ANY(%s)")
        found = self.connection.cursor(row_factory=dict_row).execute(
            query.format(sql.SQL(", ").join(words), warehouse.ident(raw, "items")), (list(ids),)
        )
        return {str(row.pop("item_id")): row for row in found}


@contextmanager
def read(site: Site, environment: Environment) -> Iterator[Mart | None]:
    """The mart in one read-only snapshot, as a reader; None where no night has published into it yet.

    Raises SetupError where the warehouse is away and NightliftError where it refuses a query or takes too long.
    """
    schema = site.warehouse.mart_schema
    with mart_schema.reading(environment, schema, psycopg.IsolationLevel.REPEATABLE_READ) as connection:
        try:
            if connection:
                connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(f"{SECONDS}s")))
            yield Mart(site, connection) if connection else None
        except psycopg.errors.QueryCanceled:
            raise NightliftError(
                f"{schema}: a query took more than {SECONDS} s; run ANALYZE there or look for what locks it"
            ) from None
        except psycopg.Error as error:
            raise NightliftError(f"{schema}: {str(error).splitlines()[0]}") from error
