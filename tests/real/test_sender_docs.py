"""The snippets of docs/senders.md are taken by the programs that they are for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from local import alertmanager
from tests.servers import need, need_program

DOCUMENT = Path(__file__).parents[2] / "docs" / "senders.md"


def snippet(heading: str) -> str:
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert found, f"no snippet under {heading}"
    return found[1]


def test_alertmanager_takes_its_snippet(tmp_path: Path) -> None:
    need(alertmanager.program(), "Alertmanager is not installed (apt-get install prometheus-alertmanager)")
    config = tmp_path / "alertmanager.yml"
    config.write_text(snippet("Alertmanager"))
    checked = subprocess.run(
        [need_program("amtool", "prometheus-alertmanager"), "check-config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_registry_takes_its_snippet(tmp_path: Path) -> None:
    program = need_program("docker-registry", "docker-registry")
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n{snippet('CNCF Distribution registry')}"
    )
    checked = subprocess.run(
        [program, "garbage-collect", "--dry-run", str(config)], capture_output=True, text=True, check=False
    )
    assert "configuration error" not in checked.stderr
    assert checked.returncode == 0 or "Path not found" in checked.stderr, checked.stderr
