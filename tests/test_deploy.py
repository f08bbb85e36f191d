"""Cluster files: what they name exists, and what they configure is valid."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gateway.config import GatewayConfig
from router.cli.app import make_app
from router.config import load_config, parse_config
from router.loadtest.workload import Workload
from router.status.metrics import METRICS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCS = ROOT / "docs"

_IN_PROMETHEUS = re.compile(r"ray_stream_router_[a-z_]+")


def exported() -> set[str]:
    """Return every name under which Prometheus gets one of the metrics."""
    names = set()
    for metric in METRICS.values():
        if metric.kind == "histogram":
            names |= {metric.prometheus_name + ending for ending in ("_bucket", "_sum", "_count")}
        else:
            names.add(metric.prometheus_name)
    return names


def expressions() -> list[str]:
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_the_dashboard_asks_for_metrics_that_are_exported():
    asked = set(_IN_PROMETHEUS.findall("\n".join(expressions())))
    assert asked
    assert asked <= exported(), asked - exported()


def test_the_dashboard_shows_every_metric():
    shown = "\n".join(expressions())
    assert not [name for name, metric in METRICS.items() if metric.prometheus_name not in shown]


def test_the_dashboard_groups_by_tags_that_the_metrics_have():
    for expression in expressions():
        (name,) = set(_IN_PROMETHEUS.findall(expression))
        metric = next(metric for metric in METRICS.values() if name.startswith(metric.prometheus_name))
        grouped = {tag for by in re.findall(r"by \(([^)]*)\)", expression) for tag in by.replace(" ", "").split(",")}
        asked = set(re.findall(r"(\w+)=~?\"", expression))
        assert grouped | asked <= {*metric.tag_keys, "le"}, expression


def test_panels_do_not_overlap():
    taken = {}
    for panel in json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]:
        at = panel["gridPos"]
        for place in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert place not in taken, (panel["title"], taken[place])
            assert place[0] < 24
            taken[place] = panel["title"]


def test_the_metrics_page_names_every_metric_and_no_other():
    text = (DOCS / "metrics.md").read_text()
    named = set(re.findall(r"`(stream_router_[a-z_]+)`", text))
    assert named == {metric.name for metric in METRICS.values()}
    for metric in METRICS.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{metric.name}` "))
        assert metric.kind in row
        assert set(re.findall(r"`(\w+)`", row.split("|")[3])) == set(metric.tags)


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("*.yaml")), ids=lambda file: file.name)
def test_yaml_files_can_be_read(file):
    documents = list(yaml.safe_load_all(file.read_text()))
    assert documents
    for document in documents:
        assert isinstance(document, dict)


def documents(file: str) -> dict[str, dict]:
    return {document["kind"]: document for document in yaml.safe_load_all((DEPLOY / file).read_text())}


def test_the_configuration_in_the_manifest_is_valid_and_fits_its_nodes():
    found = documents("kuberay-service.yaml")
    config = parse_config(found["ConfigMap"]["data"]["cluster.yaml"], "kuberay-service.yaml")
    assert config.detached
    (group,) = found["RayCluster"]["spec"]["workerGroupSpecs"]
    assert group["replicas"] >= config.routers
    for limits in (group["template"]["spec"]["containers"][0]["resources"]["limits"],):
        cpus, gib = int(limits["cpu"]) * group["replicas"], int(limits["memory"].removesuffix("Gi")) * group["replicas"]
    actors = config.routers * config.stream_actors.max_actors
    # Ray gives out about 70 % of a node's memory.
    assert actors * config.stream_actors.num_cpus <= cpus
    assert actors * config.stream_actors.memory_bytes <= 0.7 * gib * 2**30
    assert config.limits.open_requests_max <= actors * config.stream_actors.max_streams_per_actor


def test_the_manifest_says_what_the_packaged_configuration_says():
    found = documents("kuberay-service.yaml")
    config = parse_config(found["ConfigMap"]["data"]["cluster.yaml"], "kuberay-service.yaml")
    packaged = load_config("cluster")
    for section in ("routers", "detached", "name", "namespace", "logs"):
        assert getattr(config, section) == getattr(packaged, section), section
    ours, theirs = config.stream_actors, packaged.stream_actors
    for key in (
        "max_actors",
        "warm_actors",
        "packed_streams_per_actor",
        "max_streams_per_actor",
        "num_cpus",
        "memory_bytes",
        "spread",
    ):
        assert getattr(ours, key) == getattr(theirs, key), key


def test_every_pod_asks_for_the_token_and_has_the_same_image():
    for file in ("kuberay-service.yaml", "kuberay-loadtest.yaml", "kuberay-gateway.yaml"):
        text = (DEPLOY / file).read_text()
        assert set(re.findall(r"image: (\S+)", text)) == {"agent-stream-router:0.1.0"}
        assert "authOptions" in text or "RAY_AUTH_TOKEN" in text
    assert all(
        "RAY_AUTH_MODE=token" in command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())[key]
        if "ray start" in command
    )


def test_the_gateways_end_in_the_time_that_they_have_and_their_proxy_waits_for_them():
    found = documents("kuberay-gateway.yaml")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    config = GatewayConfig()
    pause_s = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    readiness = container["readinessProbe"]
    assert pause_s >= readiness["periodSeconds"]
    assert pod["terminationGracePeriodSeconds"] > pause_s + config.drain_s
    assert container["ports"] == [{"containerPort": config.port, "name": "http"}]
    annotations = found["Ingress"]["metadata"]["annotations"]
    waits_s = {key.rpartition("/")[2]: value for key, value in annotations.items()}
    assert int(waits_s["proxy-read-timeout"]) > 10 * config.heartbeat_s
    assert int(waits_s["proxy-body-size"].removesuffix("m")) * 2**20 > config.body_bytes_max
    paths = {probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    assert paths == {"/healthz", "/readyz"}
    command = container["command"][-1].splitlines()[-1].removeprefix("exec ")
    options = [word for word in shlex.split(command) if word.startswith("--")]
    shown = CliRunner().invoke(make_app(), ["gateway", "--help"], env={"COLUMNS": "300", "TERM": "dumb"}).output
    assert all(re.search(rf"{option}\b", shown) for option in options)
    assert "tokens_file=/tokens/tokens" in command
    assert {"name": "tokens", "mountPath": "/tokens", "readOnly": True} in container["volumeMounts"]
    service = found["Service"]["spec"]
    assert service["selector"] == found["Deployment"]["spec"]["selector"]["matchLabels"]
    wall = documents("kuberay-service.yaml")["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    (may_reach_ray,) = [one for one in wall if "agent-streams/client" in str(one)]
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert may_reach_ray["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_load_test_of_the_manifest_is_one_that_there_is():
    entrypoint = documents("kuberay-loadtest.yaml")["RayJob"]["spec"]["entrypoint"].split()
    assert entrypoint[:2] == ["stream-router", "loadtest"]
    changes = dict(pair.split("=") for pair in entrypoint if "=" in pair)
    values = {key: yaml.safe_load(value) for key, value in changes.items()}
    config = Workload.load(entrypoint[2], values).router_config()
    assert not config.detached
    assert not config.ray.is_embedded
    assert config.routers == 2


COMMAND = re.compile(r"^\s*(?:\$ |# +)?(?:kubectl exec .* -- )?(stream-router .*)$", re.MULTILINE)


@pytest.mark.parametrize("file", sorted([*DOCS.glob("*.md"), *DEPLOY.glob("*.yaml")]), ids=lambda file: file.name)
def test_commands_that_are_shown_have_options_that_exist(file):
    runner = CliRunner()
    for line in COMMAND.findall(file.read_text()):
        words = shlex.split(line.split("  ")[0].split("#")[0].split("|")[0].rstrip("\\ "))
        if len(words) < 2 or words[1].startswith("-"):
            continue
        shown = runner.invoke(make_app(), [words[1], "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
        assert shown.exit_code == 0, line
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", shown.output), f"{line}: {option}"


def test_the_image_is_built_from_what_the_package_is_built_from():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        *wheel["packages"], *wheel["force-include"],
        project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml",
    }  # fmt: skip
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in lines, "a checkout also holds .git and .venv"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == needed
    assert all((ROOT / name).exists() for name in needed)


def test_the_dockerfile_names_versions_and_keeps_nothing_that_was_only_used_to_build():
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    ray = next(
        line.partition("==")[2]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.startswith("ray==")
    )
    assert lines[0].startswith(f"ARG BASE_IMAGE=rayproject/ray:{ray}-py3")
    assert lines[1] == "FROM ${BASE_IMAGE}"
    assert not [line for line in lines if line.startswith(("ADD ", "USER root"))]
    for line in lines:
        if "pip install" in line:
            assert "--no-cache-dir" in line
            assert "rm -rf /tmp/agent-stream-router" in line
