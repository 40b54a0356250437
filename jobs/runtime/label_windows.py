"""Label windows are made once: a night makes those that no earlier night has, and carries the others over.

What a window's candidates looked like on its as-of day does not change any more; its outcomes may, by late events, and
are looked up again. So a night's work follows its new rows, and the newest window is retrieved by models as new, on its
as-of day, as those that retrieve tonight.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from jobs import transforms
from jobs.models.folds import uniform_rows
from jobs.runtime.args import JobArgs
from jobs.tables.contracts import CANDIDATES, EXPOSURES, INTERACTIONS, ITEMS, PAIR_DAYS, USERS
from jobs.tables.lake import FIRST_DAY, Lake
from jobs.transforms import calendar

PLAN, WRITTEN = "label_plan", "label_windows"  # documents: what a night is to make, and what it has written
SEPARATOR = "\x1f"
KEYS = ((USERS, "user_id"), (ITEMS, "item_id"))


@dataclass(frozen=True)
class Plan:
    """As-of days of the windows tonight makes, ascending, and the night whose candidates hold each of the others."""

    made: tuple[date, ...]
    carried: dict[date, date]

    def retrieval_days(self, run_date: date) -> tuple[date, date]:
        """As-of days of the retrieval models: the first window made tonight (used for all of them) and the run date."""
        return self.made[0], run_date

    def document(self) -> dict[str, Any]:
        """For JSON."""
        carried = {str(day): str(night) for day, night in self.carried.items()}
        return {"made": list(map(str, self.made)), "carried": carried}

    @classmethod
    def read(cls, lake: Lake) -> "Plan":
        """Tonight's, as build_features wrote it."""
        found = lake.read_json(PLAN)
        carried = {date.fromisoformat(day): date.fromisoformat(night) for day, night in found["carried"].items()}
        return cls(tuple(map(date.fromisoformat, found["made"])), carried)


def plan(args: JobArgs, lake: Lake) -> Plan:
    """What to make tonight: the newest window, and those that no earlier night made as tonight would.

    A window is made anew where the site file or the code that makes candidates changed, and where a night since read
    days before its as-of day again.
    """
    wanted = calendar.label_days(args.site, args.date)
    key, since = made_by(args), _read_again(lake, args.date)
    carried: dict[date, date] = {}
    for night in reversed(lake.dates(INTERACTIONS)):
        if min(night, since) <= wanted[0]:
            break
        written = lake.manifest(WRITTEN, night)["document"] if lake.has(WRITTEN, night) else {}
        if written.get("made_by") == key and written["files"] == _files(lake, night):
            for day in map(date.fromisoformat, written["days"]):
                if day in wanted[:-1] and day <= since:
                    carried.setdefault(day, night)
        since = min(since, _read_again(lake, night))
    return Plan(tuple(day for day in wanted if day not in carried), carried)


def made_by(args: JobArgs) -> str:
    """sha256 over the site's settings and the code and columns of candidates; on a cluster the code comes as a zip."""
    code = sorted(
        (file.name, file.read_bytes().decode()) for file in files(transforms).iterdir() if file.name.endswith(".py")
    )
    parts = [args.site.model_dump_json(), CANDIDATES.names, code]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def write(args: JobArgs, lake: Lake, windows: Plan) -> None:
    """Note which windows tonight's candidates hold, for later nights to carry over."""
    days = sorted([*windows.made, *windows.carried])
    found = {"made_by": made_by(args), "days": list(map(str, days)), "files": _files(lake, args.date)}
    lake.write_json(WRITTEN, found)


def carried(args: JobArgs, lake: Lake, windows: Plan) -> Iterator[pa.RecordBatch]:
    """Labelled candidates of windows made by earlier nights, with the outcomes that are known now.

    Users and items that are gone are left out. Rows without an outcome of what was the newest window then are thinned
    as those of all older ones are.
    """
    users, items = (lake.read_arrow(table, [key])[key].combine_chunks() for table, key in KEYS)
    for night in sorted(set(windows.carried.values())):
        days = [day for day, of in windows.carried.items() if of == night]
        outcomes = pa.chunked_array([_outcomes(lake, day, args.site.outcome.window_days) for day in days])
        parts = list(Lake(replace(args, date=night)).history(CANDIDATES)[-1].files)
        where = ds.field("as_of").isin(days) & ds.field("label").is_valid()
        for batch in ds.dataset(parts, filesystem=lake.fs).to_batches(columns=CANDIDATES.names, filter=where):
            there = pc.and_(pc.is_in(batch["user_id"], users), pc.is_in(batch["item_id"], items))
            yield relabelled(batch.filter(there), outcomes, args.site.ranker.negative_share)


def relabelled(batch: pa.RecordBatch, outcomes: pa.ChunkedArray, negative_share: float) -> pa.RecordBatch:
    """The rows of windows with ``outcomes`` (``keys``) as their labels, and all others thinned and weighted."""
    label = pc.is_in(keys(batch, batch["as_of"]), outcomes).to_numpy(zero_copy_only=False)
    weight = np.where(label, np.float32(1.0), batch["weight"].to_numpy())
    whole = label | (weight > 1.0)
    drawn = uniform_rows(batch["user_id"], batch["item_id"], batch["as_of"].cast(pa.string()), salt="negatives")
    kept = whole | (drawn < negative_share)
    new = {"label": label.astype(np.int32), "weight": np.where(whole, weight, 1.0 / negative_share).astype(np.float32)}
    for name, values in new.items():
        batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), pa.array(values))
    return batch.filter(pa.array(kept))


def keys(rows: pa.RecordBatch | pa.Table, as_of: pa.Array) -> pa.Array:
    """User, item and as-of day of each row as one text."""
    return pc.binary_join_element_wise(rows["user_id"], rows["item_id"], as_of.cast(pa.string()), SEPARATOR)


def _outcomes(lake: Lake, day: date, window: int) -> pa.Array:
    inside = (ds.field("event_day") >= day) & (ds.field("event_day") < day + timedelta(days=window))
    found = lake.read_arrow(PAIR_DAYS, ["user_id", "item_id"], inside & (ds.field("outcomes") > 0)).combine_chunks()
    return pc.unique(keys(found, pa.repeat(pa.scalar(day), len(found))))


def _files(lake: Lake, night: date) -> list[str]:
    """sha256 of each file of a night's candidates; of a night without them, none."""
    return (
        [entry["sha256"] for entry in lake.manifest(CANDIDATES, night)["files"]] if lake.has(CANDIDATES, night) else []
    )


def _read_again(lake: Lake, night: date) -> date:
    """The first day of the logs that a night read, new or again; of a night that was stopped meanwhile, all."""
    logs = (INTERACTIONS, EXPOSURES)
    spans: list[Sequence[str] | None] = [
        lake.manifest(log, night)["covers"] if lake.has(log, night) else None for log in logs
    ]
    return min(date.fromisoformat(span[0]) if span else FIRST_DAY for span in spans)
