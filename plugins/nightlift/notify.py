"""Notifications of a night that failed or is late, by webhook; off until the environment names where they go.

``NIGHTLIFT_NOTIFY`` is the id of an Airflow connection: its host is the address up to the path, its password the path,
which for most receivers is a secret. ``NIGHTLIFT_DEADLINE_MINUTES`` is how long after it was queued a night may end.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import AsyncCallback, BaseHook, BaseNotifier, Connection, DeadlineAlert, DeadlineReference

FAILED = "nightlift: {{ ti.task_id }} of {{ dag.dag_id }} failed, run {{ run_id }}; readers keep the version published"
LATE = "nightlift: {dag} has not ended {minutes:g} minutes after it was queued; readers keep the version published"


class Webhook(BaseNotifier):
    """One POST of ``{"text": ...}`` to the address of an Airflow connection."""

    template_fields: Sequence[str] = ("text",)

    def __init__(self, conn_id: str, text: str, context: Any = None) -> None:
        super().__init__(context)
        self.conn_id = conn_id
        self.text = text

    def notify(self, context: Any) -> None:
        """Send it from the process of the task."""
        self._post(BaseHook.get_connection(self.conn_id))

    async def async_notify(self, context: Any) -> None:
        """Send it from the triggerer."""
        connection = await Connection.async_get(self.conn_id)
        await asyncio.to_thread(self._post, connection)

    def _post(self, connection: Connection) -> None:
        import requests

        address = f"{(connection.host or '').rstrip('/')}/{(connection.password or '').lstrip('/')}"
        try:
            requests.post(address, json={"text": self.text}, timeout=30).raise_for_status()
        except requests.RequestException as error:  # whose words would show the secret path
            raise RuntimeError(f"connection {self.conn_id} was not reached: {type(error).__name__}") from None


def on_failure(environment: Mapping[str, str] = os.environ) -> list[Webhook]:
    """What a task calls that failed for good; nothing where nobody is to be told."""
    receiver = environment.get("NIGHTLIFT_NOTIFY")
    return [Webhook(receiver, FAILED)] if receiver else []


def deadline(dag: str, environment: Mapping[str, str] = os.environ) -> DeadlineAlert | None:
    """The alert of a night that takes too long; None without a receiver or a number of minutes."""
    receiver, minutes = (environment.get(f"NIGHTLIFT_{name}") for name in ("NOTIFY", "DEADLINE_MINUTES"))
    if not receiver or not minutes:
        return None
    text = LATE.format(dag=dag, minutes=float(minutes))
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=float(minutes)),
        callback=AsyncCallback(Webhook, {"conn_id": receiver, "text": text}),
    )
