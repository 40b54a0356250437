"""The tasks of the night: their groups, what each does and when it fails, in the words of its doc."""

NOTE = "note"  # what a job ends with in one line, by this name in XCom
SPARK_TASKS = frozenset({"clean", "build_features", "generate_candidates", "build_trials", "score"})

GROUPS = {
    "data": (
        "From the warehouse to features: copied, checked, cleaned, checked again.",
        ("extract", "check_raw", "clean", "check_clean", "build_features"),
    ),
    "relevance": (
        "What a user is likeliest to take, shown or not.",
        ("generate_candidates", "train_ranker"),
    ),
    "effects": (
        "What showing an item changes, and whether that is proved.",
        ("build_trials", "train_uplift", "check_effects"),
    ),
    "lists": (
        "From predictions to what readers see.",
        ("evaluate_feedback", "score", "adjust", "check_recommendations", "publish", "report"),
    ),
}

TASKS = {
    "extract": (
        "Copies new rows from the warehouse to the lake.",
        "The warehouse is away, or a table or required column is missing or has a type that cannot be it.",
    ),
    "check_raw": (
        "Checks the raw tables and writes their Data Docs.",
        "The export is broken beyond what cleaning may repair; the log names column, rule and rows.",
    ),
    "clean": (
        "Removes duplicates, impossible values and noise; every dropped row is kept in quarantine with its reason.",
        "Spark is away, or rows would be lost without a reason.",
    ),
    "check_clean": (
        "Checks the cleaned tables and writes their Data Docs.",
        "A clean table breaks a promise; the log names column, rule and rows.",
    ),
    "build_features": (
        "Builds features, profiles and segments from days before the run date.",
        "Spark is away, or there are no events.",
    ),
    "generate_candidates": (
        "Retrieves the items that may come into each user's list.",
        "Spark is away, or no item has enough users.",
    ),
    "train_ranker": (
        "Trains and calibrates the relevance ranker, and compares it with the champion.",
        "There is no outcome to learn from.",
    ),
    "build_trials": (
        "Builds trials, shown and not shown, with what was known before each.",
        "Spark is away, or there are no trials.",
    ),
    "train_uplift": (
        "Estimates propensities and trains the effect models.",
        "One of the two arms, shown or not shown, has too few trials.",
    ),
    "check_effects": (
        "Tries to refute the effects and decides whose effects rank the lists.",
        "Only when it cannot read what `train_uplift` wrote. A gate that does not pass is no failure: the champion's "
        "effects, or plain relevance, then rank the lists, and the report says so.",
    ),
    "evaluate_feedback": (
        "Measures how earlier lists did against the users held out.",
        "The warehouse is away.",
    ),
    "score": (
        "Predicts relevance and effect of every candidate on the executors.",
        "Spark is away, or a model's files are not the recorded ones.",
    ),
    "adjust": (
        "Ranks by expected incremental value and composes the lists: variety, random places, control group.",
        "Lists come out empty.",
    ),
    "check_recommendations": (
        "Checks lists and features before anybody sees them and writes their Data Docs.",
        "A list is broken, or a column has drifted from the last published nights; the log names it, rule and rows.",
    ),
    "publish": (
        "Loads the new version beside the old, audits it and moves the pointer in one transaction.",
        "An audit fails, or the same night gave other rows than before. A newer published night is no failure: the "
        "version is loaded and kept (param `force` publishes it).",
    ),
    "report": (
        "Writes the night's report as one page.",
        "MLflow is away; what is published stays.",
    ),
}
TUNING = {
    "tune_models": (
        "Tries settings on the label windows of the latest night and writes the best.",
        "No night has run, there are too few label windows, or the warehouse is away.",
    ),
}
SEEN_BY_READERS = ("publish", "report")


def dag_id(site: str) -> str:
    """Id of a site's DAG."""
    return f"nightly_{site}"


def tuning_dag_id(site: str) -> str:
    """Id of the DAG that tunes a site."""
    return f"weekly_tuning_{site}"


def doc(task_id: str, site: str) -> str:
    """Markdown doc of one task: what, when it fails, how to rerun, how to roll back."""
    what, fails = (TASKS | TUNING)[task_id]
    back = f"`python -m jobs rollback --site {site}` publishes the version before again."
    if task_id not in SEEN_BY_READERS:
        back = f"Nothing to roll back: readers see nothing of a night before `publish`. After it: {back}"
    return (
        f"**What:** {what}\n\n"
        f"**When it fails:** {fails} Wrong data and a wrong set-up are not retried; anything else is, twice.\n\n"
        "**Rerun:** clear the task in Airflow with those after it, or by hand "
        f"`python -m jobs.{task_id} --site {site} --date YYYY-MM-DD`. A rerun replaces its rows, it never doubles "
        "them.\n\n"
        f"**Roll back:** {back}"
    )
