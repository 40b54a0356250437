"""The Open Bandit samples and estimators of ``obp`` (Saito et al., NeurIPS 2021, Apache 2.0), without its PyTorch.

``obp`` names ``torch.Tensor`` in annotations and isinstance checks of its NumPy estimators and needs it nowhere in
them; an empty stand-in for the name is all that is put in its place.
"""

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """10,000 logged impressions; arrays of shape (n,)."""

    action: NDArray[np.int64]
    position: NDArray[np.int64]
    reward: NDArray[np.int64]
    propensity: NDArray[np.float64]


def _folder() -> Path:
    found = importlib.util.find_spec("obp")
    assert found is not None and found.submodule_search_locations, "obp is missing: pip install --no-deps obp==0.4.1"
    return Path(found.submodule_search_locations[0])


def sample(policy: str, campaign: str) -> Sample:
    """The sample of ``policy`` (random, bts) and ``campaign`` (all, men, women)."""
    table = pd.read_csv(_folder() / "dataset" / "obd" / policy / campaign / f"{campaign}.csv", index_col=0)
    return Sample(
        table["item_id"].to_numpy(np.int64),
        table["position"].rank(method="dense").to_numpy().astype(np.int64) - 1,
        table["click"].to_numpy(np.int64),
        table["propensity_score"].to_numpy(np.float64),
    )


def estimators() -> Any:
    """The module ``obp.ope.estimators``, loaded without the package's own imports."""
    folder = _folder()
    torch = ModuleType("torch")
    torch.Tensor = type("Tensor", (), {})  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("torch", "obp", "obp.ope", "obp.utils", "obp.ope.estimators")}
    sys.modules["torch"] = torch
    for name in ("obp", "obp.ope"):
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    try:
        return importlib.import_module("obp.ope.estimators")
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
