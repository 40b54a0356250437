"""Great Expectations over lake tables: suites from ``expectations/``, Data Docs at a stable address.

Only the columns a suite names are read. Up to MANY_ROWS rows every check is on all of them; above that the suite sees
``suspicious_sample``. No result carries a row or a value of the data, only counts.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.runtime import gx_pages, pages, result
from jobs.runtime.args import JobArgs
from jobs.runtime.environment import ROOT
from jobs.runtime.errors import DataError, SetupError
from jobs.tables.lake import Lake
from jobs.tables.schema import Table

SUITES = ROOT / "expectations"
COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}
MANY_ROWS = 2_000_000  # rows above which Great Expectations sees a sample that no fault can hide from
SAMPLE_ROWS = 500_000
EACH = 500


@dataclass(frozen=True)
class Result:
    """What one expectation found; ``failing`` is None where the rule speaks of the table, not of rows."""

    table: str
    column: str
    expectation: str
    severity: str
    success: bool
    failing: int | None
    rows: int | None
    observed: str | None
    note: str

    def __str__(self) -> str:
        found = f"{self.failing:,} of {self.rows:,} rows fail" if self.failing is not None else f"found {self.observed}"
        where = f"{self.table}.{self.column}" if self.column else self.table
        return f"{where} {self.expectation}: {found} ({self.note})"


def suite_columns(table: str) -> list[str]:
    """Columns a suite reads, in the order it names them."""
    names: dict[str, None] = {}
    for expectation in load_suite(table)["expectations"]:
        kwargs = expectation["kwargs"]
        for name in [
            kwargs.get("column"),
            kwargs.get("column_A"),
            kwargs.get("column_B"),
            *kwargs.get("column_list", ()),
        ]:
            if name:
                names[name] = None
    return list(names)


def load_suite(table: str) -> dict[str, Any]:
    """The suite of a table as it lies in ``expectations/``; SetupError where there is none."""
    path = SUITES / f"{table}.json"
    if not path.exists():
        raise SetupError(f"no suite {path}; every checked table has one")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def light_frame(data: pa.Table, key: tuple[str, ...] = ()) -> pd.DataFrame:
    """Arrow rows as a small pandas frame: categories for text, UTC times without a zone, days as times."""
    if key and data.num_rows > MANY_ROWS:
        data = suspicious_sample(data, key[0])
    columns: dict[str, Any] = {}
    for name in data.column_names:
        column = data.column(name)
        kind = column.type
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp("us"))
        elif pa.types.is_date(kind):
            column = column.cast(pa.timestamp("s"))
        elif (pa.types.is_string(kind) or pa.types.is_large_string(kind)) and key != (name,):
            column = column.dictionary_encode()
        columns[name] = column.to_pandas()
    return pd.DataFrame(columns, copy=False)


def suspicious_sample(data: pa.Table, key: str, size: int = SAMPLE_ROWS) -> pa.Table:
    """A deterministic sample that a fault cannot hide from.

    Every k-th distinct key with all its rows (so that the share of repeated keys is kept), and beside them, of each
    column, the smallest and the largest value, up to EACH rows that are null or False, and up to EACH repeated keys.
    A rule on single rows or on uniqueness that holds here holds on the whole table; the added rows move a share by at
    most a few thousandths.
    """
    encoded = data.column(key).dictionary_encode()
    codes = np.concatenate([np.asarray(chunk.indices.fill_null(-1)) for chunk in encoded.chunks])
    counts = np.bincount(codes[codes >= 0], minlength=1)
    step = max(1, -(-data.num_rows // size))
    wanted = (codes >= 0) & (codes % step == 0)
    repeated = np.flatnonzero(counts > 1)[:EACH]
    if len(repeated):
        wanted |= np.isin(codes, repeated)
    for name in data.column_names:
        column = data.column(name)
        faults = pc.is_null(column) if not pa.types.is_boolean(column.type) else pc.invert(pc.fill_null(column, False))
        wanted[pc.indices_nonzero(faults).slice(0, EACH).to_numpy()] = True
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_temporal(column.type):
            ends = pc.min_max(column)
            for end in ("min", "max"):
                if ends[end].is_valid:
                    wanted[pc.index(column, ends[end]).as_py()] = True
    return data.take(pa.array(np.flatnonzero(wanted)))


def is_known(column: pa.ChunkedArray, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """True where an id is one of ``ids``; null ids stay null, for the not-null rule to count."""
    known = pc.is_in(column, value_set=ids.combine_chunks())
    return pc.if_else(pc.is_valid(column), known, pa.scalar(None, pa.bool_()))


def lake_frames(lake: Lake, users: Table, items: Table, logs: Sequence[Table]) -> dict[str, pd.DataFrame]:
    """Tonight's rows of four tables with the columns their suites read; logs say whether user and item are known."""
    ids = {name: lake.read_arrow(table, [name])[name] for name, table in (("user_id", users), ("item_id", items))}
    frames = {}
    for table in (users, items, *logs):
        derived = {"user_known": "user_id", "item_known": "item_id"} if table in logs else {}
        data = lake.read_arrow(table, [name for name in suite_columns(table.name) if name not in derived])
        for name, column in derived.items():
            data = data.append_column(name, is_known(data[column], ids[column]))
        frames[table.name] = light_frame(data, table.key)
    return frames


def validate(
    frames: Mapping[str, pd.DataFrame], parameters: Mapping[str, Any], run_date: date, docs: Path | None = None
) -> list[Result]:
    """Results of every frame against its table's suite in one GX context; Data Docs replace the folder ``docs``.

    ``parameters`` fill the suites' ``$PARAMETER``s. Nothing is raised for data that fail: see ``require``.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import ProgressBarsConfig

    with tempfile.TemporaryDirectory(prefix="nightlift-docs-") as temporary:
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        for site in list(context.get_site_names()):
            context.delete_data_docs_site(site)
        if docs:
            backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": temporary}
            context.add_data_docs_site(
                "nightlift",
                {
                    "class_name": "SiteBuilder",
                    "store_backend": backend,
                    "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "show_cta_footer": False},
                },
            )
        run_time = datetime(run_date.year, run_date.month, run_date.day, tzinfo=UTC)
        source = context.data_sources.add_pandas("lake")
        results: list[Result] = []
        for table, frame in frames.items():
            suite = context.suites.add(gx.ExpectationSuite(**load_suite(table)))
            batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe(table)
            definition = context.validation_definitions.add(
                gx.ValidationDefinition(name=table, data=batch, suite=suite)
            )
            outcome = definition.run(
                batch_parameters={"dataframe": frame},
                expectation_parameters=dict(parameters),
                result_format=COUNTS_ONLY,
                run_id=RunIdentifier(run_name=table, run_time=run_time),
            )
            results.extend(_result(table, entry) for entry in outcome.results)
        if docs:
            context.build_data_docs()
            gx_pages.settle(Path(temporary), docs.name)
            docs.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(docs, ignore_errors=True)
            shutil.copytree(temporary, docs)
    return results


def _result(table: str, entry: Any) -> Result:
    configuration, found = entry.expectation_config, entry.result or {}
    kwargs = configuration.kwargs
    column = kwargs.get("column") or ", ".join(
        kwargs.get("column_list") or [kwargs[name] for name in ("column_A", "column_B") if name in kwargs]
    )
    observed = found.get("observed_value")
    if entry.exception_info and any(
        part.get("raised_exception")
        for part in [entry.exception_info, *entry.exception_info.values()]
        if isinstance(part, dict)
    ):
        observed = f"an error: {_first_message(entry.exception_info)}"
    return Result(
        table=table,
        column=column,
        expectation=configuration.type.removeprefix("expect_"),
        severity=str(getattr(configuration.severity, "value", configuration.severity) or "critical"),
        success=bool(entry.success),
        failing=found.get("unexpected_count"),
        rows=found.get("element_count"),
        observed=None if observed is None else str(observed),
        note=str(configuration.meta.get("notes", "")) if configuration.meta else "",
    )


def _first_message(information: dict[str, Any]) -> str:
    for part in [information, *information.values()]:
        if isinstance(part, dict) and part.get("exception_message"):
            return " ".join(str(part["exception_message"]).split())[:300]
    return "unknown"


def require(results: list[Result], where: str) -> None:
    """Print the warnings; DataError names table, column, rule, failing count and rows of every critical failure."""
    failed = [one for one in results if not one.success]
    for one in failed:
        if one.severity != "critical":
            print(f"{one.severity}: {one}")
    critical = [str(one) for one in failed if one.severity == "critical"]
    if critical:
        raise DataError(f"{where}: {'; '.join(critical)}")
    print(f"{where}: {len(results) - len(failed)} of {len(results)} expectations hold, none of the others critical")


def check(args: JobArgs, name: str, frames: Mapping[str, pd.DataFrame], **parameters: Any) -> dict[str, Any]:
    """Validate, build the night's pages, fail where it is critical; returns a small record of the check for the lake.

    The pages are there before a failure is raised: that is when they are read.
    """
    run_date = datetime(args.date.year, args.date.month, args.date.day)
    home = args.environment.home / "docs"
    docs = pages.check_folder(home, args.site.site, args.date, name)
    results = validate(frames, {"run_date": run_date, **parameters}, args.date, docs)
    documents = [asdict(result) for result in results]
    pages.record_check(docs, documents, [str(result) for result in results])
    pages.rebuild(home, args.site.site, args.date)
    page = pages.checks_page(home, args.site.site, args.date)
    result.record(data_docs=f"{page.relative_to(home).as_posix()}#{name}")
    print(f"Data Docs: {page.as_uri()}")
    require(results, f"{name} of {args.site.site}, {args.date}")
    return {"docs": str(page), "results": documents}
