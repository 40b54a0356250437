"""The effects page: what is published for a site, whether it can be trusted, and why a user gets an item.

Server-rendered; every endpoint wants a user of Airflow's auth manager. Reads the mart and Airflow's own runs.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import jinja2
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException

from jobs.runtime.environment import Environment
from jobs.runtime.errors import NightliftError
from jobs.runtime.figure_words import points, points_between, share
from jobs.runtime.site import load_site
from jobs.tables import mart
from nightlift import access, links, runs, views
from nightlift.access import SiteDep, SitesDep

HERE = Path(__file__).resolve().parent
STATIC = {path.name: path for path in sorted((HERE / "static").iterdir())}
CHARACTER = r"^[^\x00]*$"  # PostgreSQL has no text with a zero byte
FENCE = "default-src 'none'; base-uri 'none'; frame-ancestors 'self'; style-src 'self'"
WRITTEN = ("reports", "data_docs")
ALONE = f"{FENCE} 'unsafe-inline'; img-src data:"  # pages that the night wrote hold all they need, and no script
OURS = f"{FENCE}; script-src 'self'; img-src 'self'; form-action 'self'"

# Airflow's own check: a token in the header or its cookie, refreshed and revoked as Airflow does
app = FastAPI(title="Nightlift", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None)
pages = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
pages.globals["between"] = points_between
pages.filters |= {"points": points, "share": share, "number": views.number}


def render(request: Request, template: str, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """A page; ``base`` is where this app lives and ``airflow`` where Airflow does, also behind a proxy's prefix."""
    base = request.scope.get("root_path", "")
    where = {"base": base, "airflow": base.removesuffix(links.PAGE)}
    return HTMLResponse(pages.get_template(template).render({**where, **values}), status)


@app.middleware("http")
async def headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """No script but ours, no frame but Airflow's, nothing about users in a cache."""
    response = await answer(request)
    kind = request.url.path.removeprefix(f"{request.scope.get('root_path', '')}/docs/").split("/")[0]
    response.headers["Content-Security-Policy"] = ALONE if kind in WRITTEN else OURS
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response


@app.exception_handler(AnyHTTPException)
def refused(request: Request, error: AnyHTTPException) -> Response:
    """Login for who is not logged in; a page with one sentence for the rest."""
    if error.status_code == 401:
        return access.not_logged_in(request)
    return render(request, "error.html.j2", {"line": error.detail}, error.status_code)


@app.exception_handler(RequestValidationError)
def malformed(request: Request, error: RequestValidationError) -> Response:
    """Which part of the address cannot be."""
    parts = ", ".join(str(problem["loc"][-1]) for problem in error.errors())
    return render(request, "error.html.j2", {"line": f"The address has a value that cannot be: {parts}."}, 400)


@app.exception_handler(NightliftError)
def broken(request: Request, error: NightliftError) -> Response:
    """What is wrong, where, and what to do."""
    return render(request, "error.html.j2", {"line": str(error)}, 503)


@app.get("/static/{name}")
def static(name: str) -> FileResponse:
    """Style, script and icons of the page."""
    if name not in STATIC:
        raise HTTPException(404, f"There is no file {name!r}.")
    return FileResponse(STATIC[name])


@app.get("/docs/index.html")
def all_nights(request: Request) -> RedirectResponse:
    """Where the pages of the night link to for all nights."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/")


@app.get("/docs/{kind}/{site}/{path:path}")
def written(kind: str, path: str, site: SiteDep) -> FileResponse:
    """A page that the night wrote: the report, or the Data Docs."""
    folder = (Environment.load().home / "docs" / kind / site.site).resolve()
    file = (folder / path).resolve()
    if kind not in WRITTEN or not file.is_relative_to(folder) or not file.is_file():
        raise HTTPException(404, f"No night of {site.site} has written this page on this machine.")
    return FileResponse(file)


@app.get("/spark/{site}/{application}")
def event_log(application: str, site: SiteDep, readable: SitesDep) -> FileResponse:
    """Event log of the warm Spark, which works for every site: only for who may read all of them."""
    environment = Environment.load()
    log = links.event_log(environment, application)
    if log is None or len(list(readable)) < len(access.site_files(environment.sites)):
        raise HTTPException(404, f"There is no event log of {application!r} here, or you may not read every site.")
    return FileResponse(log, filename=log.name)


@app.get("/")
def sites(request: Request, readable: SitesDep, session: SessionDep) -> HTMLResponse:
    """Every site the user may read, with its verdict."""
    environment, rows = Environment.load(), []
    for name, path in readable:
        try:
            with mart.read(load_site(path), environment) as found:
                rows.append({"name": name, "problem": None, "verdict": views.verdict_of(found, session, name)})
        except NightliftError as error:  # one broken site hides no other
            rows.append({"name": name, "problem": str(error), "verdict": None})
    return render(request, "sites.html.j2", {"sites": rows})


@app.get("/sites/{site}")
def one_site(
    request: Request, site: SiteDep, session: SessionDep, page: Annotated[int, Query(ge=1, le=100_000)] = 1
) -> HTMLResponse:
    """Verdict, lift, overlap, effects and versions of a site."""
    environment = Environment.load()
    with mart.read(site, environment) as found:
        nights = runs.of_site(session, site.site)
        return render(request, "site.html.j2", views.site_values(found, site, environment, nights, page))


@app.get("/sites/{site}/users")
def users(
    request: Request,
    site: SiteDep,
    prefix: Annotated[str, Query(max_length=200, pattern=CHARACTER)] = "",
    after: Annotated[str | None, Query(max_length=400, pattern=CHARACTER)] = None,
    user: Annotated[str | None, Query(max_length=400, pattern=CHARACTER)] = None,
) -> HTMLResponse:
    """Users by the start of their id, and the two lists of the chosen one."""
    with mart.read(site, Environment.load()) as found:
        return render(request, "users.html.j2", views.users_values(found, site, prefix, after, user))
