"""The tasks of the night: what each does and when it fails, in the words of its doc."""

SPARK_TASKS = frozenset({"clean", "build_features", "generate_candidates", "build_trials", "score"})

TASKS = {
    "extract": ("Copies new rows from the warehouse to the lake.", "The warehouse is away or a column is missing."),
    "check_raw": ("Checks the raw tables.", "A rule of a raw table's suite does not hold."),
    "clean": ("Removes duplicates, impossible values and noise; keeps them in quarantine.", "Too much is dropped."),
    "check_clean": ("Checks the cleaned tables.", "A rule of a clean table's suite does not hold."),
    "evaluate_feedback": ("Measures how earlier lists did.", "The log of what was shown cannot be read."),
    "build_features": ("Builds features, profiles and segments.", "Spark is away or there are no events."),
    "generate_candidates": ("Retrieves candidate items for every user.", "No item has enough users."),
    "train_ranker": ("Trains and calibrates the relevance ranker.", "There is no outcome to learn from."),
    "build_trials": ("Builds treated and control trials with what was known before them.", "There are no trials."),
    "train_uplift": ("Estimates propensities and trains the effect models.", "One of the two arms is empty."),
    "check_effects": ("Refutes and gates the effect models.", "A refutation or the gate fails: nothing is promoted."),
    "score": ("Predicts relevance and effect of every candidate.", "A model's digest is not the recorded one."),
    "adjust": ("Ranks by expected incremental value and composes the lists.", "Lists come out empty."),
    "check_recommendations": ("Checks the lists before anybody sees them.", "A rule of the suite does not hold."),
    "publish": ("Publishes the new version in one transaction.", "A newer run date is published (see param force)."),
    "report": ("Writes the HTML report.", "The published version cannot be read."),
}


def dag_id(site: str) -> str:
    """Id of a site's DAG."""
    return f"nightly_{site}"


def doc(task_id: str, site: str) -> str:
    """Markdown doc of one task."""
    what, fails = TASKS[task_id]
    return (
        f"{what}\n\n**When it fails:** {fails} Its log says which. Data and set-up errors are not retried.\n\n"
        f"**Rerun:** clear the task in Airflow, or `python -m jobs.{task_id} --site {site} --date YYYY-MM-DD`.\n\n"
        f"**Roll back:** `python -m jobs rollback --site {site}`; nothing before `publish` is visible to readers."
    )
