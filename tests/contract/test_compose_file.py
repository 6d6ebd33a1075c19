"""docker-compose.yml against the compose specification, and against what the project promises of it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from deploy.local.kafka_jars import KAFKA_VERSION
from deploy.local.stack import SERVICES
from shared.hosting.settings import DEFAULT_PORTS

ROOT = Path(__file__).parents[2]
OBSERVABILITY = ROOT / "deploy" / "observability"
# The file of the compose specification (Apache-2.0), as the package check-jsonschema 0.39.0 carries it.
SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text())


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_the_file_follows_the_compose_specification(compose):
    validator = validator_for(SCHEMA, Draft202012Validator)(SCHEMA)
    assert [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(compose)] == []


def test_the_schema_would_notice_a_mistake(compose):
    broken = compose | {"services": {"kafka": compose["services"]["kafka"] | {"port": "9092"}}}
    assert list(validator_for(SCHEMA, Draft202012Validator)(SCHEMA).iter_errors(broken))


def test_every_image_is_pinned_to_a_version(compose):
    for name, service in compose["services"].items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
    images = re.findall(r"^FROM (\S+)", (ROOT / "deploy/docker/Dockerfile").read_text(), flags=re.MULTILINE)
    assert images
    assert all(re.search(r":\d+\.\d+\.\d+-", image) for image in images)
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_services_start_after_preparation_and_preparation_after_healthy_servers(compose):
    services = compose["services"]
    assert services["prepare"]["depends_on"] == {"kafka": {"condition": "service_healthy"}, "mongodb": {"condition": "service_healthy"}}
    for name in SERVICES:
        assert services[name]["depends_on"] == {"prepare": {"condition": "service_completed_successfully"}}
        assert str(DEFAULT_PORTS[name]) in services[name]["healthcheck"]["test"][-1]
        assert services[name]["command"] == ["python", "-m", f"services.{name}"]


def test_no_container_keeps_rights_it_does_not_need(compose):
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert re.search(r"^USER 10001:10001$", (ROOT / "deploy/docker/Dockerfile").read_text(), flags=re.MULTILINE)


def test_no_secret_stands_in_the_file(compose):
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name:
                assert str(value).startswith("${"), name
    uris = {name: compose["services"][name]["environment"]["KEHU_MONGODB_URI"] for name in SERVICES}
    assert all(uri.startswith(f"mongodb://{name}:${{KEHU_MONGODB_{name.upper()}_PASSWORD}}@") for name, uri in uris.items())


def test_every_mounted_file_exists_or_is_made_by_the_secrets_script(compose):
    mounts = [volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", []) if volume.startswith("./")]
    assert all((ROOT / mount).exists() for mount in mounts)
    assert compose["secrets"]["mongodb-member-key"]["file"].removeprefix("./") in (ROOT / "deploy/docker/make-secrets.sh").read_text()


def test_prometheus_scrapes_every_service():
    config = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    targets = {target for group in config["scrape_configs"][0]["static_configs"] for target in group["targets"]}
    assert targets == {f"{name}:{port}" for name, port in DEFAULT_PORTS.items()}


def test_dashboards_and_alerts_name_metrics_that_exist():
    # given
    declared = set(re.findall(r'"(kehu_[a-z_]+)"', (ROOT / "shared/telemetry/metrics.py").read_text()))
    suffixes = ("", "_total", "_seconds", "_seconds_bucket")

    # when
    used = set(re.findall(r"kehu_[a-z_]+", (OBSERVABILITY / "grafana/dashboards/kehu.json").read_text()))
    used |= set(re.findall(r"kehu_[a-z_]+", (OBSERVABILITY / "alerts.yml").read_text()))

    # then
    unknown = {name for name in used if not any(name.removesuffix(suffix) in declared for suffix in suffixes if name.endswith(suffix))}
    assert unknown == set()


@pytest.mark.parametrize("script", ["deploy/docker/check-steps.sh", "deploy/docker/make-secrets.sh", "deploy/local/bootstrap.sh", ".ci/run"])
def test_every_script_parses(script):
    assert subprocess.run(["bash", "-n", ROOT / script], check=False).returncode == 0
