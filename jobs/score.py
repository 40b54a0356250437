"""Score every candidate of the night on the executors: relevance, propensity, effect and whether it is identified."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow.dataset as ds

from jobs.models.scoring import Scorer
from jobs.runtime import registry
from jobs.runtime.args import JobArgs, run
from jobs.runtime.spark import spark_session
from jobs.tables.contracts import CANDIDATES, SCORES
from jobs.tables.lake import Lake


def load_scorer(args: JobArgs, lake: Lake) -> Scorer:
    """The models chosen tonight; DataError where a file's sha256 is not the recorded one."""
    chosen = [lake.read_json(f"chosen_{model}") for model in ("ranker", "uplift")]
    with tempfile.TemporaryDirectory() as folder:
        files = [
            registry.load_checked(args, one["model_uri"], one["sha256"], Path(folder) / str(number))
            for number, one in enumerate(chosen)
        ]
    return Scorer.of(*files)


def main(argv: Sequence[str] | None = None) -> int:
    """Tonight's candidates scored file by file, in which each user's rows are together, in order."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    scorer = load_scorer(args, lake)
    with spark_session(args, "score") as spark:
        tonight = ds.field("as_of") == args.date
        files, work = lake.reading(spark, CANDIDATES, scorer.batches(), tonight)
        lake.write_mapped(SCORES, files, work, inputs=[CANDIDATES])
    return 0


if __name__ == "__main__":
    run(main)
