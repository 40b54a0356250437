"""Which scored candidates may stand in tonight's lists at all."""

from datetime import timedelta

import pandas as pd
import pyarrow.dataset as ds

from jobs.runtime.args import JobArgs
from jobs.tables.contracts import ITEMS
from jobs.tables.lake import Lake


def listable(args: JobArgs, lake: Lake) -> ds.Expression | None:
    """The rows of SCORES that may be listed, or None where all may.

    Left out are items that the user had an outcome on within ``ranking.owned``, and items that are not available for
    the whole day of the list: retrieval asks for its start alone.
    """
    parts = []
    if args.site.owned_days:
        since = ds.field("days_since_last")
        parts.append(since.is_null() | (since > args.site.owned_days))
    gone = unavailable(lake.read_pandas(ITEMS, ["item_id", "available_from", "available_until"]), args)
    if gone:
        parts.append(~ds.field("item_id").isin(gone))
    return parts[0] if len(parts) == 1 else parts[0] & parts[1] if parts else None


def unavailable(items: pd.DataFrame, args: JobArgs) -> list[str]:
    """Ids of the items that are not there from the run date to the next day."""
    start = pd.Timestamp(args.date, tz="UTC")
    begins, ends = (pd.to_datetime(items[name], utc=True) for name in ("available_from", "available_until"))
    return items.loc[(begins > start) | (ends < start + timedelta(days=1)), "item_id"].tolist()
