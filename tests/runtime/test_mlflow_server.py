"""The project's own MLflow server: who may talk to it, what it runs, and where artifacts go."""

import hashlib
from pathlib import Path

import mlflow
import pytest
import requests

from jobs.runtime.environment import Environment

SEARCH = "/api/2.0/mlflow/experiments/search"


def answer(server: Environment, path: str, **headers: str) -> requests.Response:
    return requests.post(f"{server.mlflow_uri}{path}", json={"max_results": 1}, headers=headers, timeout=30)


def test_its_own_names_are_answered(mlflow_server: Environment) -> None:
    port = mlflow_server.mlflow_uri.rsplit(":", 1)[1]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert answer(mlflow_server, SEARCH, Host=host).status_code == 200, host


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:5000", "127.0.0.1:1"])
def test_a_page_under_another_name_is_refused(mlflow_server: Environment, host: str) -> None:
    found = answer(mlflow_server, SEARCH, Host=host)
    assert found.status_code == 403 and "Invalid Host" in found.text


def test_a_page_of_another_origin_changes_nothing(mlflow_server: Environment) -> None:
    found = answer(mlflow_server, "/api/2.0/mlflow/experiments/create", Origin="http://evil.example")
    assert found.status_code == 403


def test_it_runs_no_jobs(mlflow_server: Environment) -> None:
    body = {"job_name": "invoke_scorer", "params": {}}  # a job that its version knows
    found = requests.post(f"{mlflow_server.mlflow_uri}/ajax-api/3.0/jobs/", json=body, timeout=30)
    assert found.status_code >= 400 and "job execution feature is not enabled" in found.text


def test_artifacts_go_through_the_server_and_stay_in_its_folder(mlflow_server: Environment, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(mlflow_server.mlflow_uri)
    experiment = client.create_experiment("artifacts")
    assert client.get_experiment(experiment).artifact_location.startswith("mlflow-artifacts:")
    run = client.create_run(experiment)
    (tmp_path / "note.txt").write_text("kept")
    mlflow.set_tracking_uri(mlflow_server.mlflow_uri)
    client.log_artifact(run.info.run_id, str(tmp_path / "note.txt"))
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["note.txt"]
    for path in (
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%252e%252e%252fetc%252fpasswd",
        "/etc/passwd",
    ):
        found = requests.get(f"{mlflow_server.mlflow_uri}/api/2.0/mlflow-artifacts/artifacts/{path}", timeout=30)
        assert found.status_code >= 400 and "root:" not in found.text, path


@pytest.mark.parametrize("source", ["file:///etc", "/etc", "mlflow-artifacts:/../../etc", "s3://bucket/../x"])
def test_a_model_version_is_no_way_to_a_file_of_the_machine(mlflow_server: Environment, source: str) -> None:
    client = mlflow.MlflowClient(mlflow_server.mlflow_uri)
    name = f"files-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    client.create_registered_model(name)
    for tags in ([], [{"key": "mlflow.prompt.is_prompt", "value": "true"}]):
        body = {"name": name, "source": source, "tags": tags}
        made = requests.post(f"{mlflow_server.mlflow_uri}/api/2.0/mlflow/model-versions/create", json=body, timeout=30)
        read = requests.get(
            f"{mlflow_server.mlflow_uri}/model-versions/get-artifact",
            params={"name": name, "version": "1", "path": "passwd"},
            timeout=30,
        )
        assert "root:" not in read.text and (made.status_code >= 400 or read.status_code >= 400), made.text
