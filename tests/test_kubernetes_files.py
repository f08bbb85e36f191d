"""The files for Kubernetes: commands, mounts, selectors, ports and probes fit each other and this package.

What needs no schema of Kubernetes is held here; docs/cluster.md says what else they were checked against.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from gateway.config import GatewayConfig, gateway_section, with_options
from gateway.serving.app import OPEN_TO_ALL
from router.cli.app import make_app
from router.config import GATEWAY, parse_config, parse_yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
# Secrets that the files use and do not make, with their keys, and who makes them.
SECRETS = {
    "agent-streams": {"auth_token"},  # the operator
    "agent-streams-gateway": {"tokens"},  # whoever follows the head of kuberay-gateway.yaml
    "streams-tls": set(),  # the Ingress's certificate
}
OBJECTS: list[dict[str, Any]] = [
    found for file in sorted(DEPLOY.glob("kuberay-*.yaml")) for found in yaml.safe_load_all(file.read_text())
]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {found["metadata"]["name"]: found for found in OBJECTS if found["kind"] == kind}


def pods_of(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pod templates of one object, however it holds them."""
    spec = found["spec"].get("rayClusterSpec", found["spec"]) if "spec" in found else {}
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]] if "headGroupSpec" in spec else [spec]
    yield from (group["template"] for group in groups if "template" in group)


PODS = [(f"{found['kind']}-{found['metadata']['name']}", pod) for found in OBJECTS for pod in pods_of(found)]
# Those that the operator starts nothing in.
OWN = [pytest.param(pod, id=name) for name, pod in PODS if not name.startswith("Ray")]
EVERY = [pytest.param(pod, id=f"{name}-{pod['spec']['containers'][0]['name']}") for name, pod in PODS]


def commands_of(pod: dict[str, Any]) -> list[list[str]]:
    """Return what the only container of a pod runs, one command after the other."""
    (container,) = pod["spec"]["containers"]
    words = container.get("command", [])
    if words[:2] != ["sh", "-c"]:
        return [words] if words else []
    return [shlex.split(one.replace("exec ", "", 1)) for one in re.split(r"&&|\n", words[2]) if one.strip()]


@functools.cache
def application() -> Any:
    return typer.main.get_command(make_app())


def parsed(words: list[str]) -> dict[str, Any]:
    """Let the command line say what it understands; an option that it does not have is an error."""
    assert words[0] == "stream-router"
    with application().make_context("stream-router", words[1:]) as context:
        name, command, rest = application().resolve_command(context, words[1:])
        return {"command": name, **command.make_context(name, list(rest), parent=context).params}


@pytest.mark.parametrize("pod", OWN)
def test_commands_are_understood(pod):
    words = commands_of(pod)[-1]
    assert parsed(words)["command"] in {"start", "gateway"}
    with pytest.raises(Exception, match="--no-such"):
        parsed([*words, "--no-such"])


def test_the_load_tests_command_is_understood():
    assert (
        parsed(shlex.split(of_kind("RayJob")["agent-streams-loadtest"]["spec"]["entrypoint"]))["command"] == "loadtest"
    )


@pytest.mark.parametrize("pod", OWN)
def test_a_pod_with_a_driver_of_its_own_joins_the_cluster_first_and_has_the_token(pod):
    joins, ours = commands_of(pod)
    (container,) = pod["spec"]["containers"]
    head = next(word.removeprefix("--address=") for word in joins if word.startswith("--address="))
    assert joins[:2] == ["ray", "start"]
    assert head == f"{next(iter(of_kind('RayCluster')))}-head-svc:6379"
    assert "--num-cpus=0" in joins, "none of the service's actors belongs there"
    assert parsed(ours)["address"] == "auto"
    env = {one["name"]: one for one in container["env"]}
    assert env["RAY_AUTH_MODE"]["value"] == "token"
    assert env["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "agent-streams", "key": "auth_token"}


@pytest.mark.parametrize("pod", OWN)
def test_a_pods_object_store_fits_into_its_shared_memory(pod):
    # Kubernetes gives 64 MiB, for which Ray would take the disk; the operator sees to that in its own pods only.
    (container,) = pod["spec"]["containers"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    place = next(one["name"] for one in container["volumeMounts"] if one["mountPath"] == "/dev/shm")
    size = volumes[place]["emptyDir"]
    store = next(word for word in commands_of(pod)[0] if word.startswith("--object-store-memory="))
    assert size["medium"] == "Memory"
    assert int(store.partition("=")[2]) < int(size["sizeLimit"].removesuffix("Mi")) * 2**20


@pytest.mark.parametrize("pod", EVERY)
def test_what_is_mounted_exists(pod):
    (container,) = pod["spec"]["containers"]
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
    assert volumes.keys() == mounts.keys()
    files = set()
    for name, volume in volumes.items():
        if "configMap" in volume:
            files |= {f"{mounts[name]}/{key}" for key in of_kind("ConfigMap")[volume["configMap"]["name"]]["data"]}
        elif "secret" in volume:
            files |= {f"{mounts[name]}/{key}" for key in SECRETS[volume["secret"]["secretName"]]}
    named = {part for words in commands_of(pod) for word in words for part in word.split("=") if part[:1] == "/"}
    assert named == files
    for one in container.get("env", []):
        asked = one.get("valueFrom", {}).get("secretKeyRef")
        assert asked is None or asked["key"] in SECRETS[asked["name"]]


def test_the_configuration_is_one_for_routers_and_gateways():
    (pod,) = pods_of(of_kind("Deployment")["agent-streams-gateway"])
    options = parsed(commands_of(pod)[-1])
    text = of_kind("ConfigMap")["agent-streams"]["data"]["cluster.yaml"]
    section = gateway_section(parse_yaml(text, "ConfigMap").get(GATEWAY), "ConfigMap")
    changes = dict(change.split("=", 1) for change in options["set_"])
    gateway = with_options(section, {**changes, "host": options["host"]})
    assert gateway.tokens_file == "/tokens/tokens"
    assert parse_config(text, "ConfigMap").name == "agents"


def test_selectors_find_their_pods():
    labels = [pod.get("metadata", {}).get("labels", {}) for _, pod in PODS]
    found = 0
    for one in OBJECTS:
        spec = one.get("spec", {})
        selector = spec.get("selector", {})
        wanted = selector if one["kind"] == "Service" else selector.get("matchLabels", {})
        if wanted and "ray.io/cluster" not in wanted:  # that label is the operator's
            found += 1
            assert any(wanted.items() <= pod.items() for pod in labels), one["metadata"]["name"]
    assert found >= 4
    for name, pod in PODS:
        for spread in pod["spec"].get("topologySpreadConstraints", []):
            assert spread["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items(), name


def test_a_drain_may_take_one_pod_at_a_time():
    # Of pods that the operator makes Kubernetes counts no `maxUnavailable`: it cannot ask a RayCluster for its scale.
    (group,) = of_kind("RayCluster")["agent-streams"]["spec"]["workerGroupSpecs"]
    workers = of_kind("PodDisruptionBudget")["agent-streams"]["spec"]
    assert (workers.get("minAvailable"), workers.get("maxUnavailable")) == (group["replicas"] - 1, None)
    assert of_kind("PodDisruptionBudget")["agent-streams-gateway"]["spec"]["maxUnavailable"] == 1


def test_a_request_gets_from_the_ingress_to_the_gateways_port():
    (rule,) = of_kind("Ingress")["agent-streams-gateway"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = of_kind("Service")[path["backend"]["service"]["name"]]["spec"]
    port = next(one for one in service["ports"] if one["name"] == path["backend"]["service"]["port"]["name"])
    (pod,) = pods_of(of_kind("Deployment")["agent-streams-gateway"])
    (container,) = pod["spec"]["containers"]
    assert {one["name"]: one["containerPort"] for one in container["ports"]}[port["targetPort"]] == GatewayConfig().port
    (open_to_all, _) = of_kind("NetworkPolicy")["agent-streams-gateway"]["spec"]["ingress"]
    assert open_to_all == {"ports": [{"port": port["targetPort"]}]}


def test_probes_ask_what_the_gateway_answers_to_everybody():
    (pod,) = pods_of(of_kind("Deployment")["agent-streams-gateway"])
    (container,) = pod["spec"]["containers"]
    probes = {name: probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")}
    assert probes.keys() == {"startupProbe", "readinessProbe", "livenessProbe"}
    for probe in probes.values():
        assert probe["path"] in OPEN_TO_ALL
        assert probe["port"] in {one["name"] for one in container["ports"]}


def test_the_ingress_waits_longer_than_a_gateway_is_silent_and_says_so_in_its_controllers_words():
    annotations = of_kind("Ingress")["agent-streams-gateway"]["metadata"]["annotations"]
    patterns = {  # what ingress-nginx accepts; it ignores an annotation that it does not know
        "proxy-read-timeout": r"\d+", "proxy-send-timeout": r"\d+", "proxy-connect-timeout": r"\d+",
        "proxy-body-size": r"\d+[bkmg]?", "proxy-next-upstream": r"((error|timeout|http_50[0234]|off)\s?)+",
    }  # fmt: skip
    for key, value in annotations.items():
        place, _, name = key.partition("/")
        assert place == "nginx.ingress.kubernetes.io"
        assert isinstance(value, str), f"{key}: Kubernetes takes text only"
        assert re.fullmatch(patterns[name], value), key
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    for wait in ("read-timeout", "send-timeout"):
        assert int(annotations[prefix + wait]) > 2 * GatewayConfig().heartbeat_s
