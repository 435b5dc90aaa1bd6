"""The snippets of docs/senders.md, and what `paydown connect` prints, are taken by the programs that they are for."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from pathlib import Path

import yaml

from cli.senders import configuration
from local import alertmanager
from paydown.sources.alertmanager import DISK_ALERTS, NODE_ALERTS, PRESSURE_ALERT
from tests.servers import need, need_program

DOCUMENT = Path(__file__).parents[2] / "docs" / "senders.md"


def snippet(heading: str) -> str:
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert found, f"no snippet under {heading}"
    return found[1]


URL = "https://api.example/v1/webhooks/"


def check_alertmanager(config: Path) -> None:
    checked = subprocess.run(
        [need_program("amtool", "prometheus-alertmanager"), "check-config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def check_registry(folder: Path, pasted: str) -> None:
    program = need_program("docker-registry", "docker-registry")
    config = folder / "registry.yml"
    config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\n{pasted}")
    checked = subprocess.run(
        [program, "garbage-collect", "--dry-run", str(config)], capture_output=True, text=True, check=False
    )
    assert "configuration error" not in checked.stderr
    assert checked.returncode == 0 or "Path not found" in checked.stderr, checked.stderr


def test_alertmanager_takes_its_snippet(tmp_path: Path) -> None:
    need(alertmanager.program(), "Alertmanager is not installed (apt-get install prometheus-alertmanager)")
    config = tmp_path / "alertmanager.yml"
    config.write_text(snippet("Alertmanager"))
    check_alertmanager(config)


def test_the_registry_takes_its_snippet(tmp_path: Path) -> None:
    check_registry(tmp_path, snippet("CNCF Distribution registry"))


def test_alertmanager_takes_what_connect_prints(tmp_path: Path) -> None:
    need(alertmanager.program(), "Alertmanager is not installed (apt-get install prometheus-alertmanager)")
    pasted = yaml.safe_load(configuration("alertmanager", f"{URL}alertmanager", "s3cret"))
    pasted["route"]["receiver"] = "paydown"  # stands in the configuration that it is pasted into
    config = tmp_path / "alertmanager.json"
    config.write_text(json.dumps(pasted))
    check_alertmanager(config)
    matchers = [route["matchers"] for route in pasted["route"]["routes"]]
    assert matchers[1:] == [['paydown_event =~ "NodeNotReady|DiskPressure"'], ['alertname = "Watchdog"']]


def test_the_alerts_that_connect_routes_are_those_that_are_understood() -> None:
    pasted = yaml.safe_load(configuration("alertmanager", f"{URL}alertmanager", "s3cret"))
    (matcher,) = pasted["route"]["routes"][0]["matchers"]
    pattern = re.fullmatch(r'alertname =~ "(.*)"', matcher)
    assert pattern is not None
    understood = {*NODE_ALERTS, *DISK_ALERTS, PRESSURE_ALERT}
    assert {name for name in understood if re.fullmatch(pattern[1], name)} == understood


def test_the_registry_takes_what_connect_prints(tmp_path: Path) -> None:
    check_registry(tmp_path, configuration("registry", f"{URL}registry", "s3cret"))


def test_the_detector_reads_what_connect_prints(tmp_path: Path) -> None:
    config = tmp_path / "config.ini"
    config.write_text(configuration("roundup", f"{URL}roundup", "100%s3cret"))
    read = configparser.ConfigParser()
    read.read(config)
    assert dict(read["paydown"]) | {"url": f"{URL}roundup", "secret": "100%s3cret"} == dict(read["paydown"])
    assert set(read["paydown"]) == {"url", "secret", "tracker", "queue", "automation_user", "python"}
