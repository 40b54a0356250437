"""The whole gate on a few worlds without any effect and one with: `python -m benchmarks.gate` has twenty of each."""

from benchmarks import gate


def test_the_gate_lets_at_most_one_world_without_effect_claim_one_and_a_planted_effect_through() -> None:
    """At most one of twenty: tests/models/test_engine.py holds it for the Qini, without which no gate is open."""
    failed = [gate.failed(seed, scale=0.0) for seed in range(3)]
    assert failed[0] == ["qini"] and failed.count([]) <= 1
    assert gate.failed(0, scale=1.0) == []
