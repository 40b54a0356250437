"""What the report says, part by part: records and frames in, values of ``report.html.j2`` out."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jobs.models.decisions import CHALLENGER, CHAMPION, RELEVANCE
from jobs.runtime import plots
from jobs.runtime.figure_words import (
    Figure,
    cells,
    figures,
    interval,
    number,
    points,
    points_between,
    points_said,
    said,
    share,
    share_said,
)
from jobs.runtime.report_words import RANKERS, RANKING, REASONS, WORDS

WHOSE = {
    CHALLENGER: "the effects passed every check",
    CHAMPION: "tonight's effects were not proved, the champion's rank the lists",
}
EXAMPLES = 3
TOP = 10


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as dictionaries; a missing value is None."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def headline(published: Mapping[str, Any], metrics: Mapping[str, Figure], chosen: str) -> str:
    """The verdict in one sentence, with what the lists are estimated to add; ``chosen``: whose effects rank them."""
    state = published["state"]
    what = {
        "published": "Published",
        "unchanged": "Published again, unchanged",
        "kept": "Loaded, not published: another version stays",
        "dry run": "Dry run, nothing published",
    }.get(state, state)
    if chosen == RELEVANCE:
        return f"{what}: the effects were not proved tonight, so everyone has the relevance list."
    gain, plain = metrics["list_effect"], metrics["list_effect_by_relevance"]
    return (
        f"{what}: {WHOSE[chosen]}, and showing an item of the adjusted lists is estimated to add "
        f"{points_said(gain)} to its outcome probability, against {points_said(plain)} for the relevance lists of "
        "the same users."
    )


def size(metrics: Mapping[str, Figure]) -> str:
    """How large the version is, and how much of it the log can speak of; empty without the night's figures."""
    if not {"list_rows", "users", "list_identified_share"} <= metrics.keys():
        return ""
    return (
        f"{number(metrics['list_rows']['value'])} places in the lists of {number(metrics['users']['value'])} users. At "
        f"{share_said(metrics['list_identified_share'])} of the places the effect is identified: the log has a fair "
        "comparison of shown and not shown."
    )


def changed_places(lists: pd.DataFrame, earlier: pd.DataFrame) -> str:
    """How far two versions differ, among users both have; frames have user_id, rank and item_id."""
    both = lists.merge(earlier, on=["user_id", "rank"], suffixes=("", "_before"))
    if both.empty:
        return "No user is in both versions."
    users = lists[lists["user_id"].isin(earlier["user_id"])]
    kept = users.merge(earlier[["user_id", "item_id"]], on=["user_id", "item_id"])
    moved = float((both["item_id"] != both["item_id_before"]).mean())
    return (
        f"Of the places of the {both['user_id'].nunique():,} users that both versions have, {share(moved)} hold "
        f"another item now, and {share(1 - len(kept) / len(users))} hold an item that was not in the user's list "
        "before."
    )


def list_overlap(lists: pd.DataFrame, relevance: pd.DataFrame) -> str:
    """How many places of the adjusted lists would have gone to the same items by relevance alone."""
    adjusted = _adjusted(lists)
    if adjusted.empty:
        return "Every user has the relevance list."
    both = adjusted.merge(relevance[["user_id", "item_id"]], on=["user_id", "item_id"])
    return (
        f"{adjusted['user_id'].nunique():,} users have an adjusted list; {share(len(both) / len(adjusted), 0)} of its "
        "places hold an item that their relevance list holds too."
    )


def example_users(lists: pd.DataFrame, relevance: pd.DataFrame) -> list[tuple[str, str]]:
    """Users and why they are shown: the most, the median and the least changed of the adjusted lists."""
    adjusted = _adjusted(lists)
    if adjusted.empty:
        return []
    same = adjusted[["user_id", "item_id"]].merge(relevance[["user_id", "item_id"]].assign(same=1), how="left")
    share = same["same"].notna().groupby(same["user_id"]).mean().sort_index().sort_values(kind="stable")
    places = dict.fromkeys([0, len(share) // 2, len(share) - 1])
    words = ("changed most", "changed as much as the median", "changed least")
    return [(str(share.index[place]), why) for place, why in zip(places, words, strict=False)]


def side_by_side(lists: pd.DataFrame, relevance: pd.DataFrame, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The first places of one user's two lists; ``names`` says an item in words."""
    mine = lists[lists["rank"] <= TOP].merge(relevance, how="left", on="rank", suffixes=("", "_plain"))
    return [
        {
            "rank": str(row["rank"]),
            "plain": names.get(row["item_id_plain"], row["item_id_plain"]) if row["item_id_plain"] else "no item",
            "plain_relevance": share(row["relevance_plain"]) if row["item_id_plain"] else "",
            "item": names.get(row["item_id"], row["item_id"]),
            "policy": row["policy"],
            "effect": points(row["effect"]),
            "interval": points_between(row["effect_low"], row["effect_high"]),
            "identified": bool(row["identified"]),
            "reason": row["reason"],
        }
        for row in records(mine.sort_values("rank"))
    ]


def ranking(record: Mapping[str, Any]) -> dict[str, Any]:
    """Dot plot and table of the ranker beside popularity and recency."""
    known = record["metrics"]
    rows = {
        words: {method: known[f"{method}_{name}"] for method in RANKERS if f"{method}_{name}" in known}
        for name, words in RANKING.items()
    }
    rows = {words: by for words, by in rows.items() if by}
    table = [{"name": f"{words}, {method}", **cells(f)} for words, by in rows.items() for method, f in by.items()]
    listed = {f"{method}_{name}" for name in RANKING for method in RANKERS}
    plot = None
    if rows:
        words, by = next(iter(rows.items()))
        dots = {name: {m: (f["value"], f["low"], f["high"]) for m, f in each.items()} for name, each in rows.items()}
        plot = {
            "svg": plots.methods("ranking", dots, "mean over users with an outcome in the test window"),
            "summary": f"{words}: " + "; ".join(f"{method} {said(figure)}" for method, figure in by.items()) + ".",
            "caption": "How to read it: further right is better, and lines are 90 % intervals; where the ranker's "
            "line overlaps another's, its lead is not proved. Popularity and recency are what one line of SQL gives.",
        }
    others = known.keys() - listed  # of lists of ten, those with words: MLflow and run_metrics have every source's
    rest = {name: known[name] for name in others if name in WORDS or not name.endswith(("_10", "_100"))}
    return {"plot": plot, "table": table, "rest": figures(rest), "calibration": _calibration(record)}


def _calibration(record: Mapping[str, Any]) -> dict[str, str] | None:
    """Relevance against outcome rate on the test window; None where the record has no points."""
    table = record.get("calibration_curve")
    if not table:
        return None
    last = {name: table[name][-1] for name in ("predicted", "found", "low", "high")}
    return {
        "svg": plots.reliability("relevance", table, "mean relevance of the part", "share with an outcome"),
        "summary": f"Relevance against outcome rate in {len(table['found'])} parts; the highest says "
        f"{number(last['predicted'])}, found were {number(last['found'])} (90 % interval "
        f"{interval(last['low'], last['high'])}).",
        "caption": "How to read it: on the dashed line a relevance of 0.3 means an outcome three times in ten. Upright "
        "lines are 90 % intervals, clustered by user; each part holds as many expected outcomes, so that the high "
        "probabilities, from which lists are made, are looked at closely. The ranker judged here never saw them.",
    }


def cleaned(counts: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows in, kept and quarantined of every table, with the reasons in words; ``counts`` is CLEAN_COUNTS."""
    out = []
    for table, rows in counts.groupby("table", sort=True):
        by = rows.set_index("reason")["rows"]
        came, gone = int(by.get("in", 0)), by.drop(["in", "kept"], errors="ignore")
        part = f" ({share(gone.sum() / came, 2)})" if came and gone.sum() else ""
        out.append(
            {
                "table": table,
                "came": f"{came:,}",
                "kept": f"{int(by.get('kept', 0)):,}",
                "quarantined": f"{int(gone.sum()):,}{part}",
                "reasons": [
                    f"{count:,}: {REASONS.get(str(reason), reason)}" for reason, count in gone.items() if count
                ],
            }
        )
    return out


def item_names(items: pd.DataFrame) -> dict[str, str]:
    """An item in words: its title, with its id where others have the same title; without one its category and id."""
    titles = items.get("title", pd.Series(None, index=items.index, dtype=object))
    shared = titles.duplicated(keep=False)
    return {
        row["item_id"]: row["title"]
        if row["title"] and not row["shared"]
        else f"{row['title'] or row['category']} ({row['item_id']})"
        for row in records(items[["item_id", "category"]].assign(title=titles, shared=shared))
    }


def _adjusted(lists: pd.DataFrame) -> pd.DataFrame:
    users = lists.loc[lists["policy"] == "adjusted", "user_id"].unique()
    return lists[lists["user_id"].isin(users)]
