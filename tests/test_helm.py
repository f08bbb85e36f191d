"""The Helm chart: it lints, makes what the KubeRay file says, and refuses values that cannot run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from router.config import parse_config

DEPLOY = Path(__file__).parents[1] / "deploy"
CHART = DEPLOY / "helm" / "stream-router"
# `helm-binary`, an extra of `dev`, brings one for Linux on x86-64.
HELM = shutil.which("helm", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

pytestmark = pytest.mark.skipif(HELM is None, reason="there is no helm on this machine")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *arguments], capture_output=True, text=True, check=False, timeout=60)


def rendered(*changes: str, release: str = "agent-streams") -> dict[str, dict]:
    done = helm("template", release, str(CHART), *(word for change in changes for word in ("--set", change)))
    assert done.returncode == 0, done.stderr
    return {found["kind"]: found for found in yaml.safe_load_all(done.stdout) if found}


def plain(found: dict) -> dict:
    metadata = {key: value for key, value in found["metadata"].items() if key not in ("labels", "annotations")}
    return {**found, "metadata": metadata}


def test_it_lints_without_a_warning():
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout


def test_without_changes_it_makes_what_the_manifest_says():
    manifest = yaml.safe_load_all((DEPLOY / "kuberay-service.yaml").read_text())
    expected = {found["kind"]: plain(found) for found in manifest}
    assert {kind: plain(found) for kind, found in rendered().items()} == expected


def made(text: str) -> dict[tuple[str, str], dict]:
    return {(one["kind"], one["metadata"]["name"]): plain(one) for one in yaml.safe_load_all(text) if one}


def test_with_the_gateway_it_makes_what_its_manifest_says_beside_the_rest():
    manifest = made((DEPLOY / "kuberay-gateway.yaml").read_text())
    done = helm("template", "agent-streams", str(CHART), "--set", "gateway.enabled=true")
    rest = made(helm("template", "agent-streams", str(CHART)).stdout)
    assert {key: one for key, one in made(done.stdout).items() if key not in rest} == {
        (kind, name): {**one, "metadata": {"name": name}} for (kind, name), one in manifest.items()
    }
    ingresses = [
        next(one for one in yaml.safe_load_all(text) if one and one["kind"] == "Ingress")
        for text in ((DEPLOY / "kuberay-gateway.yaml").read_text(), done.stdout)
    ]
    assert ingresses[0]["metadata"]["annotations"] == ingresses[1]["metadata"]["annotations"]


def test_another_controller_of_the_ingress_is_told_in_its_own_words():
    theirs, ours = "haproxy.org/timeout-server", "nginx.ingress.kubernetes.io/proxy-read-timeout"
    given = [
        f"gateway.ingress.annotations.{key.replace('.', chr(92) + '.')}={value}"
        for key, value in ((theirs, "3600s"), (ours, "null"))
    ]
    told = rendered("gateway.enabled=true", *given)["Ingress"]["metadata"]["annotations"]
    assert told[theirs] == "3600s"
    assert ours not in told


def test_the_gateways_values_come_through():
    found = rendered(
        "gateway.enabled=true", "gateway.replicas=5", "gateway.tokensSecret=mine", "gateway.ingress.host=a.example",
        "gateway.ingress.className=other", "gateway.ingress.tlsSecret=tls", "image.pullPolicy=Always",
        "env[0].name=STREAM_ROUTER_KEY", "env[0].value=secret", release="other",
    )  # fmt: skip
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert found["Deployment"]["spec"]["replicas"] == 5
    assert {"name": "tokens", "secret": {"secretName": "mine"}} in pod["volumes"]
    assert pod["containers"][0]["imagePullPolicy"] == "Always"
    assert {"name": "STREAM_ROUTER_KEY", "value": "secret"} in pod["containers"][0]["env"]
    assert "--address=other-head-svc:6379" in pod["containers"][0]["command"][-1]
    ingress = found["Ingress"]["spec"]
    assert (ingress["ingressClassName"], ingress["rules"][0]["host"]) == ("other", "a.example")
    assert ingress["tls"] == [{"hosts": ["a.example"], "secretName": "tls"}]
    assert "Ingress" not in rendered("gateway.enabled=true", "gateway.ingress.enabled=false")


def test_every_value_comes_through():
    found = rendered(
        "image.repository=registry/router", "image.tag=v7", "image.pullPolicy=Always", "imagePullSecrets[0].name=pull",
        "redisAddress=", "workers.replicas=9", "workers.nodeSelector.disk=ssd", "workers.tolerations[0].key=only",
        "env[0].name=STREAM_ROUTER_KEY", "env[0].value=secret", "podMonitor.interval=30s",
        release="other",
    )  # fmt: skip
    cluster = found["RayCluster"]["spec"]
    (group,) = cluster["workerGroupSpecs"]
    worker, head = group["template"]["spec"], cluster["headGroupSpec"]["template"]["spec"]
    assert "gcsFaultToleranceOptions" not in cluster
    assert (group["replicas"], group["maxReplicas"]) == (9, 9)
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] == 8
    assert (worker["nodeSelector"], worker["tolerations"]) == ({"disk": "ssd"}, [{"key": "only"}])
    start = found["Job"]["spec"]["template"]["spec"]
    for pod in (worker, head, start):
        (container,) = pod["containers"]
        assert (container["image"], container["imagePullPolicy"]) == ("registry/router:v7", "Always")
        assert pod["imagePullSecrets"] == [{"name": "pull"}]
    for pod in (worker, start):
        assert {"name": "STREAM_ROUTER_KEY", "value": "secret"} in pod["containers"][0]["env"]
    assert "--address=other-head-svc:6379" in start["containers"][0]["command"][-1]
    assert found["PodMonitor"]["spec"]["podMetricsEndpoints"] == [{"port": "metrics", "interval": "30s"}]
    parse_config(found["ConfigMap"]["data"]["cluster.yaml"], "the chart")


def test_what_is_turned_off_is_not_made():
    off = ("networkPolicy.enabled=false", "podMonitor.enabled=false", "gateway.enabled=true")
    assert not {"NetworkPolicy", "PodMonitor"} & {*rendered(*off)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("workers.replicas=2", "4 routers want as many workers or more, workers.replicas is 2"),
        ("workers.replica=5", "Additional property replica is not allowed"),
        ("config=a: [", "it cannot be read as YAML"),
        ("config=name: x", "detached is to be true"),
        ("rayVersion=new", "rayVersion"),
    ],
)
def test_values_that_cannot_run_are_refused(change, said):
    done = helm("template", "agent-streams", str(CHART), "--set", change)
    assert done.returncode != 0
    assert said in done.stderr
