"""The pages of a team: a tracking server on a real PostgreSQL, which is restarted mid-study."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql import SECRET, PostgreSQL, programs
from projected import QUICK, check_pages, named, run
from tracking_pages import Pages
from tracking_servers import MlflowServer

from study.config.redaction import remove_secrets
from study.errors import InputError
from study.results.study_results import Study
from study.tracking.mlflow_store import MLflowStore

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = [
    pytest.mark.postgres,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("psycopg2 is not installed")
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL is installed, nor can be: that takes root and apt-get")
    made = PostgreSQL(found)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(
    postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MlflowServer]:
    made = MlflowServer(postgresql.uri, tmp_path_factory.mktemp("server"))
    yield made
    made.close()


@pytest.fixture
def study(
    request: pytest.FixtureRequest,
    tiny_study: dict[str, object],
    tmp_path: Path,
    postgresql: PostgreSQL,
) -> Study:
    return named(request.node.name, tiny_study, tmp_path, postgresql.uri)


@pytest.mark.parametrize("way", ["stop and start", "crash"])
def test_a_database_that_is_restarted_behind_its_server(
    way: str, study: Study, server: MlflowServer, postgresql: PostgreSQL, tracker: MLflowStore
) -> None:
    served = MLflowStore(server.uri, "unused")
    mode = "fast" if way == "stop and start" else "immediate"
    at = {2: lambda: postgresql.control("stop", "-m", mode), 7: lambda: postgresql.control("start")}
    told = run(study, served, at)
    assert told.blocked < QUICK
    check_pages(served, told.record, tracker)


def test_a_database_without_a_server_whose_password_nobody_reads(
    study: Study, postgresql: PostgreSQL, tracker: MLflowStore, tmp_path: Path
) -> None:
    """The driver writes to it itself; what it writes and says is searched for the password."""
    assert SECRET in str(study.spec.run.tracking)
    direct = MLflowStore(postgresql.uri, str(tmp_path / "artifacts"))
    told = run(study, direct, {4: lambda: postgresql.control("restart", "-m", "immediate")})
    Path(tmp_path / "artifacts" / "notes.txt").write_text("\n".join([direct.uri, *told.notes]))
    pages = Pages(postgresql.uri)
    shown = [pages.runs(study.spec.name, role) for role in ("study", "cell")]
    assert "fingerprint" in str(shown)
    assert SECRET not in str(shown)
    files = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert {"study.json", "notes.txt"} < {path.name for path in files}
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    record = dataclasses.replace(
        told.record, study=dataclasses.replace(study, spec=remove_secrets(study.spec))
    )
    check_pages(postgresql.uri, record, tracker)


def test_a_database_that_refuses_is_named_without_its_password(postgresql: PostgreSQL) -> None:
    with pytest.raises(InputError, match=r"://mlflow:\*\*\*@.*does not answer") as refused:
        MLflowStore(postgresql.uri.replace(SECRET, SECRET + "x"), "unused")
    assert SECRET not in str(refused.value)
