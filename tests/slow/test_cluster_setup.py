"""The commands of the cluster file, run as they stand, on two machines that know nothing yet.

Each machine is a chroot in namespaces of its own: its own processes, addresses, /tmp, /etc and a
user `ubuntu` with an empty home. `sudo` runs what it is given, but installs no Debian packages;
/shared is mounted already, so that no NFS server is asked. The exact Python of the file cannot be
downloaded from a package index: the interpreter that runs the tests stands in for it. The second
machine has the home and the installation of the first. Takes one to four minutes: it installs
everything from the package index, and starts every part of a cluster.
"""

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HEAD, WORKER = "10.99.7.1", "10.99.7.2"
HOME = "home/ubuntu"
NEEDED = ("unshare", "nsenter", "chroot", "ip")
STUDY = {
    "name": "first",
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 80, "labels": 6, "skew": 2.0}],
    },
    "split": {"folds": 2, "min_positives": 2},
    "grid": [{"features": [["fingerprint"]]}],
    "training": {"epochs": 2, "hidden": [8]},
}
INDEX = ("PIP_", "UV_", "SSL_CERT_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
"""Variables that say how a package index is reached from here."""
SUDO = """#!/bin/sh
case "$*" in *apt-get*) exit 0;; esac
exec "$@"
"""
ALIVE = """
import json, ray
ray.init(address="auto", logging_level="ERROR")
print(json.dumps(sorted(n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"])))
"""

pytestmark = [
    pytest.mark.ray,
    pytest.mark.network,
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or any(shutil.which(name) is None for name in NEEDED),
        reason=f"namespaces need root and {', '.join(NEEDED)}",
    ),
]


class Machine:
    """A chroot with processes, mounts and addresses of its own.

    Parameters
    ----------
    root : Path
        Its file system; /usr and the like are those of this machine, read only.
    network : bool
        Whether it shares the network of this machine (to install) or has none of it.
    """

    def __init__(self, root, home, shared, *, network):
        self.root = root
        _lay_out(root)
        binds = [*_system(), (str(home), "/home"), (str(shared), "/shared")]
        mounts = [f"mount --rbind {a} {root}{b}" for a, b in binds]
        script = "; ".join(["set -e", *mounts, f"mount -t proc proc {root}/proc", "exec sleep inf"])
        own = ["--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        self._keeper = subprocess.Popen(["unshare", *own, "sh", "-c", script])
        self.pid = self._first_process()

    def _first_process(self):
        children = Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for pid in children.read_text().split():
                if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0inf\0":
                    return int(pid)
            time.sleep(0.05)
        raise AssertionError("the machine does not start")

    def run(self, command, **variables):
        """Run a command as Ray does on a node: in a login shell that reads ~/.bashrc."""
        kept = {k: v for k, v in os.environ.items() if k.startswith(INDEX)}
        clean = {
            **kept,
            **({"UV_FIND_LINKS": kept["PIP_FIND_LINKS"]} if "PIP_FIND_LINKS" in kept else {}),
            "HOME": "/home/ubuntu",
            "PATH": "/own/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "TERM": "dumb",
            **variables,
        }
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net"]
        chroot = ["chroot", str(self.root), "env", "-i", *(f"{k}={v}" for k, v in clean.items())]
        return subprocess.run(
            [*inside, *chroot, "bash", "-c", f"cd ~; touch .bashrc; . ~/.bashrc; {command}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    def listening(self):
        """Return the ports that processes of this machine listen on, by address."""
        found = {}
        for line in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]:
            place, state = line.split()[1], line.split()[3]
            if state == "0A":
                host, port = place.split(":")
                dotted = ".".join(str(b) for b in reversed(bytes.fromhex(host)))
                found.setdefault(int(port, 16), dotted)
        return found

    def processes(self, part):
        """Return the commands that run there and hold this text."""
        told = self.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo").stdout
        return told.count(part)

    def end(self):
        """End all its processes: those of a namespace end with its first one."""
        os.kill(self.pid, signal.SIGKILL)
        self._keeper.wait(30)


def _system():
    """Folders of this machine that the others see, where they are no links."""
    names = ["usr", "opt", "bin", "sbin", "lib", "lib64", "dev", "sys"]
    places = [Path("/") / name for name in names]
    found = [(str(p), str(p)) for p in places if p.is_dir() and not p.is_symlink()]
    interpreter = str(Path(sys.base_prefix).resolve())
    return found if interpreter.startswith("/usr") else [*found, (interpreter, interpreter)]


def _lay_out(root):
    for name in ("tmp", "proc", "home", "shared", "own/bin", "run", "var/tmp"):
        (root / name).mkdir(parents=True)
    for _, place in _system():
        (root / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for link in (p for p in Path("/").iterdir() if p.is_symlink()):
        (root / link.name).symlink_to(link.readlink())
    subprocess.run(["cp", "-a", "/etc", str(root / "etc")], check=True)
    (root / "etc" / "fstab").write_text("", encoding="utf-8")
    with (root / "etc" / "passwd").open("a") as users:
        users.write("ubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n")
    with (root / "etc" / "group").open("a") as groups:
        groups.write("ubuntu:x:1000:\n")
    (root / "tmp").chmod(0o1777)
    sudo = root / "own" / "bin" / "sudo"
    sudo.write_text(SUDO, encoding="utf-8")
    sudo.chmod(0o755)


@pytest.fixture(scope="module")
def cluster():
    return yaml.safe_load((ROOT / "ray_cluster.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a short name, all on one mount: uv links what it installs."""
    folder = tmp_path_factory.mktemp("c")
    for name in ("homes", "shared"):
        (folder / name).mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def home(place, cluster):
    """The home of `ubuntu` with the files that `ray up` copies, and Ray's copy of the settings."""
    home = place / "homes" / "ubuntu"
    (home / ".ray").mkdir(parents=True)
    for remote, local in cluster["file_mounts"].items():
        target = home / Path(remote).relative_to(f"/{HOME}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if local.startswith("~"):
            target.write_text(secrets.token_hex(32), encoding="utf-8")
        elif (ROOT / local).is_dir():
            shutil.copytree(ROOT / local, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / local, target)
    own = {
        "cluster_name": cluster["cluster_name"],
        "max_workers": 1,
        "provider": {"type": "local", "head_ip": HEAD, "worker_ips": [WORKER]},
        "auth": {"ssh_user": "ubuntu"},
    }  # a provider that needs no account; it starts no machine by itself
    (home / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    (home / "first.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    return home


def _with_python_at_hand(command):
    """Name the interpreter of the tests in place of one that uv would download."""
    here = Path(sys.base_prefix).resolve() / "bin" / f"python3.{sys.version_info.minor}"
    return re.sub(r"--python 3\.\d+\.\d+\b", f"--python {shlex.quote(str(here))}", command)


def _all_succeed(machine, commands, **variables):
    for command in commands:
        done = machine.run(_with_python_at_hand(command), **variables)
        assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"


@pytest.fixture(scope="module")
def installed(place, home, cluster):
    """The home after the set-up commands, run twice as `ray up` may."""
    machine = Machine(place / "fresh", home.parent, place / "shared", network=True)
    try:
        commands = [*cluster["setup_commands"], *cluster["head_setup_commands"]]
        _all_succeed(machine, commands)
        _all_succeed(machine, commands)
        yield machine
    finally:
        machine.end()


def _public(version):
    """A version without the mark of its build: torch has one for each kind of machine."""
    return version.partition("+")[0]


def test_the_pinned_versions_are_installed(installed):
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    told = installed.run("~/uv/bin/uv pip list -q --format json --python ~/env/bin/python").stdout
    found = {entry["name"]: entry["version"] for entry in json.loads(told)}
    pins = {name.lower().replace("_", "-").replace(".", "-"): pin for name, pin in pins.items()}
    both = pins.keys() & found.keys()
    assert {"ray", "mlflow", "torch", "numpy", "rdkit"} <= both
    wrong = {k: (found[k], pins[k]) for k in both if _public(found[k]) != _public(pins[k])}
    assert wrong == {}
    assert "boto3" in found


def test_set_up_twice_leaves_one_line_of_everything(installed):
    rc = (installed.root.parent / "homes" / "ubuntu" / ".bashrc").read_text()
    assert rc.count("RAY_AUTH_MODE=token") == 1
    assert (installed.root / "etc" / "fstab").read_text().count(" /shared nfs4 ") == 1


def test_the_token_is_closed_to_others(installed):
    told = installed.run("stat -c %a ~/.ray ~/.ray/auth_token; study presets | head -1").stdout
    assert told.split()[:2] == ["700", "600"]
    assert "quickstart" in installed.run("study presets").stdout


def _join(head, worker):
    """Lay a cable between two machines."""
    link = f"ip link add c7head netns {head.pid} type veth peer name c7work netns {worker.pid}"
    subprocess.run(shlex.split(link), check=True)
    for machine, name, address in ((head, "c7head", HEAD), (worker, "c7work", WORKER)):
        inside = ["nsenter", "--target", str(machine.pid), "--net"]
        for step in (f"addr add {address}/24 dev {name}", f"link set {name} up", "link set lo up"):
            subprocess.run([*inside, "ip", *step.split()], check=True)
        route = ["ip", "route", "add", "default", "dev", name]  # Ray asks which way out it has
        subprocess.run([*inside, *route], check=True)


@pytest.fixture(scope="module")
def nodes(place, installed, cluster):
    """Head and worker after their start commands."""
    homes, shared = place / "homes", place / "shared"
    head = Machine(place / "head", homes, shared, network=False)
    worker = Machine(place / "work", homes, shared, network=False)
    try:
        _join(head, worker)
        _all_succeed(head, cluster["head_start_ray_commands"])
        _all_succeed(worker, cluster["worker_start_ray_commands"], RAY_HEAD_IP=HEAD)
        yield head, worker
    finally:
        worker.end()
        head.end()


def test_the_worker_joins_with_the_token(nodes):
    head, _ = nodes
    told = head.run(f"python -c {shlex.quote(ALIVE)}")
    assert json.loads(told.stdout.splitlines()[-1]) == [HEAD, WORKER], told.stderr
    asked = "curl -s -o /dev/null -w %{http_code} http://127.0.0.1:8265/api/jobs/"
    assert head.run(asked).stdout == "401"
    shown = head.run(f'{asked} -H "Authorization: Bearer $(cat ~/.ray/auth_token)"')
    assert shown.stdout == "200"


def test_people_reach_the_dashboard_and_mlflow_by_a_tunnel_only(nodes):
    head, _ = nodes
    deadline = time.monotonic() + 300
    while 5000 not in head.listening():
        assert time.monotonic() < deadline, head.run("cat ~/mlflow/server.log").stdout
        time.sleep(0.5)
    listening = head.listening()
    assert {port: listening[port] for port in (8265, 5000)} == dict.fromkeys(
        (8265, 5000), "127.0.0.1"
    )


def test_a_study_is_launched_on_the_cluster(nodes):
    head, _ = nodes
    done = head.run(
        "study launch first.yaml --address auto --storage /shared/studies "
        "--tracking-uri http://127.0.0.1:5000"
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert any(line.startswith("fingerprint") for line in done.stdout.splitlines())
    assert len(list((head.root.parent / "shared" / "studies" / "ledger").glob("*.trial"))) == 2


def test_a_worker_watches_for_the_end_of_its_machine(nodes):
    _, worker = nodes
    assert worker.processes("-m study.executors.preemption ") == 1, worker.run(
        "cat ~/spot.log"
    ).stdout


def test_starting_again_leaves_one_of_everything(nodes, cluster):
    """What `ray up` does on machines that run already."""
    head, worker = nodes
    _all_succeed(worker, cluster["worker_start_ray_commands"], RAY_HEAD_IP=HEAD)
    assert worker.processes("raylet/raylet ") == 1
    assert worker.processes("-m study.executors.preemption ") == 1
    told = head.run(f"python -c {shlex.quote(ALIVE)}")
    assert json.loads(told.stdout.splitlines()[-1]) == [HEAD, WORKER]


def test_ray_stop_leaves_nothing(nodes):
    """The worker first, gently; it takes a while. The head then at once."""
    head, worker = nodes
    for machine, stop in ((worker, "ray stop"), (head, "ray stop --force")):
        assert machine.run(stop).returncode == 0
        assert machine.processes("raylet/raylet ") + machine.processes("gcs_server ") == 0
