"""Several publishers at once, and old nights published long after newer ones."""

import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from jobs import publish
from jobs.runtime.args import JobArgs
from tests.faults.conftest import assert_whole, later, polling, published, query, version, whole, words
from tests.faults.wire import SECONDS, Wire

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (2, 2)])
def test_of_two_publishers_at_once_the_newer_night_wins_whoever_was_first(
    job: JobArgs, start: Callable[..., BaseProcess], tmp_path: Path, first: int, second: int
) -> None:
    base = later(job, 0)
    nights = {days: later(job, days) for days in {first, second}}
    assert publish.main(words(base)) == 0
    with polling(job) as seen, Wire(job.environment.warehouse_url, b"ADD PRIMARY KEY") as wire:
        one = start(nights[first], WAREHOUSE_URL=wire.url)
        assert wire.held.wait(SECONDS)
        other = start(nights[second])
        until = time.monotonic() + SECONDS
        while query(job, WAITING) == [(0,)]:
            assert time.monotonic() < until, "the second publisher never waited for the first"
            time.sleep(0.01)
        assert published(job) == version(base.date), "nobody has published yet"
        wire.let_go()
        for process, log in ((one, "1.log"), (other, "2.log")):
            process.join(SECONDS)
            assert process.exitcode == 0, (tmp_path / log).read_text(encoding="utf-8")
    assert published(job) == version(nights[2].date)
    assert seen <= whole(base, *nights.values()) and seen >= whole(base, nights[2])
    assert_whole(job)
    known = {row[0] for row in query(job, "SELECT version_id FROM {mart}.versions")}
    assert {version(night.date) for night in nights.values()} <= known


def test_a_backfill_of_five_old_nights_moves_no_pointer(job: JobArgs) -> None:
    newest = later(job, 60)
    assert publish.main(words(newest)) == 0
    pointer = query(job, "SELECT * FROM {mart}.published")
    old = [later(job, days) for days in (1, 5, 3, 2, 4)]
    with polling(job) as seen:
        for night in old:
            assert publish.main(words(night)) == 0
    assert seen == whole(newest)
    assert query(job, "SELECT * FROM {mart}.published") == pointer
    assert_whole(job)
    first, last = (version(job.date + timedelta(days=days)) for days in (1, 5))
    loaded = (
        f"SELECT count(*), count(published_at) FROM {{mart}}.versions WHERE version_id BETWEEN '{first}' AND '{last}'"
    )
    assert query(job, loaded) == [(5, 0)]
