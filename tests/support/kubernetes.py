"""What checks the manifests, fetched once to a cache folder: kustomize and kubeconform as Go modules, and the schemas of all resources.

Kubernetes' own schemas are in a package of PyPI, those of KEDA and prometheus-operator in their Go modules, Strimzi's in the shared folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support import ROOT
from tests.support.toolchains import ToolMissing

K8S = ROOT / "k8s"
OVERLAYS = ("dev", "production", "gpu")
STRIMZI = ROOT.parent / "shared" / "crds" / "strimzi"
KUBERNETES = "1.33.0"
TOOLS = {
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.8.0",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
    "kube-score": "github.com/zegl/kube-score/cmd/kube-score@v1.20.0",
}
DEFINITIONS = {
    "github.com/kedacore/keda/v2@v2.20.2": (
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
}
"""Files with resource definitions, in Go modules."""
_SCHEMAS = "kubernetes-validate==1.37.0"
"""A package that carries Kubernetes' schemas as JSON. Its code is not used."""
_COMPOSE = "github.com/compose-spec/compose-go/v2@v2.9.0"
_OPEN = "x-kubernetes-preserve-unknown-fields"


def tool(name: str) -> Path:
    """The program. Raises ToolMissing."""

    def install(folder: Path) -> None:
        go("install", TOOLS[name], GOBIN=str(folder))

    return cached(name, TOOLS[name], install) / name


@cache
def rendered(overlay: str) -> str:
    """What would be applied to a cluster. Raises ToolMissing; whatever else is wrong fails."""
    done = subprocess.run(
        [tool("kustomize"), "build", K8S / "overlays" / overlay], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def resources(overlay: str) -> list[dict[str, Any]]:
    """The same, read; not to be changed."""
    return [one for one in yaml.safe_load_all(rendered(overlay)) if one]


def schemas() -> Path:
    """A folder with a JSON schema for each kind of resource, but for Strimzi's: ``<kind>-<group>-<version>.json``. Raises ToolMissing."""

    def install(folder: Path) -> None:
        _unpack_kubernetes(folder)
        for path in definitions():
            _write_schemas(path, folder)

    return cached("kubernetes-schemas", f"{_SCHEMAS} {KUBERNETES} {DEFINITIONS}", install)


def definitions() -> list[Path]:
    """The files with the resource definitions of KEDA and prometheus-operator. Raises ToolMissing."""
    found: list[Path] = []
    for module, files in DEFINITIONS.items():
        folder = Path(json.loads(go("mod", "download", "-json", module))["Dir"])
        found += [folder / file for file in files]
    return found


def complaints(overlay: str, folder: Path) -> list[str]:
    """What kubeconform finds wrong. ``folder`` is for Strimzi's schemas. Raises ToolMissing."""
    strimzi_schemas(folder)
    return complaints_of(rendered(overlay), folder)


def complaints_of(text: str, *folders: Path) -> list[str]:
    """The same of any text, with Kubernetes' schemas and those of the folders."""
    name = "{{.ResourceKind}}{{.KindSuffix}}.json"
    where = [word for place in (schemas(), *folders) for word in ("-schema-location", f"{place}/{name}")]
    conform = [tool("kubeconform"), "-strict", "-output", "json", *where, "-"]
    done = subprocess.run(conform, input=text, capture_output=True, text=True, timeout=300, check=False)
    found = json.loads(done.stdout)["resources"] or []
    return [f"{one['kind']} {one['name']}: {one['msg']}" for one in found]


def strimzi_schemas(folder: Path) -> None:
    """Strimzi's, into a folder."""
    for path in sorted(STRIMZI.glob("*.yaml")):
        _write_schemas(path, folder)


def compose_schema() -> Path:
    """The JSON schema of the Compose specification. Raises ToolMissing."""

    def install(folder: Path) -> None:
        found = json.loads(go("mod", "download", "-json", _COMPOSE))
        shutil.copyfile(Path(found["Dir"]) / "schema" / "compose-spec.json", folder / "compose-spec.json")

    return cached("compose-schema", _COMPOSE, install) / "compose-spec.json"


def _unpack_kubernetes(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q", "--no-deps", "-d", str(folder), _SCHEMAS]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise ToolMissing(f"pip could not fetch {_SCHEMAS}: {done.stderr.strip()[-300:]}")
    (wheel,) = folder.glob("*.whl")
    inside = f"kubernetes_validate/kubernetes-json-schema/v{KUBERNETES}-local-strict/"
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(inside) and name.endswith(".json"):
                # The package's schemas say that they lie at an address; these lie beside each other.
                schema = json.loads(archive.read(name).replace(b'"/api/_definitions.json', b'"_definitions.json'))
                schema.pop("$id", None)
                (folder / name.removeprefix(inside)).write_text(json.dumps(schema), encoding="utf-8")
    wheel.unlink()


def _write_schemas(definitions: Path, folder: Path) -> None:
    for definition in yaml.safe_load_all(definitions.read_text(encoding="utf-8")):
        spec = definition["spec"]
        for version in spec["versions"]:
            name = f"{spec['names']['kind']}-{spec['group'].split('.')[0]}-{version['name']}.json".lower()
            schema = closed(version["schema"]["openAPIV3Schema"])
            # The definition leaves these to Kubernetes.
            schema["properties"]["metadata"] = {"type": "object"}
            (folder / name).write_text(json.dumps(schema), encoding="utf-8")


def closed(schema: Any) -> Any:
    """The schema, with every object that lists its properties refusing others, as ``kubectl apply --validate=strict`` does."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object" and not schema.get(_OPEN):
        found.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    return found


def containers(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of what has a pod's template."""
    pod = resource.get("spec", {}).get("template", {}).get("spec", {})
    yield from (*pod.get("initContainers", ()), *pod.get("containers", ()))


def go(*arguments: str, cwd: Path | None = None, **environment: str) -> str:
    """What it says; by default in no module. Raises ToolMissing where there is none, or it fails."""
    program = shutil.which("go")
    if program is None:
        raise ToolMissing("the tests of k8s/ need go on the PATH")
    done = subprocess.run(
        [program, *arguments],
        env={**os.environ, **environment},
        cwd=cwd or tempfile.gettempdir(),
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    if done.returncode != 0:
        raise ToolMissing(f"go {' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def place_of(name: str, what: str) -> Path:
    """Where ``cached`` puts it."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "veilstream"
    return base / f"{name}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def cached(name: str, what: str, install: Callable[[Path], None]) -> Path:
    """The folder with what ``install`` puts there; made the first time, and again where ``what`` is something else."""
    place = place_of(name, what)
    base = place.parent
    if not place.is_dir():
        base.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=base, prefix="installing-"))
        try:
            install(fresh)
            fresh.rename(place)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            if not place.is_dir():  # else another run was first
                raise
    return place
