"""The published tables as Airflow assets: other DAGs wait for them, and each new version is an event.

A dry run and a version that readers do not see are no event, so the assets hang on an alias.
"""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset, AssetAlias


def published(site: str) -> AssetAlias:
    """The alias that ``publish`` of a site writes to."""
    return AssetAlias(f"{site}.published")


def table(site: str, name: str) -> Asset:
    """One published table, such as ``Asset("grocery.recommendations")``."""
    return Asset(f"{site}.{name}")


def announce(events: Any, site: str, told: Mapping[str, Any]) -> None:
    """One event a published table, with its rows, version and run date in ``extra``; none where nothing was published.

    Args:
        events: ``outlet_events`` of the task's context.
        site: name of the site.
        told: what ``publish`` told: published_rows by table, version_id and run_date.
    """
    for name, rows in told.get("published_rows", {}).items():
        extra = {"rows": rows, "version_id": told["version_id"], "run_date": told["run_date"]}
        events[published(site)].add(table(site, name), extra=extra)
