"""Whether an optional part of a library is installed, told before it is missed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

from study.errors import InputError


def require_extra(package: str, extra: str, what: str) -> None:
    """Check that everything which an extra of a library asks for is installed.

    Parameters
    ----------
    package, extra : str
        ``ray`` and ``default`` for ``ray[default]``.
    what : str
        What needs it, for the message.

    Raises
    ------
    InputError
        Something is missing, with the command that installs it.
    """
    lacking = [name for name in _asked(package, extra) if not _installed(name)]
    if lacking:
        raise InputError(
            f"{what} needs {', '.join(lacking)}; install with: "
            f'pip install "{package}[{extra}]=={distribution(package).version}"'
        )


def _asked(package: str, extra: str) -> list[str]:
    """Return the names of what an extra asks for on this machine."""
    everything = [Requirement(text) for text in distribution(package).requires or ()]
    here = {"extra": extra}
    return sorted({r.name for r in everything if r.marker is not None and r.marker.evaluate(here)})


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
