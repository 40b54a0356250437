"""Records of a diagnosis and of judged rules as a night writes them, small enough to read."""

from typing import Any


def figure(value: float, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


FOUR = {name: figure(0.3, 0.2, 0.4) for name in ("dr_loss", "qini", "auuc", "autoc")}
NONE = {name: figure(0.0, 0.0, 0.0) for name in FOUR}
DIAGNOSIS: dict[str, Any] = {
    "trials": 57_820,
    "estimators": [
        {"method": "AIPW", "over": "all trials", "estimate": figure(0.0035, 0.0023, 0.0047), "note": ""},
        {"method": "IPW", "over": "all trials", "estimate": figure(0.0022, 0.001, 0.0034), "note": ""},
        {
            "method": "item mean difference",
            "over": "all trials",
            "estimate": figure(0.0065, 0.0048, 0.008),
            "note": "",
        },
        {
            "method": "instrumental variable",
            "over": "trials the instrument moves",
            "estimate": None,
            "note": "the site names no instrument",
        },
    ],
    "disagreements": [["AIPW", "item mean difference"]],
    "sensitivity": {
        "robustness_value": [0.0108, 0.0068],
        "e_value": [1.88, 1.65],
        "bounds": [
            {"strength": 1.1, "lower": 0.0012, "upper": 0.0059, "low": 0.00003, "high": 0.0072},
            {"strength": 1.5, "lower": -0.0069, "upper": 0.0146, "low": -0.0082, "high": 0.0167},
        ],
        "erasing_strength": 1.1014,
    },
    "caps": [
        {"cap": 0.02, "share": 0.913, "effect": figure(0.0035, 0.0032, 0.0038), "ess_treated": 45_582, "ess_control": 9}
    ],
    "negative_control": {
        "estimate": figure(0.0011, -0.001, 0.0031),
        "wide": figure(0.0011, -0.0021, 0.0043),
        "note": "",
    },
    "importance": {"trials": 5_000, "feature": ["posterior", "gap_ratio"], "contribution": [0.0027, 0.0005]},
    "surrogate": {
        "fidelity": figure(0.768, 0.7, 0.83),
        "text": "category is <milk>? yes:",
        "nodes": [
            {"effect": 0.01, "share": 1.0, "feature": "price", "threshold": 2.62, "left": 1, "right": 2},
            {"effect": 0.002, "share": 0.9},
            {"effect": 0.0728, "share": 0.1},
        ],
    },
    "heat_map": {
        "segment": ["0 frequent, recent", "1 occasional", "0 frequent, recent"],
        "category": ["milk", "milk", "bread"],
        "estimate": [0.02, -0.01, 0.03],
        "low": [0.01, -0.02, -0.01],
        "high": [0.03, 0.0, 0.07],
        "trials": [100, 100, 50],
        "users": [20, 20, 12],
    },
    "comparison": {
        "learners": [
            {"name": "t", "figures": FOUR, "difference": NONE, "better": []},
            {"name": "r", "figures": FOUR, "difference": FOUR, "better": ["autoc"]},
            {"name": "pair_difference", "figures": FOUR, "difference": FOUR, "better": []},
        ],
        "trials": 40_000,
        "trees": 60,
        "left_out": None,
    },
    "metrics": {"erasing_strength": figure(1.1014)},
    "warnings": ["AIPW and item mean difference disagree: their 90 % intervals of the average effect do not meet"],
}
METHODS = ("ips", "snips", "dm", "dr")
RULES = ("effect", "relevance", "champion")
OFF_POLICY: dict[str, Any] = {
    "rules": list(RULES),
    "length": 20,
    "metrics": {
        "ope_trials": figure(913_000.0),
        "ope_users": figure(2_400.0),
        **{f"ope_{name}_rule_{method}": figure(0.0212, 0.021, 0.0214) for name in RULES for method in METHODS},
        **{f"ope_{name}_rule_{size}": figure(812.4) for name in RULES for size in ("ess", "ess_shown")},
        **{
            f"ope_gain_over_{name}_rule_{method}": figure(0.0004, 0.0003, 0.0005)
            for name in RULES[1:]
            for method in METHODS
        },
    },
}
