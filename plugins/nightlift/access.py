"""Who may read the effects page: users whom Airflow's auth manager knows and lets read the site's DAG."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from jobs.runtime.environment import Environment
from jobs.runtime.site import Site, load_site
from nightlift.tasks import dag_id


def may_read(site: str, request: Request, user: GetUserDep) -> bool:
    """Whether the user may read the DAG of ``site``."""
    try:
        requires_access_dag("GET", param_dag_id=dag_id(site))(request, user)
    except HTTPException:
        return False
    return True


def site_files(folder: Path) -> dict[str, Path]:
    """Site files by name."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def readable_site(site: str, request: Request, user: GetUserDep) -> Site:
    """The site of a path; 404 where there is none or the user may not read it, so that nobody learns which."""
    path = site_files(Environment.load().sites).get(site)
    if path is None or not may_read(site, request, user):
        raise HTTPException(404, f"There is no site {site!r}, or you may not read its DAG.")
    return load_site(path)


def readable_sites(request: Request, user: GetUserDep) -> Iterator[tuple[str, Path]]:
    """Name and file of every site the user may read."""
    files = site_files(Environment.load().sites)
    return ((name, path) for name, path in files.items() if may_read(name, request, user))


SiteDep = Annotated[Site, Depends(readable_site)]
SitesDep = Annotated[Iterator[tuple[str, Path]], Depends(readable_sites)]


def not_logged_in(request: Request) -> Response:
    """The login page for a browser, which comes back here; 401 for anything else."""
    if "text/html" not in request.headers.get("accept", ""):
        return Response("Not authenticated", 401, {"WWW-Authenticate": "Bearer"})
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(get_auth_manager().get_url_login(next_url=here), 303)
