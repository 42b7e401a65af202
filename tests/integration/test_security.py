"""What the project promises about servers, tokens, secrets and files that can run code."""

import ast
import hashlib
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from study.submission.bundle import build_job_bundle
from study.submission.kuberay import build_manifest

ROOT = Path(__file__).parents[2]
SOURCES = [f for name in ("study", "modalities", "fusion") for f in (ROOT / name).rglob("*.py")]
TEXTS = [
    *(ROOT / name for name in ("README.md", "ray_cluster.yaml", "Makefile", "pyproject.toml")),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "study").rglob("*.yaml"),
    *(ROOT / "study").rglob("*.yaml.j2"),
]
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")

PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
TRUSTED = {
    # Tune's own error, in the scratch folder of a grid that this process has begun itself
    ("study/executors/ray.py", "ray.cloudpickle.loads"),
    # a loader made of yaml.SafeLoader, which only refuses a key that stands twice
    ("study/config/loading.py", "yaml.load"),
    # contract suites: the bytes that the same line has made of a component
    ("study/testing/modality.py", "pickle.loads"),
    ("study/testing/partition.py", "pickle.loads"),
}


def called(tree):
    """Every call as (dotted name, keywords)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            keywords = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            yield ast.unparse(node.func), keywords


def runs_code(name, keywords):
    """Whether a call can run code that lies in the file it reads."""
    *module, function = name.split(".")
    if function in ("load", "loads") and module and module[-1] in PICKLES:
        return True
    if name in ("torch.load", "load_state_dict_from_url"):
        return keywords.get("weights_only") is not True
    if function == "load" and module in (["np"], ["numpy"]):
        return keywords.get("allow_pickle") is not False
    if module == ["yaml"]:
        return function in ("load", "load_all", "unsafe_load", "full_load", "unsafe_load_all")
    return name in ("eval", "exec", "os.system", "pd.read_pickle") or (
        keywords.get("shell") is True
    )


@pytest.mark.parametrize(
    ("call", "dangerous"),
    [
        ("pickle.load(f)", True),
        ("ray.cloudpickle.loads(b)", True),
        ("torch.load(f)", True),
        ("torch.load(f, weights_only=False)", True),
        ("torch.load(f, weights_only=True)", False),
        ("np.load(f)", True),
        ("np.load(f, allow_pickle=False)", False),
        ("yaml.load(f, Loader=yaml.Loader)", True),
        ("yaml.safe_load(f)", False),
        ("json.loads(t)", False),
        ("subprocess.run(c, shell=True)", True),
    ],
)
def test_a_call_that_runs_code_is_seen(call, dangerous):
    ((name, keywords),) = called(ast.parse(call))
    assert runs_code(name, keywords) is dangerous


def test_no_file_is_read_that_can_run_code():
    found = {
        (str(file.relative_to(ROOT)), name)
        for file in SOURCES
        for name, keywords in called(ast.parse(file.read_text(encoding="utf-8")))
        if runs_code(name, keywords)
    }
    assert found <= TRUSTED


def test_the_yaml_loader_of_study_files_makes_plain_values_only():
    from study.config.loading import parse_yaml

    with pytest.raises(yaml.YAMLError):
        parse_yaml("!!python/object/apply:os.getcwd []")


def test_files_that_name_a_pickle_loader_do_not_take_it_by_another_name():
    """`from pickle import loads` would hide the call from the test above."""
    hidden = [
        (file.name, node.module)
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[-1] in {*PICKLES, "torch.serialization"}
    ]
    assert hidden == []


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_no_server_is_told_to_listen_to_the_outside(file):
    text = file.read_text(encoding="utf-8")
    hosts = re.findall(r"--(?:dashboard-)?host[= ]+(\S+)", text)
    assert set(hosts) <= {"127.0.0.1"}
    heads = re.findall(r"ray start --head.*?(?=\n\n|```|\n  -|\Z)", text, re.S)
    assert [h for h in heads if "--dashboard-host=127.0.0.1" not in h and "`" not in h] == []
    assert "0.0.0.0" not in text  # noqa: S104 (looked for, not listened on)


def test_no_server_is_opened_in_the_code():
    servers = {
        "bind",
        "create_server",
        "HTTPServer",
        "ThreadingHTTPServer",
        "start_server",
        "listen",
    }
    found = [
        (file.name, name)
        for file in SOURCES
        for name, _ in called(ast.parse(file.read_text(encoding="utf-8")))
        if name.split(".")[-1] in servers
    ]
    assert found == []


MLFLOW_HOSTS = """
import mlflow.cli
for name in ("server", "ui"):
    options = mlflow.cli.cli.get_command(None, name).params
    print([option.default for option in options if "--host" in option.opts])
"""


def test_mlflow_listens_on_loopback_unless_told_otherwise():
    """The page command that a launch prints names no host."""
    done = subprocess.run(
        [sys.executable, "-c", MLFLOW_HOSTS], check=True, capture_output=True, text=True
    )
    assert done.stdout == 2 * "['127.0.0.1']\n"


LISTENING = """
import psutil
from study.executors.base import WorkerGroup
from study.executors.factory import build_executor
executor = build_executor(ray=True)
executor.require([WorkerGroup()])
here = psutil.Process()
for process in [here, *here.children(recursive=True)]:
    for place in process.net_connections("inet"):
        if place.status == psutil.CONN_LISTEN:
            print(process.name(), place.laddr.ip)
executor.close()
"""


@pytest.mark.ray
def test_a_ray_of_its_own_listens_on_loopback_only(tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", LISTENING],
        env={**kept, "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    places = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    assert any(name == "gcs_server" for name, _ in places)
    assert [(name, ip) for name, ip in places if ip not in LOOPBACK] == []


def test_ray_is_imported_after_token_mode_is_set():
    body = ast.parse((ROOT / "study" / "executors" / "ray.py").read_text(encoding="utf-8")).body
    lines = [ast.unparse(node) for node in body]
    assert lines.index("set_environment()") < lines.index("import ray")


@pytest.mark.parametrize("given", [None, "disabled"])
def test_token_mode_is_set_unless_the_user_has_chosen(monkeypatch, tmp_path, given):
    from study.executors.environment import set_environment

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    if given:
        monkeypatch.setenv("RAY_AUTH_MODE", given)
    set_environment()
    assert os.environ["RAY_AUTH_MODE"] == (given or "token")
    assert ("RAY_AUTH_TOKEN" in os.environ) == (given is None)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)


@pytest.mark.parametrize("name", ["docs/cluster.md", "ray_cluster.yaml"])
def test_token_mode_is_set_wherever_ray_starts(name):
    """In the same command, or by an export before it."""
    text = (ROOT / name).read_text(encoding="utf-8")
    starts = [match.start() for match in re.finditer(r"\bray (?:start|up) ", text)]
    assert [text[at : at + 40] for at in starts if "RAY_AUTH_MODE=token" not in text[:at]] == []


SECRETS = {
    "a long random word": r"(?<!sha256: )\b[0-9a-f]{32,}\b",
    "a key of AWS": r"\bAKIA[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a password in an address": r"\w+://[^\s/:@$]+:(?!PASSWORD|\$)[^\s/@$]+@",
    "a token": r"(?:auth_token|password)['\"]?\s*[:=]\s*(?!['\"]?[$~{]|\.\.\.)\S{8,}",
}


def told(text):
    return [what for what, pattern in SECRETS.items() if re.search(pattern, text, re.I)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"token {hashlib.sha256(b'token').hexdigest()}", "a long random word"),
        ("AKIA" + "ABCDEFGH12345678", "a key of AWS"),
        ("postgresql://me:hidden@host/db", "a password in an address"),
        ("auth_token: not-to-be-seen", "a token"),
    ],
)
def test_a_secret_in_a_text_is_seen(text, what):
    assert what in told(text)


def test_what_names_no_secret_passes():
    assert told("~/.ray/auth_token: ~/.ray/auth_token; --from-literal=auth_token=$(openssl)") == []


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_no_secret_is_written_down(file):
    assert told(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("preset", ["quickstart", "data_fraction"])
def test_a_manifest_tells_no_secret(preset, monkeypatch):
    word = secrets.token_hex(32)
    monkeypatch.setenv("A_KEY", word)
    monkeypatch.setenv("RAY_AUTH_TOKEN", word)
    bundle = build_job_bundle(preset, ["run.storage=/shared/studies"], ["A_KEY"])
    text = build_manifest(bundle)
    assert word not in text
    assert "mode: token" in text
