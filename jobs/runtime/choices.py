"""Which model versions make tonight's lists, pinned by number, and who decided it why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.models import decisions
from jobs.models.decisions import Decision
from jobs.models.metrics import Estimate, as_document
from jobs.runtime.args import dag_run
from jobs.tables.lake import Lake


@dataclass(frozen=True)
class Registered:
    """A registered model version: its number, address and the sha256 of its files."""

    version: str
    uri: str
    sha256: str

    @classmethod
    def of(cls, record: Mapping[str, str]) -> "Registered":
        """The version of a record with version, model_uri and sha256."""
        return cls(record["version"], record["model_uri"], record["sha256"])

    def document(self) -> dict[str, str]:
        """The version for JSON."""
        return {"version": self.version, "model_uri": self.uri, "sha256": self.sha256}


@dataclass(frozen=True)
class Champion:
    """The model behind the lists before tonight; ``missing`` says why there is none to compare with, or is empty."""

    registered: Registered | None
    files: Mapping[str, bytes]
    missing: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Champion":
        """The champion of ``document``, without its files."""
        return cls(None if record["missing"] else Registered.of(record), {}, record["missing"])

    def document(self) -> dict[str, Any]:
        """The champion for JSON."""
        return (self.registered.document() if self.registered else {}) | {"missing": self.missing}


def record_choice(lake: Lake, model: str, decision: Decision, challenger: Registered, champion: Champion) -> None:
    """Write tonight's model as ``chosen_<model>``: its version, the decision, and its figures for RUN_METRICS.

    Where no effect ranks, the challenger's are still shown, as not identified.
    """
    pinned = champion.registered if decision.chosen == decisions.CHAMPION else challenger
    assert pinned is not None, "a champion is chosen only where there is one"
    metrics: dict[str, Estimate | float] = {
        f"{model}_promoted": float(decision.chosen == decisions.CHALLENGER),
        f"{model}_overridden": float(bool(decision.reason)),
        **decision.figures,
    }
    by = f"a person (DAG run {dag_run()}): {decision.reason}" if decision.reason else "the gate"
    said = f"{decision.chosen} by {by}; {decision.why}"
    document = {
        "decision": decision.document() | {"said": said},
        "challenger": challenger.version,
        "champion": champion.registered.version if champion.registered else None,
        "metrics": {name: as_document(figure) for name, figure in metrics.items()},
    }
    lake.write_json(f"chosen_{model}", pinned.document() | document)
    print(f"{model} of tonight: version {pinned.version}, {said}")
