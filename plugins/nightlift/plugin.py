"""The plugin Airflow loads in every process: it stays light, the page is imported by the API server alone."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class NightliftPlugin(AirflowPlugin):
    """The effects page and its entry in the navigation; the notes of DAG runs."""

    name = "nightlift"
    external_views = [
        {
            "name": "Effects",
            "href": "nightlift/",
            "destination": "nav",
            "url_route": "nightlift",
            "nav_top_level": True,
            "icon": "nightlift/static/icon.svg",
            "icon_dark_mode": "nightlift/static/icon-dark.svg",
        }
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The effects page; only the API server asks for it."""
        from nightlift.links import PAGE
        from nightlift.page import app

        return [{"name": "Nightlift effects", "app": app, "url_prefix": PAGE}]

    @property
    def listeners(self) -> list[Any]:  # type: ignore[override]
        """What writes a run's note when it ends."""
        from nightlift import notes

        return [notes]
