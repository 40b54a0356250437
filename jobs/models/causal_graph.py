"""The site's causal graph: which feature groups must be adjusted for, and whether that is enough.

Source: Pearl, "Causality", 2nd edition 2009, definition 3.3.1 (back-door criterion); separators as in van der Zander
and Liskiewicz, UAI 2020, which networkx implements.
"""

from itertools import pairwise

import networkx as nx

from jobs.runtime.errors import SetupError
from jobs.runtime.site import CausalGraph, Site
from jobs.tables.contracts import FEATURES

TREATMENT, OUTCOME = "shown", "outcome"
EXPLORED = "explored"  # the trials' column that says whether a random slot showed the item
NODE_FEATURES: dict[str, tuple[str, ...]] = {
    "user_activity": (
        "user_days_since_last",
        "user_tenure_days",
        "user_active_days_28d",
        "user_active_days_91d",
        "user_outcomes_28d",
        "user_outcomes_91d",
        "user_value_28d",
        "user_value_91d",
        "user_items_91d",
        "user_votes_91d",
        "user_mean_vote",
    ),
    "user_preference": (
        "outcomes_28d",
        "outcomes_91d",
        "outcomes_364d",
        "outcomes_decayed_28d",
        "outcomes_decayed_112d",
        "days_since_last",
        "mean_gap_days",
        "gap_ratio",
        "events_28d",
        "feedback",
        "vote",
        "votes",
        "sentiment",
        "category_outcomes_91d",
        "category_share_91d",
    ),
    "item_popularity": (
        "item_outcomes_7d",
        "item_outcomes_28d",
        "item_outcomes_91d",
        "item_buyers_28d",
        "item_buyers_91d",
        "item_trend",
        "item_days_since_last",
        "item_voters",
        "item_mean_vote",
        "item_sentiment",
    ),
    "item_price": ("item_price",),
    "earlier_showing": ("shown_7d", "shown_28d", "days_since_shown", "item_shown_users_7d", "item_shown_users_28d"),
}


def build(declared: CausalGraph, instrument: str | None = None) -> nx.DiGraph:
    """The declared graph with a boolean ``latent`` on each node.

    An ``instrument`` that it does not mention changes ``shown`` and nothing else. Raises SetupError where it has a
    cycle, lacks treatment or outcome, or an observed node is no feature group and not the instrument.
    """
    graph = nx.DiGraph(edge.split(" -> ") for edge in declared.edges)
    if instrument and instrument not in graph:
        graph.add_edge(instrument, TREATMENT)
    for name in graph:
        graph.nodes[name]["latent"] = name in declared.latent
    if not nx.is_directed_acyclic_graph(graph):
        loop = [edge[0] for edge in nx.find_cycle(graph)]
        raise SetupError(f"effects.graph: not acyclic: {' -> '.join([*loop, loop[0]])}; remove one of these edges")
    if TREATMENT not in graph or OUTCOME not in graph or not nx.has_path(graph, TREATMENT, OUTCOME):
        raise SetupError(f"effects.graph: no path {TREATMENT} -> {OUTCOME}, so there is no effect to estimate; add one")
    observed = {name for name in graph if not graph.nodes[name]["latent"]}
    unknown = observed - {*NODE_FEATURES, TREATMENT, OUTCOME, instrument} - set(nx.descendants(graph, TREATMENT))
    if unknown:
        raise SetupError(
            f"effects.graph: {', '.join(sorted(unknown))}: no such feature group (there are "
            f"{', '.join(sorted(NODE_FEATURES))}); rename it or list it under latent"
        )
    return graph


def adjustment_set(graph: nx.DiGraph) -> tuple[str, ...]:
    """Feature groups that close every back-door path from ``shown`` to ``outcome``, sorted.

    A minimal separator, and beside it the measured causes of the outcome, which take no bias away but noise (Henckel,
    Perkovic and Maathuis, JRSS B 2022). They open no path: one that is a collider's descendant would have led from
    there to the outcome before. Raises SetupError that names an open path where no
    set of measured groups is enough; front-door identification is not attempted.
    """
    back = graph.copy()
    back.remove_edges_from(list(graph.out_edges(TREATMENT)))
    after = nx.descendants(graph, TREATMENT)
    usable = {name for name in NODE_FEATURES if name in graph and not graph.nodes[name]["latent"]} - after
    found = nx.find_minimal_d_separator(back, TREATMENT, OUTCOME, restricted=usable)
    if found is None:
        # if any set of usable groups separates, the usable ancestors do: what they leave open stays open
        given = usable & (nx.ancestors(back, TREATMENT) | nx.ancestors(back, OUTCOME))
        raise SetupError(
            f"effects.graph: the effect is not identified: {open_path(back, given)} stays open whatever measured group "
            "is adjusted for; measure one of its nodes, or take an edge of the path away if it does not hold"
        )
    return tuple(sorted(found | (usable & set(back.predecessors(OUTCOME)))))


def open_path(graph: nx.DiGraph, given: set[str]) -> str:
    """A shortest path from ``shown`` to ``outcome`` that is open given ``given``, written with its arrows.

    Raises ValueError where there is none. Open: no node but colliders is given, and each collider or a descendant of it
    is (Pearl 2009, definition 1.2.3).
    """
    for path in nx.shortest_simple_paths(graph.to_undirected(), TREATMENT, OUTCOME):
        inner = zip(path, path[1:], path[2:], strict=False)
        if all(_passes(graph, before, node, after, given) for before, node, after in inner):
            arrows = [f" {'->' if graph.has_edge(a, b) else '<-'} {b}" for a, b in pairwise(path)]
            return path[0] + "".join(arrows)
    raise ValueError(f"{TREATMENT} and {OUTCOME} are separated by {sorted(given)}")


def _passes(graph: nx.DiGraph, before: str, node: str, after: str, given: set[str]) -> bool:
    if graph.has_edge(before, node) and graph.has_edge(after, node):
        return bool(({node} | nx.descendants(graph, node)) & given)
    return node not in given


def check_instrument(graph: nx.DiGraph, instrument: str) -> None:
    """Raise SetupError unless the instrument changes ``shown`` and reaches ``outcome`` by ``shown`` only.

    Given are the measured groups that neither of the two changes. Source: Brito and Pearl, "Generalized instrumental
    variables", UAI 2002.
    """
    if instrument not in graph:
        raise SetupError(f"effects.graph: the instrument {instrument} is no node; add {instrument} -> {TREATMENT}")
    without = graph.copy()
    without.remove_edges_from(list(graph.out_edges(TREATMENT)))
    given = {name for name in NODE_FEATURES if name in graph and not graph.nodes[name]["latent"]}
    given -= nx.descendants(graph, TREATMENT) | nx.descendants(graph, instrument) | {instrument}
    if nx.is_d_separator(graph, instrument, TREATMENT, given):
        raise SetupError(f"effects.graph: the instrument {instrument} does not change {TREATMENT}; name another")
    if not nx.is_d_separator(without, instrument, OUTCOME, given):
        raise SetupError(
            f"effects.graph: the instrument {instrument} reaches {OUTCOME} other than by {TREATMENT}; name another"
        )


def feature_columns(groups: tuple[str, ...]) -> tuple[str, ...]:
    """Feature columns of the groups, in the order of ``NODE_FEATURES``."""
    return tuple(column for name, columns in NODE_FEATURES.items() if name in groups for column in columns)


def of_site(site: Site) -> nx.DiGraph:
    """The site's graph, declared or its domain's, with the instrument it names."""
    return build(site.causal_graph, site.effects.instrument)


def adjusted_columns(site: Site) -> tuple[str, ...]:
    """Feature columns that the site's propensity, outcome and effect models are given, in the trials' order.

    Raises SetupError where its graph does not identify the effect, or its instrument is no column or none by the graph.
    """
    graph, instrument = of_site(site), site.effects.instrument
    every = feature_columns(tuple(NODE_FEATURES))
    if instrument:
        if instrument not in (EXPLORED, *every):
            raise SetupError(
                f"effects.instrument: {instrument} is no column of the trials; name {EXPLORED} or a feature of "
                "jobs/models/causal_graph.py"
            )
        check_instrument(graph, instrument)
    chosen = {*feature_columns(adjustment_set(graph))} - {instrument}
    columns = tuple(name for name in FEATURES if name in chosen)
    if not columns:
        raise SetupError(
            f"effects.graph: no measured group has an edge to {TREATMENT} or {OUTCOME}, so there is nothing to learn "
            f"effects from; add one of {', '.join(sorted(NODE_FEATURES))}"
        )
    return columns
