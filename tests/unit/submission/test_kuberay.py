"""The manifest for KubeRay: fields of the API, fit for the study, without a secret."""

import copy
import json

import pytest
import ray
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from study.cli import options
from study.cli.app import app
from study.errors import InputError
from study.submission.bundle import build_job_bundle
from study.submission.kuberay import SHARED, TOKEN, VARIABLES, build_manifest, literal, quoted

STUDY = {
    "name": "a_study",
    "data": "starter",
    "grid": [{"features": [["fingerprint"]]}],
    "run": {"storage": "/shared/studies", "cpus_per_trial": 2},
}
PASSWORD = "hidden-word"  # noqa: S105 (looked for in what must not hold it)


def closed(**fields):
    """Schema of an object that may have these fields and no others."""
    return {"type": "object", "properties": fields, "additionalProperties": False}


TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
ANYTHING = {}
POD = closed(
    spec=closed(
        containers={
            "type": "array",
            "minItems": 1,
            "items": closed(
                name=TEXT,
                image=TEXT,
                env={"type": "array", "items": closed(name=TEXT, value=TEXT, valueFrom=ANYTHING)},
                resources=closed(requests=TEXTS, limits=TEXTS),
                volumeMounts={
                    "type": "array",
                    "items": closed(name=TEXT, mountPath=TEXT, readOnly=FLAG),
                },
            ),
        },
        volumes={
            "type": "array",
            "items": closed(
                name=TEXT,
                persistentVolumeClaim=closed(claimName=TEXT),
                configMap=closed(name=TEXT),
            ),
        },
        tolerations={
            "type": "array",
            "items": closed(
                key=TEXT,
                operator={"enum": ["Equal", "Exists"]},
                value=TEXT,
                effect={"enum": ["NoSchedule"]},
            ),
        },
        securityContext=closed(fsGroup=NUMBER),
    )
)
RAY_JOB = closed(
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=closed(name={"type": "string", "maxLength": 47, "pattern": "^[a-z0-9][a-z0-9-]*$"}),
    spec=closed(
        entrypoint=TEXT,
        runtimeEnvYAML=TEXT,
        backoffLimit=NUMBER,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=NUMBER,
        rayClusterSpec=closed(
            rayVersion=TEXT,
            authOptions=closed(mode={"enum": ["disabled", "token"]}, secretName=TEXT),
            enableInTreeAutoscaling=FLAG,
            autoscalerOptions=closed(
                idleTimeoutSeconds=NUMBER,
                upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
            ),
            headGroupSpec=closed(serviceType=TEXT, rayStartParams=TEXTS, template=POD),
            workerGroupSpecs={
                "type": "array",
                "items": closed(
                    groupName=TEXT,
                    replicas=NUMBER,
                    minReplicas=NUMBER,
                    maxReplicas=NUMBER,
                    rayStartParams=TEXTS,
                    template=POD,
                ),
            },
        ),
    ),
)
"""The fields in use and their types, as KubeRay's API reference (1.6) and Kubernetes' have them."""


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Changes of the study file -> the text of its manifest."""
    monkeypatch.chdir(tmp_path)

    def make(*overrides, names=(), launch=()):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
        return build_manifest(build_job_bundle("study.yaml", overrides, names), launch)

    return make


def parts(text):
    config, job = yaml.safe_load_all(text)
    return config, job["spec"], job


def container(group):
    (only,) = group["template"]["spec"]["containers"]
    return only


@pytest.mark.parametrize("overrides", [[], ["run.gpus_per_worker=0.25"], ["name=" + 60 * "x"]])
def test_every_field_is_one_of_the_api(build, overrides):
    _, _, job = parts(build(*overrides))
    Draft202012Validator(RAY_JOB).validate(job)


def test_a_field_outside_the_api_is_invalid(build):
    _, _, job = parts(build())
    spoilt = copy.deepcopy(job)
    spoilt["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["toleration"] = []
    assert not Draft202012Validator(RAY_JOB).is_valid(spoilt)


def test_the_manifest_holds_the_checked_study(build, tmp_path, monkeypatch):
    config, spec, _ = parts(build("training.epochs=7", launch=["--extend"]))
    (name,) = config["data"]
    assert spec["entrypoint"] == f"python -m study launch /study/{name} --address auto --extend"
    (tmp_path / name).write_text(config["data"][name], encoding="utf-8")
    sent = build_job_bundle(name, [], []).spec
    assert (sent.name, sent.training.epochs, sent.run.wait) == ("a_study", 7, 30)


@pytest.mark.parametrize(
    ("flags", "launch_options"),
    [([], ""), (["-v"], " -v"), (["-vv", "--keep"], " --keep -vv")],
)
def test_submit_passes_its_options_to_launch(flags, launch_options, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "log_to_stderr", lambda _: None)  # would last beyond the test
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    result = CliRunner().invoke(app, ["submit", str(file), "--print-kuberay", *flags])
    assert result.exit_code == 0, result.output
    _, spec, _ = parts(result.stdout)
    assert spec["entrypoint"].endswith(f"a_study.yaml --address auto{launch_options}")


def test_every_container_has_the_pinned_image_and_the_study(build):
    config, spec, _ = parts(build("run.gpus_per_worker=1"))
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == ray.__version__
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = [container(group)["image"] for group in groups]
    cpu = f"rayproject/ray:{ray.__version__}-py311-cpu"
    assert images == [cpu, cpu, cpu.replace("-cpu", "-gpu")]
    for group in groups:
        pod = group["template"]["spec"]
        mounts = {m["name"]: m["mountPath"] for m in container(group)["volumeMounts"]}
        assert mounts == {"shared": SHARED, "study": "/study"}
        assert [volume["name"] for volume in pod["volumes"]] == ["shared", "study"]
        assert pod["volumes"][1]["configMap"]["name"] == config["metadata"]["name"]


def test_only_workers_run_on_spot_machines(build):
    _, spec, _ = parts(build("run.gpus_per_worker=1"))
    head = spec["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"] == {"num-cpus": "0"}
    assert "tolerations" not in head["template"]["spec"]
    cpu, gpu = spec["rayClusterSpec"]["workerGroupSpecs"]
    keys = [{t["key"] for t in g["template"]["spec"]["tolerations"]} for g in (cpu, gpu)]
    assert "cloud.google.com/gke-spot" in keys[0]
    assert keys[1] - keys[0] == {"nvidia.com/gpu"}
    assert cpu["minReplicas"] == 1  # a cluster without a CPU is refused
    assert (gpu["minReplicas"], spec["rayClusterSpec"]["enableInTreeAutoscaling"]) == (0, True)


@pytest.mark.parametrize(
    ("cpus", "share", "cpu_pod", "gpu_pod"),
    [(2, 0, "8", None), (2, 1, "8", "2"), (2, 0.25, "8", "8"), (12, 0.5, "12", "24")],
)
def test_a_pod_has_what_its_processes_reserve(build, cpus, share, cpu_pod, gpu_pod):
    text = build(f"run.cpus_per_trial={cpus}", f"run.gpus_per_worker={share}")
    groups = {g["groupName"]: g for g in parts(text)[1]["rayClusterSpec"]["workerGroupSpecs"]}
    amounts = {name: container(group)["resources"]["limits"] for name, group in groups.items()}
    assert amounts["cpu"]["cpu"] == cpu_pod
    assert amounts.get("gpu", {}).get("cpu") == gpu_pod
    assert amounts.get("gpu", {}).get("nvidia.com/gpu") == ("1" if gpu_pod else None)


def test_a_failed_job_is_retried(build):
    _, spec, _ = parts(build())
    assert spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0


def test_token_and_variables_are_references(build, monkeypatch):
    monkeypatch.setenv("PASSWORD_OF_PAGES", PASSWORD)
    pages = "http://me:${PASSWORD_OF_PAGES}@pages.example"
    text = build(f"run.tracking={pages}", names=["PASSWORD_OF_PAGES"])
    assert PASSWORD not in text
    config, spec, _ = parts(text)
    assert pages in config["data"]["a_study.yaml"]
    auth = {"mode": "token", "secretName": TOKEN}
    assert spec["rayClusterSpec"]["authOptions"] == auth
    env = {e["name"]: e for e in container(spec["rayClusterSpec"]["headGroupSpec"])["env"]}
    reference = {"secretKeyRef": {"name": VARIABLES, "key": "PASSWORD_OF_PAGES"}}
    assert env["PASSWORD_OF_PAGES"] == {"name": "PASSWORD_OF_PAGES", "valueFrom": reference}
    assert f"{VARIABLES} --from-literal=PASSWORD_OF_PAGES=..." in text


def test_the_tracking_uri_is_a_variable(build):
    config, spec, _ = parts(build("run.tracking=http://mlflow:5000"))
    env = {e["name"]: e for e in container(spec["rayClusterSpec"]["headGroupSpec"])["env"]}
    assert env["MLFLOW_TRACKING_URI"]["value"] == "http://mlflow:5000"
    assert yaml.safe_load(config["data"]["a_study.yaml"])["run"]["tracking"] == (
        "${MLFLOW_TRACKING_URI}"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.storage=/elsewhere/studies", "the pods mount their shared volume at /shared"),
        ("data={sources: [{source: csv, file: mine.csv}]}", "is a file of this machine"),
        (f"run.tracking=http://me:{PASSWORD}@pages", "a password in run.tracking"),
    ],
)
def test_what_a_pod_lacks_is_refused(build, tmp_path, override, message):
    (tmp_path / "mine.csv").write_text("smiles,sweet\nCCO,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=message) as refused:
        build(override)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "name: a\ngrid:\n  - b\n",
        "a: b # c\n{{ 7 * 7 }} {% raw %}\n---\n- d\n",
        "'one' \"two\" \\ }]\n",
        "\ttab\nlike\rthis\n",
        " begins\n",
        "ends \n",
        "ends ",
        "two\n\n",
        "no line end",
        "\u00e9 \u2028 \u0085 \U0001f600\n",
        "true",
        "",
    ],
)
def test_a_value_cannot_change_what_is_around_it(text):
    assert yaml.safe_load(f"a: {{ b: {quoted(text)}, c: d }}") == {"a": {"b": text, "c": "d"}}
    written = f"a:\n  b:\n    c: {literal(text, 6)}\n  d: e\n"
    assert yaml.safe_load(written) == {"a": {"b": {"c": text}, "d": "e"}}


def test_yaml_and_jinja_marks_are_kept(build):
    words, pages = "a: b # {{ 7 * 7 }} {% if %} '\" }]", 'sqlite:////shared/it\'s "one" #1.db'
    config, spec, _ = parts(
        build(f"description={json.dumps(words)}", f"run.tracking={json.dumps(pages)}")
    )
    assert yaml.safe_load(config["data"]["a_study.yaml"])["description"] == words
    env = {e["name"]: e for e in container(spec["rayClusterSpec"]["headGroupSpec"])["env"]}
    assert env["MLFLOW_TRACKING_URI"]["value"] == pages


def test_ray_accepts_the_runtime_environment(build):
    from ray._private.runtime_env.validation import parse_and_validate_pip

    _, spec, _ = parts(build())
    environment = yaml.safe_load(spec["runtimeEnvYAML"])
    assert environment.keys() == {"pip"}
    assert parse_and_validate_pip(environment["pip"])["packages"] == [f"{SHARED}/olfaction-study"]
