"""deploy/kubernetes against what a cluster would hold it against, as far as that goes without one.

Kubernetes' own schemas come in the wheel of kubernetes-validate. KServe's are made of the models of its SDK, which are generated from
its CRDs: read as text, since importing the SDK takes half of a cluster. tools/check puts both under target/wheels.
"""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import skip
from contract import ROOT
from daemon import TARGET, run
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7
from test_security import pair

FOLDER = ROOT / "deploy/kubernetes"
CORE = "kubernetes-validate-1.37.0/kubernetes_validate/kubernetes-json-schema/v1.37.0-local-strict"
KSERVE = "kserve-0.21.0/kserve/models"
DEFINITIONS = "https://kubernetes.io/api/_definitions.json"


def wheel(path: str) -> Path:
    found = TARGET / "wheels" / path
    if not found.exists():
        skip(f"no {found}: tools/check gets it from PyPI")
    return found


def documents() -> list[tuple[str, dict]]:
    """Each by its file, kind and name."""
    found = []
    for file in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            found.append((f"{file.name}: {document['kind']} {document['metadata']['name']}", document))
    assert len(found) > 5
    return found


@cache
def definitions() -> dict:
    return json.loads((wheel(CORE) / "_definitions.json").read_text())


def retrieve(uri: str) -> Resource:
    """What schemas refer to: Kubernetes' definitions, and KServe's models by their names."""
    return Resource(definitions() if uri == DEFINITIONS else of_model(uri.removeprefix("kserve:")), DRAFT7)


def of_core(name: str) -> dict | bool:
    """What Kubernetes means by a type of KServe's SDK: V1Container is io.k8s.api.core.v1.Container. What neither knows is not allowed."""
    if not (parts := re.fullmatch(r"V(\d\w*?)([A-Z]\w*)", name)):
        return {}
    short = rf"v{parts[1]}\.{parts[2]}"
    for group in (r"api\.core", r"apimachinery\.pkg\.apis\.meta", r"api\.\w+"):
        names = [key for key in definitions()["$defs"] if re.fullmatch(rf"io\.k8s\.{group}\.{short}", key)]
        if len(names) == 1:
            return {"$ref": f"{DEFINITIONS}#/$defs/{names[0]}"}
    return False


def of_type(name: str) -> dict | bool:
    """A type as KServe's SDK writes it, as a JSON schema."""
    plain = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}
    if name in plain:
        return {"type": plain[name]}
    if item := re.fullmatch(r"list\[(.*)\]", name):
        return {"type": "array", "items": of_type(item[1])}
    if value := re.fullmatch(r"dict\(str, (.*)\)", name):
        return {"type": "object", "additionalProperties": of_type(value[1])}
    if (wheel(KSERVE) / file_of(name)).exists():
        return {"$ref": f"kserve:{name}"}
    return of_core(name)


def file_of(name: str) -> str:
    """V1alpha1ServingRuntimeSpec is in v1alpha1_serving_runtime_spec.py."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower() + ".py"


@cache
def of_model(name: str) -> dict:
    """A model of KServe's SDK: its fields and no others, those that must be there."""
    tree = ast.parse((wheel(KSERVE) / file_of(name)).read_text())
    [model] = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    tables = {}
    for node in model.body:
        if isinstance(node, ast.Assign) and node.targets[0].id in ("openapi_types", "attribute_map"):
            tables[node.targets[0].id] = ast.literal_eval(node.value)
    names = tables["attribute_map"]
    # Its setters refuse None where the CRD asks for a value.
    source = ast.unparse(model)
    required = [json for field, json in names.items() if f"Invalid value for `{field}`, must not be `None`" in source]
    types = tables["openapi_types"].items()
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {names[field]: of_type(kind) for field, kind in types},
    }


def schema_of(document: dict) -> dict:
    api, kind = document["apiVersion"], document["kind"]
    if api.startswith("serving.kserve.io/"):
        return of_model(api.split("/")[1].capitalize() + kind)
    group = api.split("/")[0].split(".")[0] + "-" if "/" in api else ""
    return json.loads((wheel(CORE) / f"{kind.lower()}-{group}{api.split('/')[-1]}.json").read_text())


def faults(document: dict) -> list[str]:
    validator = Draft7Validator(schema_of(document), registry=Registry(retrieve=retrieve))
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name, document", documents(), ids=lambda value: value if isinstance(value, str) else "")
def test_the_schemas_take_it(name, document):
    assert not faults(document)


@pytest.mark.parametrize(
    "at, value",
    [
        (("spec", "template", "spec", "containers", 0, "readinessProbe", "grpc", "port"), "grpc"),
        (("spec", "template", "spec", "containers", 0, "livenesProbe"), {}),
        (("spec", "supportedModelFormats", 0, "autoselect"), True),
        (("spec", "containers", 0, "securityContext", "runAsNonRoot"), "yes"),
        (("spec", "predictor", "model"), {"runtime": "cellsegd"}),
        (("spec", "predictor", "minReplicas"), "one"),
    ],
)
def test_a_slip_is_found(at, value):
    """Kubernetes' and KServe's: what is of another type, what does not exist, what is missing."""
    n_found = 0
    for _, document in documents():
        target = document
        try:
            for step in at[:-1]:
                target = target[step]
        except (KeyError, IndexError):
            continue
        target[at[-1]] = value
        n_found += bool(faults(document))
    assert n_found == 1


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.name)
def test_the_daemon_takes_the_settings(file, tmp_path):
    [text] = [d["data"]["cellsegd.toml"] for d in yaml.safe_load_all(file.read_text()) if d["kind"] == "ConfigMap"]
    pair(tmp_path / "tls", "scope-2")
    models = tmp_path / "models"
    models.mkdir()
    for place in ("/etc/cellsegd/tls", "/etc/cellsegd/keys"):
        text = text.replace(place, str(tmp_path / "tls"))
    text = re.sub(r'(?m)^models_dir = .*$', f'models_dir = "{models}"', text)
    (tmp_path / "cellsegd.toml").write_text(text)
    run("serve", "--config", tmp_path / "cellsegd.toml", "--check")


def test_volumes_ports_and_names_fit_each_other():
    """What no schema holds: mounts of volumes that are there, probes of ports that are listened on, a Service that finds its pods."""
    for name, document in documents():
        spec = document.get("spec", {})
        pod = spec.get("template", {}).get("spec", spec)
        if "containers" not in pod:
            continue
        [container] = pod["containers"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes, name
        settings = [d["data"]["cellsegd.toml"] for _, d in documents() if (d["kind"], d["metadata"]["name"]) == ("ConfigMap", maps(pod))]
        ports = [int(port) for port in re.findall(r'"t\w+://0\.0\.0\.0:(\d+)"', settings[0])]
        named = {port.get("name"): port["containerPort"] for port in container["ports"]}
        assert set(named.values()) <= set(ports), name
        for probe in (container[key] for key in container if key.endswith("Probe")):
            port = probe.get("grpc", probe.get("httpGet"))["port"]
            assert named.get(port, port) in ports, name
        # A daemon that compiles an engine is not alive for minutes: no guess at how many must end it.
        patience = container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
        assert patience >= 600 and "initialDelaySeconds" not in container["livenessProbe"], name
    labels = {d["kind"]: d for _, d in documents()}
    assert labels["Service"]["spec"]["selector"] == labels["Deployment"]["spec"]["template"]["metadata"]["labels"]
    runtimes = [d["metadata"]["name"] for _, d in documents() if d["kind"] == "ServingRuntime"]
    assert labels["InferenceService"]["spec"]["predictor"]["model"]["runtime"] in runtimes


def maps(pod: dict) -> str:
    """The ConfigMap of a pod."""
    [name] = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    return name
