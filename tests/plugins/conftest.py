"""The shop as an API server finds it."""

from pathlib import Path

import pytest
import yaml

from jobs.runtime.environment import Environment
from jobs.runtime.site import Site


@pytest.fixture
def shop(shop: Site, warehouse: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The shop with a site file, in the environment of an API server."""
    shop = shop.model_copy(update={"site": shop.warehouse.mart_schema.replace("mart", "shop")})
    (tmp_path / f"{shop.site}.yaml").write_text(yaml.safe_dump(shop.model_dump(mode="json")), encoding="utf-8")
    monkeypatch.setenv("WAREHOUSE_URL", warehouse.warehouse_url)
    monkeypatch.setenv("NIGHTLIFT_SITES", str(tmp_path))
    monkeypatch.setenv("NIGHTLIFT_HOME", str(tmp_path / "home"))
    return shop
