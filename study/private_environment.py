"""Variables that travel with a submitted study without being told to Ray.

Ray writes the variables of a job's runtime environment to its logs, to the dashboard and to the
answers of its job server. Passwords and keys must be in none of them: they travel in a file of the
working directory, which every process of the job reads for itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

MARK = "OLFACTION_PRIVATE"
"""The variable that names the file; processes without it read nothing."""
_NAME = ".private-environment.json"


def write_private(folder: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Write values into a working directory; return the variables that lead to them."""
    if not values:
        return {}
    file = folder / _NAME
    file.touch(mode=0o600)
    file.write_text(json.dumps(dict(values)), encoding="utf-8")
    return {MARK: _NAME}


def adopt() -> None:
    """Take the private variables of a submitted study into this process, if it is one.

    What the machine has set itself stays. The file is closed to others: Ray unpacks it open.
    """
    name = os.environ.get(MARK)
    if name is None or not Path(name).is_file():
        return
    file = Path(name)
    file.chmod(0o600)
    for key, value in json.loads(file.read_text(encoding="utf-8")).items():
        os.environ.setdefault(key, value)
