"""The cluster file against Ray's own rules, offline, and against what the project promises."""

import copy
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import ray
import typer
import yaml
from jsonschema import ValidationError
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from study.cli.app import app

ROOT = Path(__file__).parents[2]
START = ("head_start_ray_commands", "worker_start_ray_commands")


@pytest.fixture
def cluster(monkeypatch):
    def refused(*_):
        pytest.fail("validation must work without a network and an account")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.chdir(ROOT)  # local paths of the file are relative to its folder
    return yaml.safe_load((ROOT / "ray_cluster.yaml").read_text(encoding="utf-8"))


def checked(cluster):
    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    return prepared


def ray_starts(cluster):
    return [command for key in START for command in cluster[key] if "ray start" in command]


def test_ray_accepts_the_file(cluster):
    prepared = checked(cluster)
    assert prepared["available_node_types"].keys() == {"head", "cpu_spot", "gpu_spot"}


def _unknown_key(cluster):
    cluster["authentication"] = "token"


def _unknown_head(cluster):
    cluster["head_node_type"] = "none_such"


def _more_workers_than_allowed(cluster):
    cluster["available_node_types"]["gpu_spot"]["min_workers"] = cluster["max_workers"] + 1


def _command_that_is_no_text(cluster):
    cluster["setup_commands"].append({"run": "true"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_unknown_key, "'authentication' was unexpected"),
        (_unknown_head, "`head_node_type` must be one of"),
        (_more_workers_than_allowed, "smaller than the sum of `min_workers`"),
        (_command_that_is_no_text, "is not of type 'string'"),
    ],
)
def test_ray_refuses_a_spoiled_file(cluster, spoil, message):
    spoil(cluster)
    with pytest.raises((ValidationError, ValueError), match=re.escape(message)):
        checked(cluster)


def test_own_machines_need_only_what_the_comment_says(cluster):
    for key in ("available_node_types", "head_node_type", "max_workers"):
        del cluster[key]
    cluster["provider"] = {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]}
    cluster["auth"] = {"ssh_user": "you", "ssh_private_key": "~/.ssh/id_ed25519"}
    assert checked(cluster)["max_workers"] == 1


def test_spot_workers_wait_for_an_on_demand_head(cluster):
    types = cluster["available_node_types"]
    spot = {name for name, t in types.items() if "InstanceMarketOptions" in t["node_config"]}
    assert cluster["head_node_type"] == "head"
    assert spot == types.keys() - {"head"}
    assert all(types[name]["min_workers"] < types[name]["max_workers"] for name in spot)
    assert cluster["idle_timeout_minutes"] > 5  # Ray's own value ends nodes between waves


def test_ray_has_the_version_of_the_project(cluster):
    setup = " ".join(cluster["setup_commands"])
    pinned = re.findall(r"ray\[default,tune,train\]==([\d.]+)", setup)
    assert pinned == [ray.__version__]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = next(r for r in map(Requirement, project["dependencies"]) if r.name == "ray")
    assert asked.specifier.contains(pinned[0])


def test_ray_has_the_version_of_the_constraints(cluster):
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert re.findall(r"^ray\b[^=\n]*==([\d.]+)", constraints, re.M) == [ray.__version__]


def test_the_constraints_are_releases_that_an_index_has():
    """A local build, such as one of torch for CPUs, is on the machine of its maker only."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert [line for line in lines if "+" in line or "==" not in line] == []


def test_python_is_pinned_to_the_patch_and_supported(cluster):
    versions = re.findall(r"--python (3\.\d+\.\d+)\b", " ".join(cluster["setup_commands"]))
    assert len(versions) == 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert Requirement(f"python{project['requires-python']}").specifier.contains(versions[0])


def test_every_node_has_token_mode_and_the_token(cluster):
    commands = [c for key in START for c in cluster[key] if re.search(r"\bray (start|stop)", c)]
    assert len(commands) == 4
    for command in commands:
        assert re.match(r"export RAY_AUTH_MODE=token\b[^;]*;", command), command
    assert ("/home/ubuntu/.ray/auth_token", "~/.ray/auth_token") in cluster["file_mounts"].items()


def test_servers_listen_on_loopback_only(cluster):
    head, worker = ray_starts(cluster)
    assert "--dashboard-host=127.0.0.1" in head
    assert "--head" not in worker
    assert [c for c in cluster["head_start_ray_commands"] if "mlflow server --host 127.0.0.1 " in c]
    assert "0.0.0.0" not in str(cluster)  # noqa: S104 (looked for, not listened on)


def test_no_node_starts_ray_without_the_shared_folder(cluster):
    for key in START:
        mount = cluster[key].index("mountpoint -q /shared || sudo mount /shared")
        start = next(i for i, command in enumerate(cluster[key]) if "ray start" in command)
        assert mount < start


def test_what_is_copied_lies_in_the_repository(cluster):
    local = [path for path in cluster["file_mounts"].values() if not path.startswith("~")]
    assert [path for path in local if not (ROOT / path).exists()] == []
    packaged = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()}
    assert packaged <= set(local)


def test_every_command_is_a_sentence_of_the_shell(cluster):
    commands = [c for key, value in cluster.items() if key.endswith("commands") for c in value]
    for command in commands:
        told = subprocess.run(
            ["bash", "-n", "-c", command], check=False, capture_output=True, text=True
        )
        assert (command, told.stderr) == (command, "")


def test_ray_knows_the_options_it_is_started_with(cluster):
    for command in ray_starts(cluster):
        given = start.make_context("start", shlex.split(command.partition("ray start ")[2])).params
        assert given["object_manager_port"] == 8076


def test_mlflow_knows_the_options_it_is_started_with(cluster):
    serving = next(c for c in cluster["head_start_ray_commands"] if "mlflow server" in c)
    options = shlex.split(serving.partition("mlflow server ")[2].partition(" >")[0])
    told = subprocess.run(  # asked for help, it reads its options and starts nothing
        [sys.executable, "-m", "mlflow", "server", *options, "--help"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr


def test_every_worker_watches_for_the_end_of_its_spot_machine(cluster):
    """After Ray has started, in the background, and once."""
    commands = cluster["worker_start_ray_commands"]
    watch = next(
        i for i, command in enumerate(commands) if "-m study.executors.preemption" in command
    )
    assert "ray start" in commands[watch - 1]
    assert re.search(r"\(nohup .* &\)$", commands[watch])
    ended = next(command for command in commands[:watch] if "pkill" in command)
    pattern = shlex.split(ended)[2]
    assert re.search(
        pattern, "/home/ubuntu/env/bin/python -m study.executors.preemption --provider aws"
    )
    assert not re.search(pattern, ended)  # not the shell that looks for it


def commented(name):
    """The command of this name in the comments, as the command line takes it."""
    text = (ROOT / "ray_cluster.yaml").read_text(encoding="utf-8")
    (written,) = re.findall(rf"study {name} ([^'\n]+ --storage [^'\n]+)", text)
    command = typer.main.get_command(app).get_command(None, name)
    return command.make_context(name, shlex.split(written)).params


@pytest.mark.parametrize("name", ["submit", "launch", "status", "compare"])
def test_the_commands_of_the_comment_are_ones_that_the_command_line_takes(name):
    given = commented(name)
    assert given["storage"] == "/shared/studies"
    assert given.get("tracking_uri") in (None, "http://127.0.0.1:5000")
    if name == "launch":
        assert given["address"] == "auto"
