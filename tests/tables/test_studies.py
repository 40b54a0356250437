"""A study is found by its site, night and settings, however the warehouse is addressed, and is read by no role."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from jobs.runtime.args import JobArgs
from jobs.runtime.environment import Environment
from jobs.runtime.site import Site
from jobs.tables import roles, studies
from jobs.tables.warehouse import connect

OWN = {"rounds": 5}


@pytest.fixture
def args(warehouse: Environment, shop: Site) -> JobArgs:
    return JobArgs(shop, date(2024, 1, 9), warehouse)


def short(url: str) -> str:
    return url.replace("postgresql://", "postgres://", 1)


def words(url: str) -> str:
    return make_conninfo(**{key: str(value) for key, value in conninfo_to_dict(url).items()})


@pytest.mark.parametrize("written", [short, words])
def test_every_address_of_libpq_leads_to_the_same_study(args: JobArgs, written: Callable[[str], str]) -> None:
    first = studies.open_study(args, OWN)
    address = written(args.environment.warehouse_url)
    assert address != args.environment.warehouse_url
    again = studies.open_study(
        replace(args, environment=replace(args.environment, services={"warehouse_url": address})), OWN
    )
    assert again.study_name == first.study_name
    assert [trial.system_attrs for trial in again.trials] == [trial.system_attrs for trial in first.trials]
    assert studies.left(again, 3) == 3


def test_another_night_has_another_study(args: JobArgs) -> None:
    first, other = (studies.open_study(replace(args, date=day), OWN) for day in (args.date, date(2024, 1, 16)))
    assert first.study_name != other.study_name


def test_no_role_of_the_mart_reads_a_study(args: JobArgs) -> None:
    studies.open_study(args, OWN)
    with connect(args.environment) as connection:
        roles.make(connection)
        for role in roles.ROLES:
            (may,) = connection.execute(
                "SELECT has_schema_privilege(%s, %s, 'USAGE')", (role, studies.schema(args))
            ).fetchone() or (None,)
            assert may is False, role
