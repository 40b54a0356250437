"""What a job tells whoever started it: ids, paths and one line, as JSON in the file that NIGHTLIFT_RESULT names.

A job knows nothing of a scheduler; started by hand, without the variable, it tells nobody.
"""

import json
import os
from pathlib import Path
from typing import Any

VARIABLE = "NIGHTLIFT_RESULT"
EXIT_CODE, ERROR = "exit_code", "error"  # what a job that failed tells


def told(file: Path) -> dict[str, Any]:
    """What a job has told in ``file``; nothing where it has told nobody."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def record(**values: object) -> None:
    """Add to what is told; a later value of the same name replaces the earlier one."""
    if not os.environ.get(VARIABLE):
        return
    path = Path(os.environ[VARIABLE])
    if not path.parent.exists():  # a driver on another machine
        return
    path.write_text(json.dumps(told(path) | values), encoding="utf-8")
