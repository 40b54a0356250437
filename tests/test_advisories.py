"""The lock against published advisories, offline: each locked version is at least the one that mends it.

A table that grows: a package of the lock that is not in it has no advisory known here, which proves nothing.
"""

import re
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.txt"
FIXED = {  # package: first version without it, by advisory
    "aiohttp": {"CVE-2024-23334": "3.9.2", "CVE-2024-30251": "3.9.4", "CVE-2025-53643": "3.12.14"},
    "apache-airflow": {
        "CVE-2024-39877": "2.9.3",
        "CVE-2024-45034": "2.10.1",
        "CVE-2024-50378": "2.10.3",
        "CVE-2025-54831": "3.0.4",
        "CVE-2026-22922": "3.1.7",
        "CVE-2026-25917": "3.2.0",
        "CVE-2026-32228": "3.2.0",
        "CVE-2026-33858": "3.2.0",
    },
    "apache-airflow-providers-fab": {"CVE-2024-42447": "1.2.2", "CVE-2024-45033": "1.5.2"},
    "certifi": {"CVE-2023-37920": "2023.7.22", "CVE-2024-39689": "2024.7.4"},
    "cryptography": {"CVE-2024-26130": "42.0.4", "CVE-2024-12797": "44.0.1"},
    "flask": {"CVE-2023-30861": "2.3.2", "CVE-2026-27205": "3.1.3"},
    "flask-appbuilder": {
        "CVE-2024-25128": "4.3.11",
        "CVE-2024-45314": "4.5.1",
        "CVE-2025-24023": "4.5.3",
        "CVE-2025-32962": "4.6.2",
        "CVE-2025-58065": "4.8.1",
    },
    "flask-cors": {"CVE-2024-6221": "4.0.2", "CVE-2024-6839": "6.0.0", "CVE-2024-6844": "6.0.0"},
    "fonttools": {"CVE-2023-45139": "4.43.0", "CVE-2025-66034": "4.60.2"},
    "gunicorn": {"CVE-2024-1135": "22.0.0", "CVE-2024-6827": "23.0.0"},
    "h11": {"CVE-2025-43859": "0.16.0"},
    "idna": {"CVE-2024-3651": "3.7"},
    "jinja2": {
        "CVE-2024-22195": "3.1.3",
        "CVE-2024-34064": "3.1.4",
        "CVE-2024-56326": "3.1.5",
        "CVE-2025-27516": "3.1.6",
    },
    "mako": {"CVE-2022-40023": "1.2.2"},
    "mlflow": {
        "CVE-2023-6831": "2.9.2",
        "CVE-2024-27132": "2.10.0",
        "CVE-2025-11201": "3.0.0",
        "CVE-2025-14279": "3.5.0",
        "CVE-2026-2614": "3.10.0",
        "CVE-2026-2651": "3.11.0",
        "CVE-2026-4137": "3.11.0",
    },
    "numpy": {"CVE-2021-41496": "1.22.0"},
    "pillow": {"CVE-2023-50447": "10.2.0", "CVE-2024-28219": "10.3.0", "CVE-2025-48379": "11.3.0"},
    "protobuf": {"CVE-2025-4565": "6.31.1"},
    "pyarrow": {"CVE-2023-47248": "14.0.1"},
    "pygments": {"CVE-2022-40896": "2.15.1"},
    "pyjwt": {"CVE-2022-29217": "2.4.0", "CVE-2024-53861": "2.10.1"},
    "pyspark": {
        "CVE-2021-38296": "3.1.3",
        "CVE-2022-33891": "3.2.2",
        "CVE-2023-22946": "3.4.0",
        "CVE-2025-55039": "4.0.0",
    },
    "python-multipart": {"CVE-2024-24762": "0.0.7", "CVE-2024-53981": "0.0.18"},
    "pyyaml": {"CVE-2020-14343": "5.4"},
    "requests": {"CVE-2023-32681": "2.31.0", "CVE-2024-35195": "2.32.0", "CVE-2024-47081": "2.32.4"},
    "scikit-learn": {"CVE-2024-5206": "1.5.0"},
    "skops": {"CVE-2025-54412": "0.12.0", "CVE-2025-54886": "0.13.0"},
    "sqlparse": {"CVE-2023-30608": "0.4.4", "CVE-2024-4340": "0.5.0"},
    "starlette": {"CVE-2024-47874": "0.40.0", "CVE-2025-54121": "0.47.2", "CVE-2025-62727": "0.49.1"},
    "tqdm": {"CVE-2024-34062": "4.66.3"},
    "urllib3": {
        "CVE-2023-45803": "2.0.7",
        "CVE-2024-37891": "2.2.2",
        "CVE-2025-50181": "2.5.0",
        "CVE-2025-66418": "2.6.0",
    },
    "werkzeug": {
        "CVE-2024-34069": "3.0.3",
        "CVE-2024-49766": "3.0.6",
        "CVE-2025-66221": "3.1.4",
        "CVE-2026-21860": "3.1.5",
    },
    "zipp": {"CVE-2024-5569": "3.19.1"},
}


def locked(text: str) -> dict[str, Version]:
    """Version of every package of a lock."""
    return {name.lower(): Version(version) for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}


def open_advisories(versions: dict[str, Version]) -> list[str]:
    """Advisories that a lock is not new enough for."""
    return [
        f"{advisory}: {name} {versions[name]} is older than {fixed}"
        for name, advisories in FIXED.items()
        if name in versions
        for advisory, fixed in advisories.items()
        if versions[name] < Version(fixed)
    ]


def test_no_locked_version_has_a_known_advisory() -> None:
    versions = locked(LOCK.read_text(encoding="utf-8"))
    assert len(versions) > 200
    assert not set(FIXED) - set(versions), "no longer locked: take it from the table"
    assert open_advisories(versions) == []


@pytest.mark.parametrize(
    ("package", "version", "advisory"),
    [
        ("mlflow", "3.4.0", "CVE-2025-14279"),
        ("apache-airflow", "3.1.8", "CVE-2026-32228"),
        ("skops", "0.12.0", "CVE-2025-54886"),
    ],
)
def test_an_older_version_is_found(package: str, version: str, advisory: str) -> None:
    found = open_advisories(locked(f"{package}=={version} \\\n    --hash=sha256:00\n"))
    assert any(line.startswith(f"{advisory}: {package} {version} is older than") for line in found)


def test_every_locked_package_has_one_version_and_a_hash() -> None:
    text = LOCK.read_text(encoding="utf-8")
    parts = re.split(r"^(?=[a-zA-Z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(parts) == len(locked(text))
    assert [part.splitlines()[0] for part in parts if "--hash=sha256:" not in part] == []
