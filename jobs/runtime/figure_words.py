"""Figures in words, the same in every report, page, log and reason; an effect is in percentage points (pp).

What people read an effect as: percentage points of outcome probability, with their sign.
"""

from collections.abc import Collection, Mapping

from jobs.runtime.report_words import WORDS

Figure = Mapping[str, float | None]  # value, low and high of a 90 % interval; low and high may be None
UNIT = " pp"
REFUTED = frozenset({"estimate", "placebo", "random_subset", "random_common_cause"})
EFFECTS = REFUTED | {"average_effect"}  # of the night's figures those that are effects


def number(value: float | None, digits: int = 0) -> str:
    """A figure as people read it: whole thousands and counts without a point, else four digits, five where small."""
    if value is None:
        return "not computed"
    value = round(value, 6) + 0.0  # what is left of a subtraction is no figure, and zero has no sign
    if abs(value) >= 1000 or (value == int(value) and abs(value) >= 1):
        return f"{value:,.0f}"
    return f"{value:.{digits or _digits(value)}f}"


def _digits(value: float) -> int:
    return 5 if 0 < abs(value) < 0.001 else 4


def interval(low: float | None, high: float | None) -> str:
    """An interval in words, both ends with as many digits, or that there is none."""
    if low is None or high is None:
        return "none"
    digits = max(_digits(low), _digits(high))
    return f"{number(low, digits)} to {number(high, digits)}"


def said(figure: Figure) -> str:
    """A figure with its interval inside a sentence."""
    if figure.get("low") is None:
        return number(figure["value"])
    return f"{number(figure['value'])} (90 % interval {interval(figure['low'], figure['high'])})"


def share(value: float | None, digits: int = 1) -> str:
    """A share in per cent."""
    return "none" if value is None else f"{100 * value:.{digits}f} %"


def share_said(figure: Figure) -> str:
    """A share with its interval inside a sentence."""
    low, high = figure.get("low"), figure.get("high")
    if low is None or high is None:
        return share(figure["value"])
    return f"{share(figure['value'])} (90 % interval {100 * low:.1f} to {share(high)})"


def points(value: float | None, unit: str = UNIT) -> str:
    """An effect with two digits, three if small; without ``unit`` where a table's head has it."""
    return "not computed" if value is None else f"{100 * value:+.{_point_digits(value)}f}{unit}"


def points_between(low: float | None, high: float | None, unit: str = UNIT) -> str:
    """The interval of an effect, both ends with as many digits, or that there is none."""
    if low is None or high is None:
        return "none"
    digits = _point_digits(low, high)
    return f"{100 * low:+.{digits}f} to {100 * high:+.{digits}f}{unit}"


def points_said(figure: Figure, level: str = "90 %") -> str:
    """An effect with its interval inside a sentence; ``figure`` has value, low and high."""
    if figure.get("low") is None:
        return points(figure["value"])
    return f"{points(figure['value'])} ({level} interval {points_between(figure['low'], figure['high'])})"


def _point_digits(*values: float) -> int:
    return 3 if max(map(abs, values)) < 0.001 else 2


def figures(
    metrics: Mapping[str, Figure], words: Mapping[str, str] = WORDS, effects: Collection[str] = EFFECTS
) -> list[dict[str, str]]:
    """Rows of a table of figures, by name, ``effects`` in points; a figure without a value is left out."""
    return [
        {"name": words.get(name, name), **(effect_cells if name in effects else cells)(figure)}
        for name, figure in sorted(metrics.items())
        if figure.get("value") is not None
    ]


def cells(figure: Figure) -> dict[str, str]:
    """A figure and its interval as two cells of a table."""
    return {"value": number(figure["value"]), "interval": interval(figure.get("low"), figure.get("high"))}


def effect_cells(figure: Figure) -> dict[str, str]:
    """An effect and its interval as two cells of a table."""
    return {"value": points(figure["value"]), "interval": points_between(figure.get("low"), figure.get("high"))}
