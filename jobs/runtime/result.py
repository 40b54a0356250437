"""What a job tells whoever started it: ids, paths and one line, as JSON in the file that NIGHTLIFT_RESULT names.

A job knows nothing of a scheduler; started by hand, without the variable, it tells nobody.
"""

import json
import os
from pathlib import Path

VARIABLE = "NIGHTLIFT_RESULT"


def record(**values: object) -> None:
    """Add to what is told; a later value of the same name replaces the earlier one."""
    if not os.environ.get(VARIABLE):
        return
    path = Path(os.environ[VARIABLE])
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values), encoding="utf-8")
