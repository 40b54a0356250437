"""What was published, and what the log holds of it: the reads of ``evaluate_feedback``."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from psycopg import sql

from jobs.runtime.args import JobArgs
from jobs.runtime.site import Site
from jobs.tables import mart_schema, roles, warehouse
from jobs.tables.contracts import EXPLORED, EXPOSURES, INTERACTIONS
from jobs.tables.lake import Lake
from jobs.tables.schema import Table


@dataclass(frozen=True)
class Version:
    """A published version; ``holdout_share`` is the site's setting of that night, None where it was not recorded."""

    version_id: str
    run_date: date
    holdout_share: float | None


def published_versions(args: JobArgs) -> list[Version]:
    """What was published last for each run date before tonight, oldest first.

    A version that was loaded but never pointed at (a newer night was published) is not among them, nor is one whose
    lists were dropped.
    """
    mart = args.site.warehouse.mart_schema
    query = sql.SQL(
        "SELECT DISTINCT ON (v.run_date) v.version_id, v.run_date, m.value FROM {versions} v"
        " LEFT JOIN {run_metrics} m ON m.version_id = v.version_id AND m.metric = 'holdout_share'"
        " WHERE v.published_at IS NOT NULL AND v.dropped_at IS NULL AND v.run_date < {before}"
        " ORDER BY v.run_date, v.published_at DESC"
    )
    with mart_schema.reading(args.environment, mart) as connection:
        if connection is None:
            return []
        given = query.format(**mart_schema.views(mart), before=sql.Literal(args.date))
        return [Version(*row) for row in warehouse.execute(connection, given)]


def _rows(args: JobArgs, table: str, columns: Sequence[str], version: str) -> pd.DataFrame:
    """Distinct values of ``columns`` among a version's rows, in their order."""
    query = sql.SQL("SELECT DISTINCT {} FROM {} WHERE version_id = {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        mart_schema.views(args.site.warehouse.mart_schema)[table],
        sql.Literal(version),
    )
    with warehouse.adbc_connect(args.environment) as connection, connection.cursor() as cursor:
        roles.act_as(connection, roles.READER)
        cursor.execute(warehouse.text(query))
        return cursor.fetch_arrow_table().to_pandas().sort_values(list(columns), kind="stable", ignore_index=True)


def users_of(args: JobArgs, version: str) -> pd.Index:
    """Ids of the users who have a list in a version."""
    return pd.Index(_rows(args, "recommendations_history", ("user_id",), version)["user_id"], name="user_id")


def lists_of(args: JobArgs, version: str) -> pd.DataFrame:
    """user_id, rank, item_id, policy and relevance of a version's lists, best first."""
    return _rows(args, "recommendations_history", ("user_id", "rank", "item_id", "policy", "relevance"), version)


def segments_of(args: JobArgs, version: str) -> pd.DataFrame:
    """user_id, segment and segment_label of a version's profiles."""
    return _rows(args, "user_profiles", ("user_id", "segment", "segment_label"), version)


def explored_of(args: JobArgs, version: Version) -> pd.DataFrame:
    """EXPLORED rows of a version; none where its night left none, or was run again as another version."""
    if version.run_date not in Lake(args).dates(EXPLORED):
        return pd.DataFrame(columns=EXPLORED.names)
    night = Lake(replace(args, date=version.run_date))
    return night.read_pandas(EXPLORED, where=ds.field("version_id") == version.version_id)


def _history(lake: Lake, table: Table, columns: Sequence[str], where: ds.Expression) -> Iterator[pa.Table]:
    """Rows of an incremental table's whole past that ``where`` wants, a part at a time.

    A column that an earlier night did not have yet is null there.
    """
    day = ds.field(str(table.incremental))
    for part in lake.history(table):
        mine = where if part.end is None else where & (day < part.end)
        source = ds.dataset(list(part.files), filesystem=lake.fs, schema=table.arrow_schema)
        yield source.to_table(columns=list(columns), filter=mine)


def _is(column: str, values: Collection[str]) -> ds.Expression:
    return ds.field(column).isin(pa.array(sorted(values), pa.string()))  # an empty list has no type of its own


def events(lake: Lake, types: Collection[str], start: date, end: date, more: Sequence[str] = ()) -> pd.DataFrame:
    """user_id, item_id, event_ts and the columns ``more`` of the events of ``types`` in [start, end), one row each."""
    first, last = (datetime.combine(day, time(), UTC) for day in (start, end))
    moment = ds.field("event_ts")
    wanted = (moment >= first) & (moment < last) & _is("event_type", types)
    columns = ["user_id", "item_id", "event_ts", *more]
    return pa.concat_tables(_history(lake, INTERACTIONS, columns, wanted)).to_pandas()


def votes(lake: Lake, site: Site, start: date, end: date) -> pd.DataFrame:
    """user_id, item_id and ``said`` of the last vote of each pair in [start, end), in the site's weights."""
    how = site.opinions
    types = {*how.votes, *how.ratings} & set(site.feedback)
    found = events(lake, types, start, end, ["event_id", "event_type", "valence"])
    scale = found["valence"].where(found["event_type"].isin(how.ratings), 1.0)
    weight = found["event_type"].map(site.feedback).astype(float)
    ordered = found.assign(said=weight * scale).sort_values(["event_ts", "event_id"], kind="stable")
    last = ordered.dropna(subset="said").drop_duplicates(["user_id", "item_id"], keep="last")
    return last[["user_id", "item_id", "said"]].reset_index(drop=True)


def comments(lake: Lake, site: Site, start: date, end: date) -> pd.DataFrame:
    """user_id, item_id and ``said``, the sentiment, of the comments in [start, end) that could be read."""
    types = set(site.opinions.comments) & set(site.feedback)
    found = events(lake, types, start, end, ["valence"]).rename(columns={"valence": "said"})
    return found.dropna(subset="said")[["user_id", "item_id", "said"]].reset_index(drop=True)


def shown_versions(lake: Lake, versions: Collection[str]) -> set[str]:
    """Those of ``versions`` that any exposure, of whatever night, says it came from."""
    wanted = _is("version_id", versions)
    return {
        version
        for part in _history(lake, EXPOSURES, ["version_id"], wanted)
        for version in part["version_id"].unique().to_pylist()
    }


def exposures_of(lake: Lake, version: str) -> pd.DataFrame:
    """user_id, item_id, policy and position of the exposures that came from a version."""
    columns = ["user_id", "item_id", "policy", "position"]
    wanted = ds.field("version_id") == version
    return pa.concat_tables(_history(lake, EXPOSURES, columns, wanted)).to_pandas()
