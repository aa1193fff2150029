"""A real API server of Kubernetes takes every overlay, strictly, and its Pod Security takes every pod. It needs ``make api-server``."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.api_server import ApiServer, programs
from tests.support.kubernetes import OVERLAYS, STRIMZI, definitions, rendered, resources
from tests.support.toolchains import ToolMissing

pytestmark = pytest.mark.slow
STRICT = ("apply", "--server-side", "--validate=strict")


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    try:
        programs()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    if not STRIMZI.is_dir():
        pytest.skip(f"Strimzi's resource definitions are not at {STRIMZI}")
    with ApiServer(tmp_path / "server") as running:
        yield running


def install(server: ApiServer) -> None:
    """The definitions of Strimzi, KEDA and prometheus-operator."""
    for path in (*sorted(STRIMZI.glob("*.yaml")), *definitions()):
        done = server.kubectl("apply", "--server-side", "-f", str(path))
        assert done.returncode == 0, done.stderr
    done = server.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    assert done.returncode == 0, done.stderr


def test_an_overlay_is_taken(server: ApiServer, overlay: str) -> None:
    install(server)
    done = server.kubectl(*STRICT, "-f", "-", text=rendered(overlay))
    assert done.returncode == 0, done.stderr
    assert "would violate" not in done.stderr, "Pod Security warns of a workload's pods"
    assert len(done.stdout.splitlines()) == len(resources(overlay))
    # Again, as an update does: nothing is refused as unchangeable.
    again = server.kubectl(*STRICT, "-f", "-", text=rendered(overlay))
    assert again.returncode == 0, again.stderr

    # A workload's pods are made by controllers, which are not here. So each is made as one of them would.
    for one in resources(overlay):
        if one["kind"] in ("Deployment", "StatefulSet"):
            done = server.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(pod_of(one)))
            assert done.returncode == 0, done.stderr
            open_pod = pod_of(one)
            open_pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
            refused = server.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(open_pod))
            assert refused.returncode != 0 and "violates PodSecurity" in refused.stderr


def pod_of(workload: dict[str, object]) -> dict[str, object]:
    """As its controller makes it: with a volume for each claim, and a token of the account where one is asked for."""
    found = copy.deepcopy(workload)
    spec = found["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", **spec["template"]}  # type: ignore[index]
    pod["metadata"] |= {"name": "one", "namespace": "veilstream"}
    for claim in spec.get("volumeClaimTemplates", ()):  # type: ignore[attr-defined]
        name = claim["metadata"]["name"]
        pod["spec"]["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
    return pod


def test_a_cluster_without_the_operators_says_what_is_missing(server: ApiServer) -> None:
    done = server.kubectl(*STRICT, "-f", "-", text=rendered("dev"))
    assert done.returncode != 0 and 'no matches for kind "Kafka" in version "kafka.strimzi.io/v1"' in done.stderr
    kinds = {line.split("/")[0].split(".")[0] for line in done.stdout.splitlines()}
    assert {"statefulset", "deployment", "configmap"} <= kinds, "the rest stays, and the next apply goes on"
    install(server)
    assert server.kubectl(*STRICT, "-f", "-", text=rendered("dev")).returncode == 0


def test_mistakes_are_refused(server: ApiServer) -> None:
    install(server)
    assert server.kubectl(*STRICT, "-f", "-", text=rendered("production")).returncode == 0
    for kind, name, change, said in (
        ("StatefulSet", "veilstream-profile", {"terminationGracePeriodSecond": 3}, "terminationGracePeriodSecond"),
        ("KafkaTopic", None, {"partition": 3}, "partition"),
        ("ScaledObject", None, {"maxReplicaCount": "many"}, "maxReplicaCount"),
    ):
        one = copy.deepcopy(next(r for r in resources("production") if r["kind"] == kind and name in (None, r["metadata"]["name"])))
        (one["spec"]["template"]["spec"] if kind == "StatefulSet" else one["spec"]).update(change)
        done = server.kubectl(*STRICT, "-f", "-", text=yaml.safe_dump(one))
        assert done.returncode != 0 and said in done.stderr, kind
