"""The effects page in Airflow's own application: who may see it, what it says, and that nothing on it is markup."""

import json
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest

from jobs.runtime.environment import Environment
from jobs.runtime.site import Site
from jobs.tables import contracts, versions
from tests import small_night
from tests.plugins.airflow_web import Web

MONDAY, TUESDAY = date(2024, 1, 8), date(2024, 1, 9)
HOSTILE = "<script>alert(1)</script>"
EXPERIMENT = "7"
PROOFS = (  # of small_night.HEADLINE
    "+4.00 to +6.00 pp): that is proved.",
    "12.5 % (90 % interval 10.0 to 15.0 %) have an interval above zero of their own",
    "ranking by effect brings more than ranking by relevance",
)


def publish(site: Site, environment: Environment, version: str, day: date, **changed: object) -> None:
    lists = changed.pop("lists", None) or small_night.lists(version, day)
    beside = small_night.beside(small_night.HEADLINE | dict(changed.pop("figures", {})))  # type: ignore[call-overload]
    for name, rows in changed.items():
        table = contracts.TABLES[name]
        beside[name] = pa.Table.from_pylist(rows, schema=table.arrow_schema)  # type: ignore[arg-type]
    versions.publish(site, environment, lists, beside, "effects proved", experiment=EXPERIMENT)  # type: ignore[arg-type]


def effect(level: str, key: str, method: str, estimate: float = 0.05) -> dict[str, object]:
    interval = {"estimate": estimate, "low": estimate - 0.02, "high": estimate + 0.02}
    counts = {"treated": 10, "control": 20, "overlap_share": 0.9, "identified": True}
    return {"level": level, "key": key, "method": method} | interval | counts


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/sites/shop",
        "/sites/shop/users",
        "/static/page.css",
        "/docs/reports/shop/2024-01-08.html",
        "/docs/index.html",
    ],
)
def test_who_is_not_logged_in_sees_the_login_page_only(web: Web, shop: Site, path: str) -> None:
    answer = web.client().get(f"/nightlift{path}?page=1")
    assert answer.status_code == 303
    assert "/auth/login/" in answer.headers["location"]
    assert quote(f"/nightlift{path}?page=1", safe="") in answer.headers["location"]
    answer = web.client().get(f"/nightlift{path}", headers={"accept": "application/json"})
    assert answer.status_code == 401 and shop.site not in answer.text


def test_a_forged_token_is_refused(web: Web, shop: Site) -> None:
    client = web.client()
    client.cookies.set("_token", "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")
    assert client.get("/nightlift/").status_code in (303, 403)


def test_who_may_not_read_the_dag_sees_no_site(web: Web, shop: Site, warehouse: Environment) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    client = web.client("guest")
    listed = client.get("/nightlift/")
    assert listed.status_code == 200 and shop.site not in listed.text
    for path in (f"/sites/{shop.site}", f"/sites/{shop.site}/users?user=u0", f"/docs/reports/{shop.site}/x.html"):
        answer = client.get(f"/nightlift{path}")
        assert answer.status_code == 404 and "u0" not in answer.text


def test_an_unknown_site_is_one_sentence(web: Web, shop: Site) -> None:
    answer = web.client("admin").get("/nightlift/sites/nowhere")
    assert answer.status_code == 404 and "There is no site" in answer.text


def test_the_page_is_in_the_navigation(web: Web, shop: Site) -> None:
    plugins = web.client("admin").get("/api/v2/plugins").json()["plugins"]
    (view,) = [view for plugin in plugins if plugin["name"] == "nightlift" for view in plugin["external_views"]]
    assert (view["href"], view["url_route"]) == ("nightlift/", "nightlift")
    icon = web.client("admin").get(f"/{view['icon']}")
    assert icon.status_code == 200 and icon.headers["content-type"].startswith("image/svg")


def test_an_empty_warehouse_says_how_to_begin(web: Web, shop: Site) -> None:
    client = web.client("admin")
    page = client.get(f"/nightlift/sites/{shop.site}")
    assert page.status_code == 200
    assert "Nothing is published yet" in page.text
    assert f"python -m jobs run --site {shop.site}" in page.text
    users = client.get(f"/nightlift/sites/{shop.site}/users?user=u0")
    assert users.status_code == 200 and "no user has a list" in users.text


def test_a_warehouse_that_is_away_is_one_line(web: Web, shop: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://nobody@127.0.0.1:9/warehouse")
    client = web.client("admin")
    page = client.get(f"/nightlift/sites/{shop.site}")
    assert page.status_code == 503 and "the warehouse cannot be reached" in page.text
    listed = client.get("/nightlift/")
    assert listed.status_code == 200 and "the warehouse cannot be reached" in listed.text


def test_a_broken_site_file_hides_no_other(web: Web, shop: Site, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("site: broken\nwhat: 1\n")
    listed = web.client("admin").get("/nightlift/")
    assert "what: unknown key" in listed.text and f"/sites/{shop.site}" in listed.text


def test_the_site_says_what_is_published_and_how_to_go_back(web: Web, shop: Site, warehouse: Environment) -> None:
    cell = effect("segment_category", json.dumps(["0 few purchases", "milk"]), "aipw", -0.04)
    effects = [effect("all", "all", "aipw"), effect("category", "milk", "pooled"), cell]
    publish(shop, warehouse, "aaaaaaaa", MONDAY, figures={"feedback_lift_7d": (0.4, 0.2, 0.6)})
    publish(shop, warehouse, "bbbbbbbb", TUESDAY, item_effects=effects)
    text = web.client("admin").get(f"/nightlift/sites/{shop.site}").text
    assert "Published is the night of 2024-01-09: 8 places for 3 users, ranked by what showing changes." in text
    assert f"python -m jobs rollback --site {shop.site} --version aaaaaaaa" in text
    assert "--version bbbbbbbb" not in text  # it is what readers see
    assert "+10.00 pp" in text and "+8.00 to +12.00" in text  # list_effect
    assert "+0.400" in text and "+0.200 to +0.600" in text  # measured lift
    assert "-4.00" in text and "heat-minus-4" in text
    assert "90.0 %" in text  # overlap of milk
    assert "those who got the list of 2024-01-01 had +0.400 outcomes a user against the control group" in text
    assert f"Versions are kept for {shop.keep_days} days." in text
    for proof in PROOFS:
        assert proof in text


def test_a_link_to_mlflow_opens_the_pages_of_trained_models_also_where_only_the_run_is_known(
    web: Web, shop: Site, warehouse: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    assert "MLflow" not in web.client("admin").get(f"/nightlift/sites/{shop.site}").text, "there is none"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow")
    run = small_night.lists("aaaaaaaa", MONDAY)["mlflow_run_id"][0]
    wanted = f'href="http://mlflow/#/experiments/{EXPERIMENT}/runs/{run}?workflowType=machine_learning"'
    assert web.client("admin").get(f"/nightlift/sites/{shop.site}").text.count(wanted) == 2
    versions.publish(
        shop, warehouse, small_night.lists("bbbbbbbb", TUESDAY), small_night.beside(), "loaded by an earlier release"
    )
    assert f'href="http://mlflow/#/runs/{run}"' in web.client("admin").get(f"/nightlift/sites/{shop.site}").text


def test_a_version_without_effects_says_which_part_is_missing(web: Web, shop: Site, warehouse: Environment) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    text = web.client("admin").get(f"/nightlift/sites/{shop.site}").text
    assert "This version has no effects by category." in text
    assert "This version has no effects by segment and category." in text
    assert "Not measured yet" in text and "What the lists really changed is not measured yet" in text


def test_a_rolled_back_version_is_named(web: Web, shop: Site, warehouse: Environment) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    publish(shop, warehouse, "bbbbbbbb", TUESDAY)
    versions.rollback(shop, warehouse)
    text = web.client("admin").get(f"/nightlift/sites/{shop.site}").text
    assert "Published is the night of 2024-01-08" in text
    assert "Version bbbbbbbb of 2024-01-09 was published before and rolled back." in text
    assert f"--site {shop.site} --version bbbbbbbb" in text


def test_versions_come_a_page_at_a_time(web: Web, shop: Site, warehouse: Environment) -> None:
    for day in range(1, 13):
        publish(shop, warehouse, f"{day:08x}", date(2024, 1, day))
    client = web.client("admin")
    first, second = (client.get(f"/nightlift/sites/{shop.site}?page={page}").text for page in (1, 2))
    assert "0000000c" in first and "00000002" not in first and "older versions" in first
    assert "00000002" in second and "older versions" not in second and "newer versions" in second
    assert client.get(f"/nightlift/sites/{shop.site}?page=0").status_code == 400


def test_both_lists_of_a_user_with_reasons_and_intervals(web: Web, shop: Site, warehouse: Environment) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    client = web.client("admin")
    text = client.get(f"/nightlift/sites/{shop.site}/users?user=u0").text
    assert "Segment: few purchases." in text
    assert "By relevance alone" in text and "As published" in text
    assert "because" in text and "+2.00" in text and "+1.00 to +3.00" in text
    for proof in PROOFS:
        assert proof in text
    assert "not in the list" in text  # i2 is published, but not in the relevance list
    assert "control group" not in text
    assert "control group" in client.get(f"/nightlift/sites/{shop.site}/users?user=u3").text


def test_a_profile_says_what_the_user_likes_and_when_he_comes(web: Web, shop: Site, warehouse: Environment) -> None:
    profile = {"user_id": "u0", "segment": 0, "segment_label": "few purchases", "factors": None}
    likes = [
        {"category": "milk", "share": 0.75},
        {"category": "bread", "share": 0.25},
        {"brand": "farm", "share": 0.5},
        {"part_of_day": "evening", "share": 0.6},
        {"weekday": "Friday", "share": 0.4},
        {"channel": "app", "share": 1.0},
        {"price_position": 0.62},
    ]
    client = web.client("admin")

    def text(entries: list[dict[str, Any]], version: str) -> str:
        made = [profile | {"preferences": json.dumps(entries)}]
        publish(shop, warehouse, version, MONDAY, user_profiles=made)
        return " ".join(client.get(f"/nightlift/sites/{shop.site}/users?user=u0").text.split())

    whole = text(likes, "aaaaaaaa")
    assert "Takes mostly milk (75.0 %), bread (25.0 %). Brands: farm (50.0 %)." in whole
    assert "On average dearer than 62.0 % of the same category." in whole
    assert "by part of the day: evening (60.0 %); by weekday: Friday (40.0 %); by channel: app (100.0 %)." in whole
    old = text(likes[:2], "bbbbbbbb")  # as earlier versions have them
    assert "Takes mostly milk (75.0 %), bread (25.0 %)." in old
    assert not any(word in old for word in ("Brands:", "dearer", "Comes mostly"))
    assert "No outcome in the last year." in text([], "cccccccc")


def test_users_are_searched_by_the_start_of_their_id(web: Web, shop: Site, warehouse: Environment) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    client = web.client("admin")
    assert ">u3</a>" in client.get(f"/nightlift/sites/{shop.site}/users?prefix=u3").text
    nobody = client.get(f"/nightlift/sites/{shop.site}/users?prefix=zz")
    assert nobody.status_code == 200 and "No user with a list starts with zz" in nobody.text


def test_an_unknown_user_is_one_sentence(web: Web, shop: Site, warehouse: Environment) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    client = web.client("admin")
    page = client.get(f"/nightlift/sites/{shop.site}/users?user=nobody")
    assert page.status_code == 200 and "User nobody has no list in version aaaaaaaa" in page.text
    assert client.get(f"/nightlift/sites/{shop.site}/users?user=a%00b").status_code == 400


def test_names_are_text_and_never_markup(web: Web, shop: Site, warehouse: Environment) -> None:
    rows = small_night.lists("aaaaaaaa", MONDAY).to_pylist()
    for row in rows:
        row |= {"item_id": f"{HOSTILE}{row['rank']}", "reason": HOSTILE, "user_id": f'{row["user_id"]}&"{HOSTILE}'}
    profile = {"user_id": rows[0]["user_id"], "segment": 0, "segment_label": HOSTILE, "factors": None}
    profile["preferences"] = json.dumps([{"category": HOSTILE, "share": 1.0}])
    effects = [
        effect("category", HOSTILE, "pooled"),
        effect("segment_category", json.dumps([f"0 {HOSTILE}", HOSTILE]), "aipw"),
    ]
    lists = pa.Table.from_pylist(rows, schema=contracts.RECOMMENDATIONS.arrow_schema)
    publish(shop, warehouse, "aaaaaaaa", MONDAY, lists=lists, user_profiles=[profile], item_effects=effects)
    client = web.client("admin")
    user = quote(rows[0]["user_id"], safe="")
    for path in ("", f"/users?user={user}&prefix={quote(HOSTILE)}", f"/users?after={quote(HOSTILE)}"):
        answer = client.get(f"/nightlift/sites/{shop.site}{path}")
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;alert" in answer.text
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'self'" in policy
        assert answer.headers["cache-control"] == "no-store"


def test_pages_have_no_style_or_script_of_their_own(web: Web, shop: Site, warehouse: Environment) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    client = web.client("admin")
    for path in ("", f"sites/{shop.site}", f"sites/{shop.site}/users?user=u0"):
        text = client.get(f"/nightlift/{path}").text
        for forbidden in ("style=", "<style", "onclick=", "<script>", "javascript:"):
            assert forbidden not in text, (path, forbidden)


def test_report_and_data_docs_are_shown_and_nothing_beside_them(
    web: Web, shop: Site, warehouse: Environment, tmp_path: Path
) -> None:
    publish(shop, warehouse, "aaaaaaaa", MONDAY)
    docs = tmp_path / "home" / "docs"
    for name in (f"reports/{shop.site}/2024-01-08.html", f"data_docs/{shop.site}/2024-01-08/index.html"):
        (docs / name).parent.mkdir(parents=True)
        (docs / name).write_text(f"<p>this is {name}</p>")
    (tmp_path / "home" / "airflow-admin-password").write_text("secret")
    (docs / "reports" / shop.site / "link").symlink_to(tmp_path / "home" / "airflow-admin-password")
    client = web.client("admin")
    text = client.get(f"/nightlift/sites/{shop.site}").text
    for name in (f"reports/{shop.site}/2024-01-08.html", f"data_docs/{shop.site}/2024-01-08/index.html"):
        assert f'href="/nightlift/docs/{name}"' in text
        answer = client.get(f"/nightlift/docs/{name}")
        assert answer.status_code == 200 and f"this is {name}" in answer.text
    for name in (
        f"reports/{shop.site}/..%2f..%2f..%2fairflow-admin-password",
        f"reports/{shop.site}/link",
        f"other/{shop.site}/x",
        f"reports/{shop.site}/2024-01-09.html",
    ):
        answer = client.get(f"/nightlift/docs/{name}")
        assert answer.status_code == 404 and "secret" not in answer.text
    assert client.get("/nightlift/docs/index.html").headers["location"] == "/nightlift/"


def test_spark_logs_are_shown_to_who_may_read_every_site(web: Web, shop: Site, tmp_path: Path) -> None:
    events = tmp_path / "home" / "spark" / "events"
    events.mkdir(parents=True)
    (events / "local-1.zstd").write_bytes(b"an event log")
    (events.parent / "secret").write_text("secret")
    answer = web.client("admin").get(f"/nightlift/spark/{shop.site}/local-1")
    assert answer.status_code == 200 and answer.content == b"an event log"
    for application in ("local-2", "..%2fsecret", ".."):
        answer = web.client("admin").get(f"/nightlift/spark/{shop.site}/{application}")
        assert answer.status_code == 404 and "secret" not in answer.text
    assert web.client("guest").get(f"/nightlift/spark/{shop.site}/local-1").status_code == 404
    assert web.client().get(f"/nightlift/spark/{shop.site}/local-1").status_code == 303


def test_every_address_of_the_app_wants_a_login(web: Web, shop: Site) -> None:
    from nightlift.page import app

    paths = {route.path for route in app.routes if hasattr(route, "path")}
    assert {"/", "/sites/{site}", "/spark/{site}/{application}", "/docs/{kind}/{site}/{path:path}"} <= paths
    for path in paths:
        address = path.replace(":path", "").format(
            site=shop.site, name="page.css", application="x", kind="reports", path="x"
        )
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = web.client().request(method, f"/nightlift{address}", headers={"accept": "application/json"})
            assert answer.status_code in ((401,) if method == "GET" else (401, 404, 405)), (method, path)
    for path in ("/openapi.json", "/docs", "/redoc"):
        answer = web.client().get(f"/nightlift{path}", headers={"accept": "application/json"})
        assert answer.status_code in (401, 404) and "paths" not in answer.text
