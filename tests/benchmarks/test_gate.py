"""The whole gate, on worlds without any effect and on one with: `python -m benchmarks.gate` has twenty of each."""

from benchmarks import gate


def test_worlds_without_any_effect_do_not_pass_and_a_planted_one_does() -> None:
    """That the Qini, which the gate asks for, is above zero in at most one of twenty is held in test_engine.py."""
    closed = [gate.failed(seed, scale=0.0) for seed in range(3)]
    assert all("qini" in names for names in closed), closed
    assert gate.failed(0, scale=1.0) == []
