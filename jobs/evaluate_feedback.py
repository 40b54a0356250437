"""Judge every published version still inside its outcome window by what users did after it, and the lift since the
control group began.

Fails when the warehouse cannot be reached. On a first night there is nothing to judge, and it says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from jobs.models import feedback, lift, lists
from jobs.models.feedback import Figures
from jobs.models.lift import Difference
from jobs.models.metrics import Estimate, as_document, coverage
from jobs.runtime import figure_words, tracking
from jobs.runtime.args import JobArgs, run
from jobs.tables import feedback_log
from jobs.tables.contracts import EXPOSURES, INTERACTIONS, ITEMS
from jobs.tables.feedback_log import Version
from jobs.tables.lake import Lake

PRE_WINDOWS = 4  # outcome windows before the control group began, whose outcomes make the lift's interval narrower
MIN_PRE_DAYS = 28
POSITIONS = 10  # places whose rates are told one by one


@dataclass(frozen=True)
class Judged:
    """One published version, whether the log says it was shown, how it did, and why it has no lift where it has none.

    ``figures`` have the names of ``feedback``.
    """

    version: Version
    shown: bool
    figures: Figures
    lift: Estimate | None
    why: str

    def metrics(self, tonight: date) -> Figures:
        """The figures named by the days they rest on, so that lists of the same age compare from night to night."""
        every = {**self.figures, **({"lift": self.lift} if self.lift else {})}
        return {f"feedback_{name}_{(tonight - self.version.run_date).days}d": figure for name, figure in every.items()}

    def document(self) -> dict[str, Any]:
        """The version for JSON."""
        return {
            "version_id": self.version.version_id,
            "run_date": self.version.run_date.isoformat(),
            "shown": self.shown,
            "figures": {name: as_document(figure) for name, figure in self.figures.items()},
            "lift": self.lift.document() if self.lift else None,
            "why": self.why,
        }


@dataclass(frozen=True)
class Experiment:
    """The control group as it has been since ``start``, the first night of its share whose lists were shown."""

    start: Version
    held_out: "pd.Series[bool]"  # of the users of the first lists, indexed by user_id
    before: "pd.Series[float]"  # their outcomes before it began


def held_out_users(args: JobArgs, users: pd.Index) -> "pd.Series[bool]":
    """Whether each user keeps the relevance list, indexed by user_id."""
    return pd.Series(lists.held_out(users, args.site.site, args.site.holdout_share), index=users)


def count(args: JobArgs, lake: Lake, users: pd.Index, start: date, end: date) -> "pd.Series[float]":
    """Outcomes of each user in [start, end), indexed by user_id."""
    found = feedback_log.events(lake, args.site.outcome.event_types, start, end)
    return found.groupby("user_id").size().reindex(users, fill_value=0).astype(float)


def find_experiment(args: JobArgs, lake: Lake, versions: Sequence[Version], shown: set[str]) -> Experiment | None:
    """The control group with tonight's share of held-out users; None where no list of it was shown."""
    same = []
    for version in reversed(versions):
        if version.holdout_share != args.site.holdout_share:
            break
        same.append(version)
    started = [version for version in reversed(same) if version.version_id in shown]
    if not started or not args.site.holdout_share:
        return None
    users = feedback_log.users_of(args, started[0].version_id)
    days = max(PRE_WINDOWS * args.site.outcome.window_days, MIN_PRE_DAYS)
    start = started[0].run_date
    before = count(args, lake, users, start - timedelta(days=days), start)
    return Experiment(started[0], held_out_users(args, users), before)


def running_lift(args: JobArgs, lake: Lake, experiment: Experiment) -> Figures:
    """Outcomes a user and outcome window that adjusted lists added since the control group began: all users, and each
    segment of the first night's profiles. 90 % sequences: valid however often they are looked at.
    """
    days = (args.date - experiment.start.run_date).days
    users = experiment.held_out.index
    outcomes = count(args, lake, users, experiment.start.run_date, args.date)
    each = outcomes * args.site.outcome.window_days / days
    profiles = feedback_log.segments_of(args, experiment.start.version_id)
    segment = profiles.set_index("user_id")["segment"].reindex(users)
    groups = {"lift_running": users} | {
        f"lift_running_segment_{int(number)}": users[segment == number] for number in sorted(segment.dropna().unique())
    }
    found = {name: difference(each, experiment, mine) for name, mine in groups.items()}
    return {name: figure.always_valid(days) for name, figure in found.items() if figure}


def difference(outcomes: "pd.Series[float]", experiment: Experiment, users: pd.Index) -> Difference | None:
    """The lift among ``users``; who was not among the first lists has no outcomes of before, and is left out."""
    mine = users.intersection(experiment.held_out.index)
    treated = ~experiment.held_out[mine].to_numpy()
    return lift.difference(outcomes[mine].to_numpy(), experiment.before[mine].to_numpy(), treated)


def judge(
    args: JobArgs, lake: Lake, version: Version, shown: bool, experiment: Experiment | None, positions: bool
) -> Judged:
    """How one version did; ``positions`` asks for the rates of single places, too."""
    listed = feedback_log.lists_of(args, version.version_id)
    users = pd.Index(listed["user_id"].unique(), name="user_id")
    held_out = held_out_users(args, users)
    outcomes = feedback_log.events(lake, args.site.outcome.event_types, version.run_date, args.date)
    catalogue = lake.read_arrow(ITEMS, ["item_id"]).num_rows
    figures = feedback.quality(listed, outcomes, held_out, args.site.list_length, catalogue)
    figures["coverage"] = coverage(listed["item_id"], catalogue)
    if not shown:
        return Judged(version, shown, figures, None, "no exposure says that this list was shown")
    figures |= shown_figures(args, lake, version, outcomes, positions)
    found, why = None, ""
    if not args.site.holdout_share:
        why = "holdout_share is 0, so there is no control group: what the lists add cannot be measured"
    elif experiment is None or not feedback.same_groups(listed, held_out):
        why = "the list is of before the control group was drawn as it is now"
    else:
        per_user = outcomes.groupby("user_id").size().reindex(users, fill_value=0).astype(float)
        found = difference(per_user, experiment, users)
        why = "" if found else "a group has fewer than two users"
    return Judged(version, shown, figures, found.interval() if found else None, why)


def shown_figures(args: JobArgs, lake: Lake, version: Version, outcomes: pd.DataFrame, positions: bool) -> Figures:
    """Click and outcome rates of what was shown, by policy and by place, what users and the random slots say of it."""
    shown = feedback_log.exposures_of(lake, version.version_id)
    clicks = feedback_log.events(lake, args.site.clicks, version.run_date, args.date)
    figures: Figures = {}
    for name, taken in ({"outcome_rate": outcomes} | ({"click_rate": clicks} if len(clicks) else {})).items():
        figures |= feedback.rates(shown, taken, name, ["policy"])
        if positions:
            top = shown[shown["position"] <= POSITIONS]
            figures |= feedback.rates(top, taken, name, ["policy", "position"])
    said = (read(lake, args.site, version.run_date, args.date) for read in (feedback_log.votes, feedback_log.comments))
    figures |= feedback.opinions(shown, *said)
    tried = feedback_log.explored_of(args, version)
    return figures | feedback.explored(tried[tried["user_id"].isin(shown["user_id"])], outcomes)


def unknown(args: JobArgs) -> list[str]:
    """What the site's settings make unknowable, in sentences."""
    said = []
    if not args.site.holdout_share:
        said.append("holdout_share is 0: there is no control group, so what the lists add cannot be measured.")
    if not args.site.explore_share:
        said.append(
            "explore_share is 0: no slot is random, so nothing tests the promise of an effect, and what an item does"
            " that is never shown cannot be known; overlap falls from night to night."
        )
    return said


def evaluate(args: JobArgs, lake: Lake) -> tuple[list[Judged], Experiment | None]:
    """Every version to be judged tonight, oldest first, and the control group there is."""
    versions = feedback_log.published_versions(args)
    oldest = args.date - timedelta(days=args.site.outcome.window_days)
    shown = feedback_log.shown_versions(lake, [one.version_id for one in versions]) if versions else set()
    experiment = find_experiment(args, lake, versions, shown)
    recent = [version for version in versions if version.run_date >= oldest]
    return [
        judge(args, lake, version, version.version_id in shown, experiment, positions=version is recent[0])
        for version in recent
    ], experiment


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figures of earlier lists to the lake and to a nested run."""
    args = JobArgs.parse(argv)
    lake = Lake(args)
    judged, experiment = evaluate(args, lake)
    running = running_lift(args, lake, experiment) if experiment else {}
    say(judged, running)
    metrics = {name: figure for one in judged for name, figure in one.metrics(args.date).items()} | running
    if metrics:
        with tracking.nested_run(args, "feedback", [INTERACTIONS, EXPOSURES]):
            tracking.log_estimates(metrics)
    lake.write_json(
        "feedback",
        {
            "versions": [one.document() for one in judged],
            "metrics": {name: as_document(figure) for name, figure in metrics.items()},
            "running": running_document(args, experiment, running) if experiment else None,
            "unknown": unknown(args),
        },
    )
    return 0


def running_document(args: JobArgs, experiment: Experiment, running: Mapping[str, Any]) -> dict[str, Any]:
    """The running lift for the report, with the segments' labels."""
    profiles = feedback_log.segments_of(args, experiment.start.version_id).drop_duplicates("segment")
    labels = {f"lift_running_segment_{row.segment}": row.segment_label for row in profiles.itertuples()}
    return {
        "since": experiment.start.run_date.isoformat(),
        "version_id": experiment.start.version_id,
        "users": len(experiment.held_out),
        "held_out": int(experiment.held_out.sum()),
        "figures": {name: as_document(figure) for name, figure in running.items()},
        "labels": {name: label for name, label in labels.items() if name in running},
    }


def say(judged: Sequence[Judged], running: Figures) -> None:
    """Print a line a version."""
    for one in judged:
        said = f"lift {one.lift.value:+.3f} outcomes a user" if one.lift else f"no lift: {one.why}"
        print(f"version {one.version.version_id} of {one.version.run_date}: {len(one.figures)} figures; {said}")
    if not judged:
        print("no published version inside its outcome window: nothing to evaluate tonight")
    if "lift_running" in running:
        lift = figure_words.said(as_document(running["lift_running"]))
        print(f"running lift {lift} outcomes a user and outcome window")


if __name__ == "__main__":
    run(main)
