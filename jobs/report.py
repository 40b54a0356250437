"""One self-contained HTML page a night: verdict, checks, effects, ranking, data and how to roll back.

Fails when a record of the night is missing; what is published stays published.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from jobs.runtime.args import JobArgs, run
from jobs.tables.contracts import CLEAN_COUNTS, ITEM_EFFECTS, RECOMMENDATIONS, RELEVANCE_LISTS
from jobs.tables.lake import Lake

TEMPLATES = Path(__file__).parent / "templates"
CATEGORIES = 20


def interval(low: float | None, high: float | None) -> str:
    """An interval in words, or that there is none."""
    return "none" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def figures(metrics: Mapping[str, Mapping[str, float | None]]) -> list[dict[str, str]]:
    """Rows of a table of figures, by name."""
    return [
        {"name": name, "value": f"{figure['value']:.4f}", "interval": interval(figure.get("low"), figure.get("high"))}
        for name, figure in sorted(metrics.items())
        if figure.get("value") is not None
    ]


def list_overlap(lists: pd.DataFrame, relevance: pd.DataFrame) -> str:
    """How many places of the adjusted lists would have gone to the same items by relevance alone."""
    users = lists.loc[lists["policy"] != "relevance", "user_id"].unique()
    adjusted = lists[lists["user_id"].isin(users)]
    if adjusted.empty:
        return "Every user has the relevance list."
    both = adjusted.merge(relevance[["user_id", "item_id"]], on=["user_id", "item_id"])
    return (
        f"{len(users):,} users have an adjusted list; {len(both) / len(adjusted):.0%} of its places hold an item"
        " that their relevance list holds too."
    )


def category_plot(effects: pd.DataFrame) -> str | None:
    """Inline SVG of the pooled effect by category with intervals; None where there is no category."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = effects[(effects["level"] == "category") & (effects["method"] == "pooled")]
    rows = rows.sort_values(["treated", "key"], ascending=[False, True]).head(CATEGORIES).sort_values("estimate")
    if rows.empty:
        return None
    with plt.rc_context({"svg.hashsalt": "nightlift"}):
        figure, axes = plt.subplots(figsize=(8, 0.3 * len(rows) + 1), layout="constrained")
        ends = [rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]]
        axes.barh(rows["key"], rows["estimate"], xerr=ends, color="#4c78a8", ecolor="#555")
        axes.axvline(0, color="#555", linewidth=0.8)
        axes.set_xlabel("effect of showing, in outcome probability")
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None})
        plt.close(figure)
    return sink.getvalue()[sink.getvalue().index("<svg") :]


def render(values: Mapping[str, Any]) -> str:
    """The page; everything but our own plots is escaped."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return page.get_template("report.html.j2").render(**values)


def collect(args: JobArgs, lake: Lake) -> dict[str, Any]:
    """Everything the page shows, read from the night's records."""
    gate, published = lake.read_json("effects_gate"), lake.read_json("published")
    effects = lake.read_pandas(ITEM_EFFECTS)
    average = effects[effects["level"] == "all"]
    return {
        "site": args.site.site,
        "run_date": args.date.isoformat(),
        "passed": gate["passed"],
        "verdict": str(published["verdict"]),
        "published": published,
        "checks": [
            {
                "name": check["name"],
                "result": "passed" if check["passed"] else "FAILED",
                "value": f"{check['value']:.4f}" if check.get("value") is not None else "not computed",
                "interval": interval(check.get("low"), check.get("high")),
                "meaning": check["meaning"],
            }
            for check in gate["checks"]
        ],
        "overlap": list_overlap(
            lake.read_pandas(RECOMMENDATIONS, ["user_id", "item_id", "policy"]), lake.read_pandas(RELEVANCE_LISTS)
        ),
        "plot": category_plot(effects),
        "averages": figures(
            {row.method: {"value": row.estimate, "low": row.low, "high": row.high} for row in average.itertuples()}
        ),
        "uplift": figures(lake.read_json("uplift")["metrics"]),
        "ranker": figures(lake.read_json("ranker")["metrics"]),
        "feedback": [
            {
                "version_id": one["version_id"],
                "run_date": one["run_date"],
                "rows": figures(one["figures"]),
                "lift": f"Measured lift: {one['lift']['value']:+.3f} outcomes a user, 90 % interval "
                f"{interval(one['lift']['low'], one['lift']['high'])}."
                if one["lift"]
                else "No measured lift: no exposure says that this list was shown.",
            }
            for one in lake.read_json("feedback")["versions"]
        ],
        "counts": lake.read_pandas(CLEAN_COUNTS).to_dict("records"),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page beside the Data Docs and to the night's MLflow run."""
    import mlflow

    from jobs.runtime import tracking

    args = JobArgs.parse(argv)
    page = render(collect(args, Lake(args)))
    folder = args.environment.home / "docs" / "reports" / args.site.site
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{args.date}.html"
    path.write_text(page, encoding="utf-8")
    run_id = tracking.night_run(args)
    mlflow.MlflowClient().log_text(run_id, page, "report.html")
    print(f"report: {path.as_uri()}")
    return 0


if __name__ == "__main__":
    run(main)
