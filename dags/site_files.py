"""No DAG: broken site files become an import error here, so that they are seen and no other site loses its night."""

import os
from pathlib import Path

from jobs.runtime.errors import SetupError
from jobs.runtime.site import load_site

# a file without these two words is not parsed: airflow dag
SITES = Path(os.environ.get("NIGHTLIFT_SITES") or Path(__file__).resolve().parents[1] / "config" / "sites")

broken = []
for path in sorted(SITES.glob("*.yaml")):
    try:
        load_site(path)
    except SetupError as error:
        broken.append(str(error))
if broken:
    raise SetupError(" | ".join(broken))
