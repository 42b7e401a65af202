"""The reference of the command line, written by typer from the commands themselves."""

from __future__ import annotations

import html
import re
import subprocess
import sys

HEAD = """# Command line

This page is generated from the commands. `study COMMAND --help` prints the same.

| exit code | meaning |
| ---: | --- |
| 0 | every trial finished |
| 2 | bad input; the message names the rule, the value and the place |
| 3 | a trial failed or is missing |
| 130 | interrupted; run the same command again to continue |

| environment variable | meaning |
| --- | --- |
| `OLFACTION_ARCHIVE` | folder of the odor archives |
| `OLFACTION_WEIGHTS` | folder in which relative paths of weights are looked up |
| `OLFACTION_CACHE` | folder of the working copies of an object store |

"""


def render() -> str:
    """Return the page: exit codes, variables, and every command with its options."""
    command = (sys.executable, "-m", "typer", "study.cli.app", "utils", "docs", "--name", "study")
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 (our own program)
    body = text.partition("\n")[2]  # without the title
    # Every command follows with its whole text; typer's list of them is cut to 45 characters.
    body = re.sub(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+", "", body)
    return HEAD + html.unescape(body)
