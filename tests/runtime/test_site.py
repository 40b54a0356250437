"""Site files are strict: the key is named before anything runs."""

from pathlib import Path

import pytest

from jobs.runtime.errors import SetupError
from jobs.runtime.site import find_site, load_site

GOOD = "site: shop\noutcome: {event_types: [buy]}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "shop.yaml"
    path.write_text(text)
    return path


def test_two_keys_are_enough(tmp_path: Path) -> None:
    assert load_site(write(tmp_path, GOOD)).list_length == 20


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("wat: 1", "wat: unknown key"),
        ("list_length: many", "list_length"),
        ("list_length: 0", "list_length"),
        ("holdout_share: 1.5", "holdout_share"),
        ("schedule: nightly", "schedule"),
        ("profiles: {time_zone: Middle-earth}", "profiles.time_zone: must be a time zone"),
        ("profiles: {channel: 'Store'}", "profiles.channel"),
        ("tuning: {schedule: sundays}", "tuning.schedule: must be a cron expression"),
        ("tuning: {windows: 0}", "tuning.windows"),
        ("ranking: {owned: sometimes}", "ranking.owned"),
        ("ranking: {owned: 0}", "ranking.owned"),
        ("ranker: {distributed_rows: 0}", "ranker.distributed_rows"),
        ("ranking: {objective: value}", "outcome.value names no column"),
        ("warehouse: {raw_schema: a, mart_schema: a}", "must differ"),
        ("feedback: {buy: 1.0}", "feedback repeats"),
        ("drift: {warn: 0.3}", "drift: warn must be below fail"),
        ("drift: {nights: 0}", "drift.nights"),
        ("keep_days: 6", "keep_days must be at least outcome.window_days"),
        ("opinions: {rating_low: 5, rating_high: 1}", "opinions: rating_low must be below"),
        ("opinions: {votes: [star], ratings: [star]}", "opinions: an event type is one of votes, ratings and comments"),
        ("effects: {graph: {edges: [shown => outcome]}}", "effects.graph.edges"),
        ("effects: {graph: {edges: [shown -> outcome], latent: [taste]}}", "latent names no node of the edges: taste"),
        ("effects: {graph: {edges: [shown -> outcome], latent: [shown]}}", "cannot be latent"),
    ],
)
def test_impossible_value_names_its_key(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        load_site(write(tmp_path, GOOD + line + "\n"))


def test_unknown_site_lists_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(SetupError, match="there: shop"):
        find_site("shopp", tmp_path)


def test_declared_graph_replaces_the_default_of_the_domain(tmp_path: Path) -> None:
    default = load_site(write(tmp_path, GOOD)).causal_graph
    assert "item_price -> shown" in default.edges and default.latent == ("season",)
    own = load_site(write(tmp_path, GOOD + "effects: {graph: {edges: [shown -> outcome]}}\n")).causal_graph
    assert own.edges == ("shown -> outcome",)
