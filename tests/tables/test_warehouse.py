"""Addresses of the warehouse: what is wrong is said, and nothing of a password."""

from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from jobs.runtime.environment import Environment
from jobs.runtime.errors import SetupError
from jobs.tables import warehouse as tables

PASSWORD = "hush5up9secret"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/shop",
        f"host=127.0.0.1 port=1 user=me password={PASSWORD}",
        f"postgresql://me:{PASSWORD}/x@127.0.0.1:1/shop",
        f"postgresql://me:1/{PASSWORD}@127.0.0.1/shop",
        f"postgresql://me:x@{PASSWORD}@127.0.0.1:1/shop",
        f"postgresql://me:{PASSWORD}%zz@127.0.0.1:1/shop",
        f"postgresql://127.0.0.1:1/shop?user=me&password={PASSWORD}&wat=1",
        f"postgresql://me:{PASSWORD}@[127.0.0.1/shop",
        f"{PASSWORD}",
    ],
)
@pytest.mark.parametrize("how", ["psycopg", "adbc"])
def test_an_address_that_fails_is_one_line_without_its_password(warehouse: Environment, url: str, how: str) -> None:
    nowhere = replace(warehouse, services={"warehouse_url": url})
    connect = {"psycopg": tables.connect, "adbc": tables.adbc_connect}[how]
    with pytest.raises(SetupError) as caught, connect(nowhere):
        pass
    said = str(caught.value)
    assert "secret" not in said and "hush" not in said and "\n" not in said
    assert "WAREHOUSE_URL" in said


def test_a_refused_password_is_said_without_it(warehouse: Environment) -> None:
    with tables.connect(warehouse, autocommit=True) as connection:
        connection.execute("CREATE ROLE somebody NOLOGIN")
    parts = urlsplit(warehouse.warehouse_url)
    url = parts._replace(netloc=f"somebody:{PASSWORD}@").geturl()
    assert PASSWORD in url
    nowhere = replace(warehouse, services={"warehouse_url": url})
    with pytest.raises(SetupError, match="somebody") as caught, tables.connect(nowhere):
        pass
    assert PASSWORD not in str(caught.value)
