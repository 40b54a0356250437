"""Ids as numbers: the place of each in the order of ids."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def places(table: DataFrame, key: str, name: str) -> DataFrame:
    """``key`` and, as ``name``, its place in the order of ids, from 0; one partition sorts the ids alone."""
    place = (F.row_number().over(Window.orderBy(key)) - 1).cast("bigint")
    return table.select(key, place.alias(name))
