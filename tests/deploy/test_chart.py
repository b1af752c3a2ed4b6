"""The Helm chart, rendered: it uses nothing of Helm's but the insertion of values, so that this page can do it too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from completionist import __version__
from completionist.api.routes import ROUTES
from tests.deploy.started import KEY, MARGIN_S, check_command, settings_of

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "completionist"
ABOUT: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
INSERTION = re.compile(r"\{\{ (toJson )?\.(Values|Release|Chart)\.([A-Za-z.]+) \}\}")
KINDS = {"StatefulSet": "apps/v1", "Service": "v1", "ConfigMap": "v1", "PersistentVolumeClaim": "v1"}

Object = dict[str, Any]


def rendered(values: Mapping[str, Any] = VALUES, release: str = "chat") -> dict[str, Object]:
    """The objects of the chart by their kinds."""
    roots = {"Values": values, "Release": {"Name": release}, "Chart": {"AppVersion": ABOUT["appVersion"]}}

    def value(found: re.Match[str]) -> str:
        value: Any = roots[found[2]]
        for name in found[3].split("."):
            value = value[name]
        assert found[1] or not isinstance(value, dict | list), found[0]
        return json.dumps(value) if found[1] else str(value)

    objects = {}
    for file in sorted((CHART / "templates").iterdir()):
        text = INSERTION.sub(value, file.read_text())
        assert "{{" not in text, f"{file.name} uses more of Helm than this can render"
        (object_,) = yaml.safe_load_all(text)
        assert object_["kind"] not in objects
        objects[object_["kind"]] = object_
    return objects


OBJECTS = rendered()
POD: Object = OBJECTS["StatefulSet"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
VARIABLES = {variable["name"]: variable for variable in CONTAINER["env"]}


def test_it_is_of_this_version_and_makes_what_it_should() -> None:
    assert ABOUT["apiVersion"] == "v2"
    assert ABOUT["appVersion"] == ABOUT["version"] == VALUES["image"]["tag"] == __version__
    assert {kind: object_["apiVersion"] for kind, object_ in OBJECTS.items()} == KINDS
    for object_ in OBJECTS.values():
        assert re.fullmatch(r"[a-z][a-z0-9-]*", object_["metadata"]["name"])


def test_every_value_is_used() -> None:
    """And those that templates use are there, or nothing would have been rendered."""
    used = {
        found[3].split(".")[0]
        for file in (CHART / "templates").iterdir()
        for found in INSERTION.finditer(file.read_text())
        if found[2] == "Values"
    }
    assert used == VALUES.keys()


def test_its_parts_find_each_other() -> None:
    labels = OBJECTS["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert OBJECTS["StatefulSet"]["spec"]["selector"]["matchLabels"] == OBJECTS["Service"]["spec"]["selector"] == labels
    assert OBJECTS["StatefulSet"]["spec"]["serviceName"] == OBJECTS["Service"]["metadata"]["name"]
    (port,) = OBJECTS["Service"]["spec"]["ports"]
    assert port["targetPort"] == CONTAINER["ports"][0]["name"]
    assert CONTAINER["envFrom"] == [{"configMapRef": {"name": OBJECTS["ConfigMap"]["metadata"]["name"]}}]
    claims = {claim["metadata"]["name"] for claim in OBJECTS["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == claims | {
        volume["name"] for volume in POD["volumes"]
    }
    (files,) = [volume for volume in POD["volumes"] if volume["name"] == "files"]
    assert files["persistentVolumeClaim"]["claimName"] == OBJECTS["PersistentVolumeClaim"]["metadata"]["name"]


def test_it_starts_a_command_with_settings_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    check_command(CONTAINER["args"])
    secrets = {"store-url": "postgresql://user:password@host/database", "keys": KEY}
    values = {
        name: variable["value"] if "value" in variable else secrets[variable["valueFrom"]["secretKeyRef"]["key"]]
        for name, variable in VARIABLES.items()
    }
    settings = settings_of(values | OBJECTS["ConfigMap"]["data"], monkeypatch)
    assert settings.server.port == CONTAINER["ports"][0]["containerPort"]
    assert settings.store.url == secrets["store-url"]
    assert settings.keys[0].project == "me"
    assert settings.log.format == "json"
    mounts = [Path(mount["mountPath"]) for mount in CONTAINER["volumeMounts"]]
    assert settings.files.directory is not None
    assert settings.files.directory.parent in mounts
    assert all(isinstance(value, str) for value in OBJECTS["ConfigMap"]["data"].values())


def test_services_of_the_cluster_are_no_settings() -> None:
    """For a Service named completionist they would be: COMPLETIONIST_PORT and others, which no start survives."""
    assert POD["enableServiceLinks"] is False


def test_probes_ask_what_is_there() -> None:
    paths = {route.path for route in ROUTES if route.method == "GET" and route.scope == "public"}
    probes = {kind: CONTAINER[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}
    asked = {kind: probe["httpGet"]["path"] for kind, probe in probes.items()}
    assert asked == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}
    assert set(asked.values()) <= paths
    for probe in probes.values():
        assert probe["httpGet"]["port"] == CONTAINER["ports"][0]["name"]
        assert probe["httpGet"]["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
        assert probe["timeoutSeconds"] <= probe["periodSeconds"]


def test_a_pod_has_time_to_finish_what_it_answers() -> None:
    hook, limit_s = CONTAINER["lifecycle"]["preStop"]["exec"]["command"], POD["terminationGracePeriodSeconds"]
    assert hook == ["sleep", str(VALUES["drain"]["preStopSeconds"])]
    drain_s = float(VARIABLES["COMPLETIONIST_SERVER__DRAIN_TIMEOUT_S"]["value"])
    assert int(hook[1]) + drain_s + MARGIN_S <= limit_s
    probe = CONTAINER["readinessProbe"]
    assert probe["periodSeconds"] <= int(hook[1])


def test_it_is_given_nothing_to_spare() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    container = CONTAINER["securityContext"]
    assert container["readOnlyRootFilesystem"] is True
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    user = POD["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in (CHART.parents[1] / "container" / "Containerfile").read_text()


def test_values_reach_their_places() -> None:
    changed = VALUES | {"replicas": 3, "model": 'a "name": #1', "nodeSelector": {"disk": "ssd"}}
    objects = rendered(changed, release="other")
    spec = objects["StatefulSet"]["spec"]
    assert (spec["replicas"], objects["Service"]["metadata"]["name"]) == (3, "other")
    pod = spec["template"]["spec"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["containers"][0]["env"][0]["value"] == 'a "name": #1'
