"""Dashboard and alert rules name what a running server shows, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from completionist.errors import Overloaded
from completionist.types.scopes import SCOPES
from tests.deploy.promql import named
from tests.support import raw
from tests.support.server import running_server

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "completionist.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
SCRAPE: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "scrape.yaml").read_text())
PANELS = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
ALERTS = {rule["alert"]: rule["expr"] for rule in RULES}
EXPRESSIONS = PANELS | ALERTS
OF_PROMETHEUS = {"up"}
"""The one metric that is not ours: whether a scrape was answered."""
OF_THE_SCRAPE = {"job", "instance"}
"""Labels that Prometheus adds."""

Samples = Mapping[str, frozenset[str]]


@pytest.fixture(scope="module")
def families() -> Mapping[str, Samples]:
    """By family, the names of its samples with their labels, after an answer and a refusal."""
    with running_server() as server:
        create = f"{server.base_url}/chat/completions"
        headers = {"content-type": "application/json"}
        assert httpx2.post(create, content=raw.chat(), headers=headers).status_code == 200
        assert httpx2.post(create, content=raw.chat(n=0), headers=headers).status_code == 400
        metrics = server.services.metrics  # a script is no model that could be loaded
        metrics.model_loads.labels("scripted", "failed").inc()
        metrics.model_unloads.labels("scripted", "idle").inc()
        text = httpx2.get(f"{server.url}/metrics").text
    return {
        family.name: {sample.name: frozenset(sample.labels) for sample in family.samples}
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    }


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions_name_what_the_server_shows(families: Mapping[str, Samples], name: str) -> None:
    shown = {sample: labels for samples in families.values() for sample, labels in samples.items()}
    found = named(EXPRESSIONS[name])
    assert found.metrics
    assert found.metrics.keys() - OF_PROMETHEUS <= shown.keys()
    for metric, selected in found.metrics.items():
        assert selected.keys() | found.groups <= shown.get(metric, frozenset()) | OF_THE_SCRAPE, metric


def test_annotations_name_labels_that_their_expression_leaves() -> None:
    for rule in RULES:
        texts = " ".join(rule["annotations"].values())
        used = set(re.findall(r"\$labels\.(\w+)", texts))
        grouped = re.search(r"\bby \(([^)]*)\)", rule["expr"])
        kept = set(grouped[1].split(", ")) if grouped else {"instance", "model_name"}
        assert used <= kept, rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_code_that_an_alert_waits_for_is_one_that_is_given() -> None:
    codes = {labels["code"] for expr in ALERTS.values() for labels in named(expr).metrics.values() if "code" in labels}
    assert codes == {Overloaded.code}


def test_the_page_names_every_metric(families: Mapping[str, Samples]) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    listed = {re.split(r"[{`]", name)[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    shown = {name.removeprefix("completionist_") for name in families}
    assert {name.removesuffix("_total") for name in listed} == shown


def test_panels_have_places_of_their_own() -> None:
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_the_scrape_is_the_one_that_the_rules_look_at() -> None:
    (job,) = SCRAPE["scrape_configs"]
    assert named(ALERTS["CompletionistDown"]).metrics == {"up": {"job": job["job_name"]}}
    assert job["metrics_path"] == "/metrics"
    assert SCRAPE["rule_files"] == ["alerts.yaml"]
    assert "metrics.read" in SCOPES
    assert "--scopes metrics.read" in (DEPLOY / "prometheus" / "scrape.yaml").read_text()
