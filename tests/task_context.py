"""The context of an Airflow task, as far as the project's operators read it."""

from types import SimpleNamespace

from airflow.sdk.execution_time.context import OutletEventAccessors


class Told(dict):
    """XCom of one task."""

    def xcom_push(self, key: str, value: object) -> None:
        self[key] = value


def context(**params: object) -> dict[str, object]:
    """Context of a task in a run with these params and no data interval."""
    run = SimpleNamespace(run_id="r", data_interval_start=None, data_interval_end=None)
    return {"params": params, "dag_run": run, "ti": Told(), "outlet_events": OutletEventAccessors()}
