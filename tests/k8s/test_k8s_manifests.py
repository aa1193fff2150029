"""Every overlay: its schemas, its findings, and what it says about the product is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from streams.access.rights import group_of
from streams.app import STAGES
from streams.cli.main import cli
from streams.engine import process
from streams.settings import KafkaSettings, Settings
from streams.topics import BY_NAME
from tests.support.kubernetes import OVERLAYS, STRIMZI, complaints, complaints_of, containers, rendered, resources, tool
from tests.support.toolchains import ToolMissing
from tests.test_documents import metrics

pytestmark = pytest.mark.slow

Resource = dict[str, Any]
PROCESSES = (*STAGES, "trainer", "console")
OF_LIBRARIES = {"HOME", "XDG_CACHE_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS"}
"""Variables that are no settings of the product."""
FINDINGS_THAT_STAY = {
    # A worker that is throttled misses its heartbeats and loses its partitions. Requests share the processor out.
    "CPU limit is not set": OVERLAYS,
    # On a cluster on one machine, images are loaded and not pulled.
    "ImagePullPolicy is not set to Always": ("dev",),
}
"""Critical ones of kube-score, why they stay, and in which overlays."""


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    try:
        for name in ("kustomize", "kubeconform", "kube-score"):
            tool(name)
    except ToolMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def of_kind(overlay: str, *kinds: str) -> list[Resource]:
    return [one for one in resources(overlay) if one["kind"] in kinds]


def workloads(overlay: str) -> dict[str, Resource]:
    """By component."""
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in of_kind(overlay, "Deployment", "StatefulSet")}


def shared_settings(overlay: str) -> Resource:
    """The ConfigMap all components read; dashboards are ConfigMaps, too."""
    (shared,) = (one for one in of_kind(overlay, "ConfigMap") if one["metadata"].get("labels", {}).get("grafana_dashboard") is None)
    return shared


def environment(overlay: str, component: str) -> dict[str, str]:
    """Of the component's container; what Kubernetes fills in has a made-up value."""
    shared = shared_settings(overlay)
    (container,) = containers(workloads(overlay)[component])
    assert [source["configMapRef"]["name"] for source in container["envFrom"]] == [shared["metadata"]["name"]]
    own = {variable["name"]: variable.get("value", "1") for variable in container.get("env", ())}
    return {**shared["data"], **own}


def test_every_resource_fits_its_schema(overlay: str, tmp_path: Path) -> None:
    if not STRIMZI.is_dir():
        pytest.skip(f"Strimzi's resource definitions are not at {STRIMZI}")
    assert complaints(overlay, tmp_path) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("runAsNonRoot: true", "runAsNonRot: true"),
        ("maxReplicaCount: 12", "maxReplicaCount: twelve"),
        ("podMetricsEndpoints:", "podMetricsEndpoint:"),
        ("for: 10m", "after: 10m"),
    ],
)
def test_a_mistake_does_not_fit(right: str, wrong: str, tmp_path: Path) -> None:
    text = rendered("production")
    assert right in text
    documents = [document.replace(right, wrong) for document in text.split("\n---\n") if right in document]
    documents = [document for document in documents if "kafka.strimzi.io" not in document]
    assert len(complaints_of("\n---\n".join(documents))) == len(documents)


def test_nothing_critical_is_found(overlay: str) -> None:
    score = [tool("kube-score"), "score", "--output-format", "json", "-"]
    done = subprocess.run(score, input=rendered(overlay), capture_output=True, text=True, timeout=120, check=False)
    found = [
        f"{one['object_name']}: {comment['summary']}"
        for one in json.loads(done.stdout)
        for check in one["checks"]
        if check["grade"] == 1 and not check["skipped"]
        for comment in check["comments"] or ()
    ]
    stay = [text for text, where in FINDINGS_THAT_STAY.items() if overlay in where]
    assert [comment for comment in found if not comment.endswith(tuple(stay))] == []
    assert all(sum(comment.endswith(text) for comment in found) == len(PROCESSES) for text in stay), "an exception that nothing needs"


def test_the_processes_are_the_product_s(overlay: str) -> None:
    found = workloads(overlay)
    assert sorted(found) == sorted(PROCESSES)
    for stage, spec in STAGES.items():
        assert found[stage]["kind"] == ("Deployment" if spec.table is None else "StatefulSet")
    assert found["trainer"]["kind"] == "StatefulSet" and found["trainer"]["spec"]["replicas"] == 1
    assert found["console"]["kind"] == "Deployment" and found["console"]["spec"]["replicas"] == 1
    assert all("replicas" not in found[stage]["spec"] for stage in STAGES), "it would undo what KEDA has set"


def test_every_command_exists(overlay: str) -> None:
    for component, workload in workloads(overlay).items():
        (container,) = containers(workload)
        program, name, *arguments = container["command"]
        command = cli.get_command(click.Context(cli), name)
        assert program == "veilstream" and command is not None
        context = command.make_context(name, list(arguments))
        assert component not in STAGES or context.params["stages"] == (component,)


def test_every_variable_is_a_setting(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for component in PROCESSES:
        given = environment(overlay, component)
        known = {f"VEILSTREAM_{name.upper()}" for name in Settings.model_fields}
        known |= {f"KAFKA_{name.upper()}" for name in KafkaSettings.model_fields}
        assert set(given) <= known | OF_LIBRARIES
        with monkeypatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            settings, kafka = Settings(), KafkaSettings()
        assert settings.metrics_host == "0.0.0.0" and settings.metrics_port == 9464
        assert (kafka.security_protocol, kafka.sasl_username) == ("SASL_SSL", f"veilstream-{component}")
        stateful = component in STAGES and STAGES[component].table is not None
        assert (settings.instance_id is not None) == stateful, "only pods of a StatefulSet come back with their name"


def test_every_folder_is_mounted(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for component, workload in workloads(overlay).items():
        given = environment(overlay, component)
        (container,) = containers(workload)
        mounts = {mount["mountPath"]: bool(mount.get("readOnly")) for mount in container["volumeMounts"]}
        names = ["VEILSTREAM_STATE_DIR", "VEILSTREAM_REGISTRY_CACHE", "VEILSTREAM_MODELS_CACHE", "HOME", "XDG_CACHE_HOME"]
        written = [given[name] for name in (*names, *(("VEILSTREAM_TRAINER_DIR", "VEILSTREAM_MODELS") if component == "trainer" else ()))]
        assert all(mounts[place_of(path, mounts)] is False for path in written)
        read = [given[name] for name in ("VEILSTREAM_KEYS_DIR", "KAFKA_SASL_PASSWORD_FILE", "KAFKA_SSL_CAFILE")]
        assert all(mounts[place_of(path, mounts)] is True for path in read)
        kafka = {item["path"] for source in volume(workload, "kafka")["projected"]["sources"] for item in source["secret"]["items"]}
        assert kafka == {Path(given["KAFKA_SASL_PASSWORD_FILE"]).name, Path(given["KAFKA_SSL_CAFILE"]).name}
        used = {item["name"] for item in container["volumeMounts"]}
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
        assert used == claims | {item["name"] for item in workload["spec"]["template"]["spec"]["volumes"]}


def place_of(path: str, mounts: dict[str, bool]) -> str:
    return max((place for place in mounts if Path(path).is_relative_to(place)), key=len)


def volume(workload: Resource, name: str) -> Resource:
    (found,) = [one for one in workload["spec"]["template"]["spec"]["volumes"] if one["name"] == name]
    return dict(found)


def test_each_has_its_own_user_and_account(overlay: str) -> None:
    users = {user["metadata"]["name"] for user in of_kind(overlay, "KafkaUser")}
    accounts = {account["metadata"]["name"] for account in of_kind(overlay, "ServiceAccount")}
    (cluster,) = of_kind(overlay, "Kafka")
    for component, workload in workloads(overlay).items():
        name = f"veilstream-{component}"
        assert name in users and name in accounts
        pod = workload["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == name and pod["automountServiceAccountToken"] is False
        sources = [source["secret"]["name"] for source in volume(workload, "kafka")["projected"]["sources"]]
        assert sources == [name, f"{cluster['metadata']['name']}-cluster-ca-cert"]


def test_pods_are_restricted(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in workloads(overlay).values():
        pod = workload["spec"]["template"]["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not [one for one in pod["volumes"] if "hostPath" in one]
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True and security["seccompProfile"] == {"type": "RuntimeDefault"}
        # Then a remount does not open the state to the group.
        assert security["fsGroup"] and security["fsGroupChangePolicy"] == "OnRootMismatch"
        for container in containers(workload):
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True and own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]} and "privileged" not in own
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]) and "memory" in container["resources"]["limits"]
        for name in ("keys", "kafka"):
            assert volume(workload, name)["projected"]["defaultMode"] == 0o400


def test_a_pod_may_take_as_long_as_an_orderly_stop(overlay: str) -> None:
    """Batches, then one after the other: the last commit, fetching, the group, each follower, the audit, the connections, the status
    server, the models."""
    pods = workloads(overlay)
    pods.pop("console")  # it writes nothing, and is in no group
    for component, workload in pods.items():
        steps = 7 + len(STAGES[component].follows) if component in STAGES else 7
        assert workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > process._STOP_S + steps * process._CLOSE_S


def test_probes_ask_what_is_served(overlay: str) -> None:
    pods = workloads(overlay)
    (console,) = containers(pods.pop("console"))
    assert "ports" not in console, "its page is for those who may forward a port"
    settings = Settings()
    for name, path in (("startup", "healthz"), ("liveness", "healthz"), ("readiness", "snapshot.json")):
        program, option, text = console[f"{name}Probe"]["exec"]["command"]
        assert (program, option) == ("python", "-c") and f"'http://{settings.console_host}:{settings.console_port}/{path}'" in text
    for workload in pods.values():
        (container,) = containers(workload)
        assert container["ports"] == [{"name": "metrics", "containerPort": 9464}]
        probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        assert probes == {
            "startup": {"path": "/healthz", "port": "metrics"},
            "liveness": {"path": "/healthz", "port": "metrics"},
            "readiness": {"path": "/readyz", "port": "metrics"},
        }


def test_disruptions_and_policies_meet_every_pod(overlay: str) -> None:
    budgets = [one["spec"]["selector"]["matchLabels"] for one in of_kind(overlay, "PodDisruptionBudget")]
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(overlay, "NetworkPolicy")}
    deny = policies.pop("veilstream-default-deny")
    assert sorted(deny["policyTypes"]) == ["Egress", "Ingress"] and not {"ingress", "egress"} & set(deny)
    own = policies.pop("veilstream-console")
    for component, workload in workloads(overlay).items():
        labels = workload["spec"]["template"]["metadata"]["labels"].items()
        # The only pod of the console may be taken away: a budget would block the node's drain.
        assert sum(budget.items() <= labels for budget in budgets) == (component != "console")
        assert all(one["podSelector"]["matchLabels"].items() <= labels for one in (deny, *policies.values()))
        assert (own["podSelector"]["matchLabels"].items() <= labels) == (component == "console")
    ports = {port["port"] for one in policies.values() for rule in one.get("egress", ()) for port in rule["ports"]}
    assert ports == {53, 9093}
    assert [port["port"] for rule in own["egress"] for port in rule["ports"]] == [9464]


def test_the_console_asks_every_worker(overlay: str) -> None:
    asked = environment(overlay, "console")["VEILSTREAM_CONSOLE_WORKERS"].split(",")
    services = {one["metadata"]["name"]: one["spec"] for one in of_kind(overlay, "Service")}
    assert sorted(asked) == sorted(f"veilstream-{component}:9464" for component in (*STAGES, "trainer"))
    for component, workload in workloads(overlay).items():
        if component == "console":
            continue
        service = services[f"veilstream-{component}"]
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"] is True
        assert service["selector"].items() <= labels.items() and [port["port"] for port in service["ports"]] == [9464]


def test_workers_are_scaled_by_the_lag_of_their_topics() -> None:
    for overlay in ("production", "gpu"):
        partitions = {topic["spec"]["topicName"]: topic["spec"]["partitions"] for topic in of_kind(overlay, "KafkaTopic")}
        scaled = {
            one["spec"]["scaleTargetRef"]["name"].removeprefix("veilstream-"): one["spec"] for one in of_kind(overlay, "ScaledObject")
        }
        assert set(scaled) == set(STAGES)
        for stage, spec in scaled.items():
            workload = workloads(overlay)[stage]
            assert spec["scaleTargetRef"]["kind"] == workload["kind"]
            triggers = [trigger["metadata"] for trigger in spec["triggers"]]
            assert [trigger["topic"] for trigger in triggers] == list(STAGES[stage].sources)
            assert {trigger["consumerGroup"] for trigger in triggers} == {group_of(stage, Settings())}
            assert all(trigger["limitToPartitionsWithLag"] == trigger["excludePersistentLag"] == "true" for trigger in triggers)
            most = min(partitions[trigger["topic"]] for trigger in triggers)
            assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"] <= most
            assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
        for one in of_kind(overlay, "TriggerAuthentication"):
            name = one["metadata"]["name"]
            (variable,) = one["spec"]["env"]
            assert variable["name"] in environment(overlay, variable["containerName"]) and f"veilstream-{variable['containerName']}" == name
            assert {ref["name"] for ref in one["spec"]["secretTargetRef"]} == {name, "veilstream-cluster-ca-cert"}


def test_topics_have_brokers_for_their_replicas(overlay: str) -> None:
    (pool,), (cluster,) = of_kind(overlay, "KafkaNodePool"), of_kind(overlay, "Kafka")
    shared = shared_settings(overlay)
    topics = of_kind(overlay, "KafkaTopic")
    assert {topic["spec"]["topicName"] for topic in topics} == set(BY_NAME)
    replicas = {topic["spec"]["replicas"] for topic in topics} | {int(shared["data"]["VEILSTREAM_REPLICATION"])}
    assert len(replicas) == 1 and replicas.pop() == pool["spec"]["replicas"]
    config = cluster["spec"]["kafka"]["config"]
    assert config["default.replication.factor"] == pool["spec"]["replicas"]
    assert config["min.insync.replicas"] == max(1, pool["spec"]["replicas"] - 1) and config["auto.create.topics.enable"] is False
    name = cluster["metadata"]["name"]
    assert shared["data"]["KAFKA_BOOTSTRAP_SERVERS"] == f"{name}-kafka-bootstrap:{cluster['spec']['kafka']['listeners'][0]['port']}"
    labelled = [pool, *topics, *of_kind(overlay, "KafkaUser")]
    assert {one["metadata"]["labels"]["strimzi.io/cluster"] for one in labelled} == {name}


def test_gpus_are_asked_for_in_one_overlay_only() -> None:
    for overlay in OVERLAYS:
        found = {
            component: container["resources"]["limits"].get("nvidia.com/gpu")
            for component, workload in workloads(overlay).items()
            for container in containers(workload)
        }
        wanted = {"catalogue", "profile", "trainer"} if overlay == "gpu" else set()
        assert {component for component, count in found.items() if count} == wanted
        assert all(environment(overlay, component)["VEILSTREAM_DEVICE"] == "cuda" for component in wanted)


def test_no_secret_and_no_address_is_in_it(overlay: str) -> None:
    assert of_kind(overlay, "Secret") == []
    for workload in workloads(overlay).values():
        for container in containers(workload):
            name, _, tag = container["image"].rpartition(":")
            assert re.fullmatch(r"veilstream/(worker|model|trainer)", name) and tag not in ("", "latest")
    assert {one["metadata"].get("namespace") for one in resources(overlay) if one["kind"] != "Namespace"} == {"veilstream"}


def test_alerts_ask_for_metrics_that_exist() -> None:
    rules = list(alerts())
    assert len(rules) >= 10
    for rule in rules:
        named = set(re.findall(r"\bveilstream_[a-z_]+", rule["expr"]))
        assert named and named <= metrics(), rule["alert"]
        assert set(re.findall(r'stage="(\w+)"', rule["expr"])) <= set(STAGES)
        assert rule["labels"]["severity"] in ("warning", "critical")


def alerts() -> Iterator[Resource]:
    for one in of_kind("production", "PrometheusRule"):
        for group in one["spec"]["groups"]:
            yield from group["rules"]
