"""The causal graph assumed of each domain until a site declares its own in ``effects.graph``.

An edge ``a -> b`` says that a may change b; an edge that is missing says that it does not, which is the assumption.
Nodes are feature groups (jobs/models/causal_graph.py says which columns they stand for), ``shown`` and ``outcome``.
Season is not measured: it is assumed to reach showing and outcome only through what was measured lately.
"""

from typing import TypedDict


class GraphData(TypedDict):
    """Edges and the names of the nodes nobody measured."""

    edges: tuple[str, ...]
    latent: tuple[str, ...]


_MEASURED = ("user_activity", "user_preference", "item_popularity", "earlier_showing")
_COMMON = (
    "shown -> outcome",
    *(f"{cause} -> {result}" for cause in _MEASURED for result in ("shown", "outcome")),
    "season -> user_activity",
    "season -> item_popularity",
    "user_activity -> user_preference",
    "earlier_showing -> user_preference",
    "earlier_showing -> item_popularity",
)
_PRICED = ("item_price -> shown", "item_price -> outcome", "item_price -> item_popularity")


def _with_trait(trait: str, edges: tuple[str, ...] = _COMMON) -> GraphData:
    """The edges, and a trait of the user that nobody measured and that acts through what the user did before."""
    acts = (f"{trait} -> user_activity", f"{trait} -> user_preference")
    return {"edges": edges + acts, "latent": ("season", trait)}


DEFAULT_GRAPHS: dict[str, GraphData] = {
    "ecommerce": {"edges": _COMMON + _PRICED, "latent": ("season",)},
    "education": _with_trait("ability"),
    "finance": _with_trait("wealth", _COMMON + _PRICED),
    "social": _with_trait("taste"),
    "health": _with_trait("condition"),
}
