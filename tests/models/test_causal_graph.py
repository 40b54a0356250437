"""Textbook graphs: what must be adjusted for, what must not, and which path stays open."""

from itertools import combinations
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest

from jobs.models import causal_graph
from jobs.models.causal_graph import NODE_FEATURES, adjustment_set, build, check_instrument, feature_columns, open_path
from jobs.runtime import diagrams
from jobs.runtime.errors import SetupError
from jobs.runtime.graphs import DEFAULT_GRAPHS
from jobs.runtime.site import CausalGraph, Effects, Outcome, Site
from jobs.tables.contracts import FEATURES

EFFECT = "shown -> outcome"
CONFOUNDED = ("item_price -> shown", "item_price -> outcome")


def graph(*edges: str, latent: tuple[str, ...] = (), instrument: str | None = None):
    return build(CausalGraph(edges=(EFFECT, *edges), latent=latent), instrument)


def test_confounder_is_adjusted_for():
    assert adjustment_set(graph(*CONFOUNDED)) == ("item_price",)


def test_cause_of_showing_alone_is_left_out_and_cause_of_the_outcome_alone_is_kept():
    found = adjustment_set(graph(*CONFOUNDED, "user_activity -> outcome", "earlier_showing -> shown"))
    assert found == ("item_price", "user_activity")


def test_mediator_is_never_adjusted_for():
    assert adjustment_set(graph("shown -> user_preference", "user_preference -> outcome")) == ()


def test_collider_of_two_latent_causes_is_left_alone():
    m_bias = ("taste -> shown", "taste -> user_activity", "season -> user_activity", "season -> outcome")
    assert adjustment_set(graph(*m_bias, latent=("taste", "season"))) == ()


def test_cause_of_the_outcome_that_is_a_collider_is_kept_only_with_what_closes_its_path():
    m_bias = ("taste -> shown", "taste -> user_activity", "season -> user_activity", "season -> outcome")
    direct = (*m_bias, "user_activity -> outcome")
    with pytest.raises(SetupError, match="shown <- taste -> user_activity <- season -> outcome stays open"):
        adjustment_set(graph(*direct, latent=("taste", "season")))
    measured = tuple(edge.replace("taste", "item_price") for edge in direct)
    assert adjustment_set(graph(*measured, latent=("season",))) == ("item_price", "user_activity")


def test_front_door_with_a_latent_confounder_is_refused_with_its_path():
    edges = ("shown -> user_preference", "user_preference -> outcome", "taste -> shown", "taste -> outcome")
    front_door = build(CausalGraph(edges=edges, latent=("taste",)))
    with pytest.raises(SetupError, match="shown <- taste -> outcome stays open"):
        adjustment_set(front_door)


def test_latent_confounder_behind_a_measured_one_is_closed_by_it():
    edges = ("taste -> user_preference", "user_preference -> shown", "taste -> outcome")
    assert adjustment_set(graph(*edges, latent=("taste",))) == ("user_preference",)


@pytest.mark.parametrize("seed", range(40))
def test_adjustment_set_of_a_random_graph_separates_and_a_refusal_is_right(seed: int):
    """Against all subsets of the measured groups."""
    rng = np.random.default_rng(seed)
    order = ["taste", *rng.permutation(list(NODE_FEATURES)), "season", "shown", "outcome"]
    edges = [f"{a} -> {b}" for a, b in combinations(order, 2) if rng.random() < 0.35]
    made = graph(*{EFFECT, *edges} - {EFFECT}, latent=tuple({"taste", "season"} & set(" ".join(edges).split())))
    back = made.copy()
    back.remove_edge("shown", "outcome")
    there = [name for name in NODE_FEATURES if name in made]
    subsets = [set(some) for size in range(len(there) + 1) for some in combinations(there, size)]
    possible = any(nx.is_d_separator(back, "shown", "outcome", some) for some in subsets)
    if possible:
        assert nx.is_d_separator(back, "shown", "outcome", set(adjustment_set(made)))
    else:
        with pytest.raises(SetupError, match="stays open"):
            adjustment_set(made)


def test_open_path_needs_a_given_collider():
    edges = ("user_activity -> shown", "user_activity -> item_price", "taste -> item_price", "taste -> outcome")
    m_bias = graph(*edges, latent=("taste",))
    m_bias.remove_edge("shown", "outcome")
    assert open_path(m_bias, {"item_price"}) == "shown <- user_activity -> item_price <- taste -> outcome"
    with pytest.raises(ValueError, match="separated"):
        open_path(m_bias, set())


@pytest.mark.parametrize(
    ("edges", "latent", "said"),
    [
        ((EFFECT, "item_price -> shown", "shown -> item_price"), (), "not acyclic: .*item_price"),
        (("item_price -> outcome", "item_price -> shown"), (), "no path shown -> outcome"),
        ((EFFECT, "item_prise -> shown"), (), "item_prise: no such feature group .*item_price"),
    ],
)
def test_impossible_graph_is_refused(edges: tuple[str, ...], latent: tuple[str, ...], said: str):
    with pytest.raises(SetupError, match=said):
        build(CausalGraph(edges=edges, latent=latent))


def test_instrument_may_not_reach_the_outcome_by_another_way():
    hidden = ("taste -> shown", "taste -> outcome")
    good = graph(*hidden, "slot -> shown", latent=("taste",), instrument="slot")
    check_instrument(good, "slot")
    bad = graph(*hidden, "slot -> shown", "slot -> outcome", latent=("taste",), instrument="slot")
    with pytest.raises(SetupError, match="other than by shown"):
        check_instrument(bad, "slot")
    idle = graph(*hidden, "shown -> slot", latent=("taste",), instrument="slot")
    idle.remove_edge("shown", "slot")
    with pytest.raises(SetupError, match="does not change shown"):
        check_instrument(idle, "slot")
    with pytest.raises(SetupError, match="is no node"):
        check_instrument(graph(*CONFOUNDED), "slot")
    check_instrument(graph(*CONFOUNDED, instrument="slot"), "slot")


def test_instrument_shared_with_a_measured_cause_is_good_given_that_cause():
    edges = ("user_activity -> explored", "user_activity -> outcome", "explored -> shown")
    shared = site(*edges, instrument="explored")
    assert set(causal_graph.adjusted_columns(shared)) == set(NODE_FEATURES["user_activity"])
    hidden = tuple(edge.replace("user_activity", "taste") for edge in edges)
    with pytest.raises(SetupError, match="explored reaches outcome other than by shown"):
        check_instrument(graph(*hidden, latent=("taste",), instrument="explored"), "explored")


def test_every_feature_stands_for_one_group():
    columns = [column for group in NODE_FEATURES.values() for column in group]
    assert sorted(columns) == sorted(FEATURES)


@pytest.mark.parametrize("domain", DEFAULT_GRAPHS)
def test_default_graph_is_identified_by_its_feature_groups(domain: str):
    groups = adjustment_set(build(CausalGraph.model_validate(DEFAULT_GRAPHS[domain])))
    assert {"user_activity", "user_preference", "item_popularity", "earlier_showing"} <= set(groups)
    assert set(NODE_FEATURES["earlier_showing"]) <= set(feature_columns(groups)) <= set(FEATURES)


def test_drawing_dashes_latent_nodes_and_names_every_node():
    declared = build(CausalGraph.model_validate(DEFAULT_GRAPHS["health"]))
    svg = diagrams.causal_graph(declared, adjustment_set(declared))
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    words = {text for name in declared for text in name.split("_")}
    assert all(f">{word}<" in svg.replace(" <", "<").replace("> ", ">") for word in words)
    none_latent = build(CausalGraph(edges=(causal_graph.TREATMENT + " -> " + causal_graph.OUTCOME,)))
    assert "stroke-dasharray" in svg
    assert "stroke-dasharray" not in diagrams.causal_graph(none_latent, ())


def site(*edges: str, latent: tuple[str, ...] = (), instrument: str | None = None) -> Site:
    declared = CausalGraph(edges=(EFFECT, *edges), latent=latent)
    effects = Effects(graph=declared, instrument=instrument)
    return Site(site="shop", outcome=Outcome(event_types=("purchase",)), effects=effects)


def test_models_are_given_the_columns_of_the_adjustment_set_without_the_instrument():
    assert causal_graph.adjusted_columns(site(*CONFOUNDED)) == ("item_price",)
    shop = Site(site="shop", outcome=Outcome(event_types=("purchase",)))
    assert sorted(causal_graph.adjusted_columns(shop)) == sorted(FEATURES)
    drawn = shop.model_copy(update={"effects": Effects(instrument="explored")})
    assert sorted(causal_graph.adjusted_columns(drawn)) == sorted(FEATURES)
    assert "explored" in causal_graph.of_site(drawn) and "explored" not in causal_graph.of_site(shop)
    column = site(*CONFOUNDED, "earlier_showing -> shown", "user_activity -> outcome", instrument="user_items_91d")
    assert "user_items_91d" not in causal_graph.adjusted_columns(column)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (site("taste -> shown", "taste -> outcome", latent=("taste",)), "shown <- taste -> outcome stays open"),
        (site(*CONFOUNDED, instrument="coupon"), "effects.instrument: coupon is no column of the trials"),
        (
            site("explored -> shown", "explored -> outcome", instrument="explored"),
            "reaches outcome other than by shown",
        ),
        (site(), "nothing to learn effects from"),
    ],
)
def test_site_whose_graph_says_nothing_about_the_effect_is_refused(given: Site, said: str):
    with pytest.raises(SetupError, match=said):
        causal_graph.adjusted_columns(given)
