"""What became of published lists: their quality by policy, and the lift where the lists were really shown."""

import numpy as np
import pandas as pd

from jobs.models.metrics import Estimate, bootstrap_mean, list_metrics


def quality_by_policy(lists: pd.DataFrame, outcomes: pd.DataFrame, list_length: int) -> dict[str, Estimate]:
    """NDCG, recall, precision and hit rate of each group of users, with 90 % intervals from resampled users.

    Args:
        lists: user_id, item_id, rank, policy; a user is of the control group where every row is 'relevance'.
        outcomes: user_id, item_id, one row a pair that had an outcome after the list was published.
        list_length: places that count.

    Users without any outcome say nothing about a ranking and are left out.
    """
    hits = outcomes[["user_id", "item_id"]].drop_duplicates().assign(hit=1)
    ranked = lists.merge(hits, how="left", on=["user_id", "item_id"]).rename(columns={"rank": "position"})
    ranked["hit"] = ranked["hit"].fillna(0).astype(int)
    group = group_of_user(lists)
    relevant = hits.groupby("user_id").size()
    figures: dict[str, Estimate] = {}
    for policy in ("adjusted", "relevance"):
        users = group.index[group == policy]
        mine = relevant[relevant.index.isin(users)]
        if mine.empty:
            continue
        by_user = list_metrics(ranked[ranked["user_id"].isin(mine.index)], mine, list_length)
        for name in by_user.columns:
            figures[f"feedback_{policy}_{name}"] = bootstrap_mean(by_user[name].to_numpy())
    return figures


def group_of_user(lists: pd.DataFrame) -> pd.Series:
    """'relevance' for users of the control group, 'adjusted' for the others, indexed by user_id."""
    control = (lists["policy"] == "relevance").groupby(lists["user_id"]).all()
    return control.map({True: "relevance", False: "adjusted"})


def measured_lift(lists: pd.DataFrame, outcomes: pd.DataFrame) -> Estimate | None:
    """Outcomes a user, adjusted minus control: users are assigned at random, so a plain difference is the effect.

    Normal 90 % interval with separate variances (Welch). None where a group has fewer than two users.
    """
    group = group_of_user(lists)
    count = outcomes.groupby("user_id").size().reindex(group.index, fill_value=0).astype(float)
    treated, control = count[group == "adjusted"], count[group == "relevance"]
    if len(treated) < 2 or len(control) < 2:
        return None
    difference = float(treated.mean() - control.mean())
    error = float(np.sqrt(treated.var() / len(treated) + control.var() / len(control)))
    return Estimate(difference, difference - 1.645 * error, difference + 1.645 * error)
