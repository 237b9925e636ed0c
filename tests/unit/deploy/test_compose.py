"""The container form cannot be run here; what can be said about its file without an engine is said."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).parents[3] / "docker-compose.airflow.yml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def test_every_service_waits_for_what_it_needs_and_what_is_waited_for_can_tell(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], (name, needed)
            else:
                assert (how["condition"], services[needed]["restart"]) == ("service_completed_successfully", "no")


def test_secrets_and_volumes_that_are_used_are_declared_and_the_other_way_round(compose: dict[str, Any]) -> None:
    services = compose["services"].values()
    assert {name for service in services for name in service.get("secrets", ())} == set(compose["secrets"])
    mounted = {mount.split(":")[0] for service in services for mount in service.get("volumes", ())}
    assert mounted == set(compose["volumes"])


def test_no_secret_stands_in_the_file_and_nothing_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|CONN$|LEDGER_URL", name):
                assert "/run/secrets/" in value, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_what_is_ours_does_not_run_as_root(compose: dict[str, Any]) -> None:
    ours = [service for service in compose["services"].values() if "BATON_IMAGE" in service["image"]]
    assert len(ours) >= 7
    assert all(service["user"].split(":")[0] != "0" for service in ours)
