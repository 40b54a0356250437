"""How fast the night ranks, on the state of a night of the demo: 2.44 million pairs.

    make run RUN_DATE=2017-12-17
    python -m benchmarks.speed --site grocery --date 2017-12-17

jobs: generate_candidates (retrieval, and the features of all labelled pairs and tonight's), train_ranker (both fits,
calibration, evaluation, MLflow) and score (relevance, propensity, effect and interval of each pair), one after another
as the night runs them: seconds, and the peak of the memory (PSS, GiB) of the job's own process and of Spark's, which
are its JVM and its Python workers.

executors: pairs a second of the job score's work on warm executors: candidates read from Parquet, matrices, the
predictions of all models (the ranker's booster, the propensity's of the user's fold, the learner's of all), posteriors,
intervals, and the scores written as Parquet. bare: pairs a second of ``inplace_predict`` of the same boosters on the
same matrices, which lie in memory, with as many threads as there are executor cores, without what the learner says of
the pairs' history, which is asked for once for all pairs that share theirs; and of the ranker's booster alone.
"""

import argparse
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic, sleep

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from benchmarks.nights import timed
from jobs.models import boosting, propensity, ranker, uplift
from jobs.models.folds import fold_of, threads
from jobs.models.scoring import Known, Scorer
from jobs.runtime.args import JobArgs, run
from jobs.runtime.errors import SetupError
from jobs.runtime.services.home import Home
from jobs.runtime.spark import spark_session
from jobs.score import load_scorer
from jobs.tables.contracts import CANDIDATES, LISTED, PAIR_COUNTS, SCORES
from jobs.tables.lake import BATCH_ROWS, Lake

JOBS = ("generate_candidates", "train_ranker", "score")
Matrix = NDArray[np.float32]


class Peak:
    """The largest memory of processes while the block runs, in GiB, by kind."""

    def __init__(self, **kinds: Callable[[], list[psutil.Process]]) -> None:
        self.kinds, self.gib, self._over = kinds, dict.fromkeys(kinds, 0.0), threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            for kind, processes in self.kinds.items():
                self.gib[kind] = max(self.gib[kind], sum(map(_pss, processes())) / 2**30)
            sleep(0.5)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0  # it has just ended


def job_processes() -> list[psutil.Process]:
    """The job that this process waits for."""
    return list(psutil.Process().children(recursive=True))


def spark_processes(args: JobArgs) -> Callable[[], list[psutil.Process]]:
    """Finds the JVM of the warm Spark and its Python workers; SetupError where there is none."""
    server = Home.open(args.environment).process("spark")
    if server is None:
        raise SetupError("there is no warm Spark; run `make up`")
    jvm = psutil.Process(server.pid)
    return lambda: [jvm, *jvm.children(recursive=True)]


@dataclass(frozen=True)
class Call:
    """One booster and the rows it predicts."""

    booster: bytes
    matrix: Matrix


def calls(scorer: Scorer, batch: pa.RecordBatch) -> list[Call]:
    """What ``Scorer.rows`` asks of XGBoost for these pairs, the ranker's booster first."""
    model, every = scorer.model, boosting.arrow_matrix(batch, ranker.COLUMNS)
    matrix = every[:, [ranker.COLUMNS.index(name) for name in model.adjusted]]
    counts = np.nan_to_num(boosting.arrow_matrix(batch, PAIR_COUNTS)).astype(np.int32)
    fold = fold_of(batch.column("user_id").to_numpy(zero_copy_only=False), model.folds)
    items = batch.column("item_id").to_numpy(zero_copy_only=False)
    e = propensity.columns(matrix, counts, boosting.arrow_matrix(batch, LISTED))
    seen = uplift.columns(matrix, model.adjusted, Known(model.effects)(items, counts)[1])
    found = [Call(scorer.booster, every)]
    found += [Call(own, e[fold == k]) for k, own in enumerate(model.propensity.boosters)]
    return found + [Call(raw, seen) for views in model.effects.learner.folds for raw in views[uplift.ALL].values()]


def seconds(work: Callable[[], object], times: int) -> float:
    """Of the fastest of some runs."""
    taken = []
    for _ in range(times):
        start = monotonic()
        work()
        taken.append(monotonic() - start)
    return min(taken)


def bare(scorer: Scorer, batch: pa.RecordBatch, times: int) -> dict[str, float]:
    """Pairs a second of bare predictions, of all models and of the ranker's alone."""
    found, rate = calls(scorer, batch), {}
    for name, some in (("bare, all models", found), ("bare, ranker alone", found[:1])):

        def predict(some: Sequence[Call] = some) -> None:
            for call in some:
                boosting.predict(call.booster, call.matrix, threads())

        predict()  # boosters are loaded once
        rate[name] = batch.num_rows / seconds(predict, times)
    return rate


def on_executors(args: JobArgs, lake: Lake, scorer: Scorer, times: int) -> float:
    """Pairs a second of ``score`` on executors that have run it once."""
    tonight, rows = ds.field("as_of") == args.date, 0

    def score() -> None:
        nonlocal rows
        files, work = lake.reading(spark, CANDIDATES, scorer.batches(), tonight)
        rows = lake.write_mapped(SCORES, files, work, [CANDIDATES])

    with spark_session(args, "speed") as spark:
        score()
        return rows / seconds(score, times)


def one_file(args: JobArgs, lake: Lake) -> pa.RecordBatch:
    """Tonight's pairs of one of the candidates' files: all of some users."""
    rows = ds.dataset(lake.history(CANDIDATES)[-1].files[0], filesystem=lake.fs)
    batches: Iterator[pa.RecordBatch] = rows.to_batches(filter=ds.field("as_of") == args.date, batch_size=BATCH_ROWS)
    (whole,) = pa.Table.from_batches(list(batches)).combine_chunks().to_batches()
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", default="grocery")
    parser.add_argument("--date", default="2017-12-17")
    parser.add_argument("--part", choices=("jobs", "executors"), action="append")
    parser.add_argument("--times", type=int, default=3, help="runs of each rate; the fastest counts")
    given = parser.parse_args(argv)
    of_night = ["--site", given.site, "--date", given.date]
    args = JobArgs.parse(of_night)
    lake = Lake(args)
    if "jobs" in (given.part or ["jobs"]):
        total = 0.0
        for job in JOBS:
            with Peak(job=job_processes, spark=spark_processes(args)) as peak:
                total += timed([f"jobs.{job}", *of_night])["seconds"]
            print(f"  peak {peak.gib['job']:.2f} GiB and Spark {peak.gib['spark']:.2f} GiB", flush=True)
        print(f"all: {total:.0f} s", flush=True)
    if "executors" in (given.part or ["executors"]):
        scorer = load_scorer(args, lake)
        rates = bare(scorer, one_file(args, lake), given.times)
        rates |= {"executors": on_executors(args, lake, scorer, given.times)}
        for name, rate in rates.items():
            share = f", executors reach {rates['executors'] / rate:.0%} of it" if name != "executors" else ""
            print(f"{name}: {rate:,.0f} pairs/s{share}", flush=True)
    return 0


if __name__ == "__main__":
    run(main)
