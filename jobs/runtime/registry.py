"""MLflow's model registry: versions with signature, example and card, aliases, and loading of what was recorded only.

A version is data: XGBoost's UBJSON and JSON under a flavor of our own. No pickle, no environment to infer, nothing
that runs on loading.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from jobs.models.boosting import sha256 as sha256_of
from jobs.models.metrics import Estimate, as_document
from jobs.runtime import tracking
from jobs.runtime.args import JobArgs
from jobs.runtime.choices import Champion, Registered
from jobs.runtime.errors import DataError
from jobs.runtime.figure_words import figures
from jobs.tables import versions

FLAVOR = "nightlift"
SUFFIXES = {".ubj", ".json", ".npy"}  # data only: nothing runs when they are loaded
EXAMPLE = "example/input.json"  # in a folder of its own: only files beside MLmodel are the model
EXAMPLE_ROWS = 10_000


@dataclass(frozen=True)
class Card:
    """What a model version says about itself.

    Args:
        purpose: what the model predicts, in a sentence.
        learnt_from: rows and days it was fitted on.
        figures: its headline figures.
        example: a few rows of input in the model's column order; bool or float32, a missing float is NaN.
        output: name of what is predicted, a double.
    """

    purpose: str
    learnt_from: str
    figures: Mapping[str, Estimate | float]
    example: pd.DataFrame
    output: str

    def text(self, name: str, sha256: str) -> str:
        """The card in Markdown."""
        known = {name: as_document(value) for name, value in self.figures.items()}
        rows = [f"| {row['name']} | {row['value']} | {row['interval']} |" for row in figures(known, words={})]
        lines = [
            f"**{name}**: {self.purpose}",
            "",
            f"**Learnt from:** {self.learnt_from}",
            "",
            "| figure | value | 90 % interval |",
            "|---|---|---|",
            *rows,
            "",
            "**Loading:** `jobs.runtime.registry.load_checked` returns the files (XGBoost UBJSON and JSON) and refuses"
            f" them unless their sha256 is `{sha256}`; `jobs.models.scoring.Scorer` predicts with them.",
        ]
        return "\n".join(lines)

    @property
    def signature(self) -> ModelSignature:
        """Input columns with their types and the output; only flags may not be missing."""
        flags = {name: pd.api.types.is_bool_dtype(kind) for name, kind in self.example.dtypes.items()}
        inputs: list[ColSpec | TensorSpec] = [
            ColSpec(DataType.boolean if flag else DataType.float, str(name), required=flag)
            for name, flag in flags.items()
        ]
        return ModelSignature(Schema(inputs), Schema([ColSpec(DataType.double, self.output)]))


def typical_rows(frame: pd.DataFrame, columns: Sequence[str], flags: Sequence[str] = ()) -> pd.DataFrame:
    """Three rows with the quartiles of each column, ``flags`` as bool: an example that is nobody's data."""
    part = frame[list(columns)].iloc[:: max(len(frame) // EXAMPLE_ROWS, 1)].astype(np.float32)
    rows = part.quantile([0.25, 0.5, 0.75]).reset_index(drop=True).astype(np.float32)
    return rows.astype(dict.fromkeys(flags, bool))


def register(args: JobArgs, model: str, files: Mapping[str, bytes], run_id: str, card: Card) -> Registered:
    """Register files as a version of ``<site>-<model>`` with alias ``challenger``, made by run ``run_id``.

    The sha256 is that of ``files`` alone. A version that has it already is kept, so the same night twice has the same
    number; its files are written again, so what was lost or changed is whole after its training ran again.
    """
    server, name, digest = tracking.client(args), f"{args.site.site}-{model}", sha256_of(files)
    _create_name(server, name)
    same = server.search_model_versions(f"name = '{name}' and tags.sha256 = '{digest}'")
    known = min(same, key=lambda version: int(version.version)) if same else None
    about = {**tracking.tags(args), "sha256": digest}
    if known:
        logged = server.get_logged_model(str(known.source).removeprefix("models:/"))
    else:
        experiment = server.get_run(run_id).info.experiment_id
        logged = server.create_logged_model(experiment, model, run_id, tags=about, model_type=model)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), logged, files, card)
        server.log_model_artifacts(logged.model_id, folder)
    if not known:
        server.finalize_logged_model(logged.model_id, "READY")
        known = server.create_model_version(
            name,
            f"models:/{logged.model_id}",
            run_id,
            tags=about,
            description=card.text(name, digest),
            await_creation_for=0,
            model_id=logged.model_id,
        )
    server.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    server.set_registered_model_alias(name, "challenger", known.version)
    return Registered(str(known.version), f"models:/{name}/{known.version}", digest)


def _create_name(server: mlflow.MlflowClient, name: str) -> None:
    try:
        server.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def save(folder: Path, logged: LoggedModel, files: Mapping[str, bytes], card: Card) -> None:
    """Write the model into ``folder`` as MLflow wants it: MLmodel beside the files, and the input example."""
    for path, content in files.items():
        (folder / path).write_bytes(content)
    (folder / EXAMPLE).parent.mkdir()
    card.example.to_json(folder / EXAMPLE, orient="split", index=False)
    described = Model(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        signature=card.signature,
        saved_input_example_info={"artifact_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split"},
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    described.add_flavor(FLAVOR, files=sorted(files), sha256=sha256_of(files), loader=f"{__name__}.load_checked")
    described.save(folder / "MLmodel")


def load_checked(args: JobArgs, uri: str, sha256: str, folder: Path) -> dict[str, bytes]:
    """Files of a model version, downloaded into ``folder``; DataError where their sha256 is not the recorded one."""
    tracking.client(args)
    root = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    files = {path.name: path.read_bytes() for path in sorted(root.iterdir()) if path.suffix in SUFFIXES}
    found = sha256_of(files)
    if found != sha256:
        raise DataError(
            f"{uri} has sha256 {found[:12]}, not {sha256[:12]} as recorded; someone changed it: run its training again"
        )
    return files


def champion(args: JobArgs, model: str) -> Champion:
    """The champion of ``model``, pinned by its number: what made the lists published last before tonight."""
    number, name = versions.model_before(args.site, args.environment, args.date, model), f"{args.site.site}-{model}"
    if number is None:
        return Champion(None, {}, f"there is no champion: no lists made with {name} were published before tonight")
    try:
        found = tracking.client(args).get_model_version(name, number)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return Champion(None, {}, f"the champion, version {number} of {name}, is not in the registry")
    made = Registered(number, f"models:/{name}/{number}", found.tags.get("sha256", ""))
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Champion(made, load_checked(args, made.uri, made.sha256, Path(folder)), "")
        except DataError as error:
            return Champion(None, {}, f"the champion cannot be used: {error}")


def promote(args: JobArgs, made_by: Mapping[str, str]) -> None:
    """Point ``champion`` of each model at the version that made the published lists, ``previous`` at the one before."""
    server = tracking.client(args)
    for model, version in made_by.items():
        name = f"{args.site.site}-{model}"
        champion = server.get_registered_model(name).aliases.get("champion")
        if champion == version:
            continue
        if champion:
            server.set_registered_model_alias(name, "previous", champion)
        server.set_registered_model_alias(name, "champion", version)
        print(f"{name}: champion is version {version}, before {champion or 'none'}")
