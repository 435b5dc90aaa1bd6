"""What CloudFormation makes of template.yaml: SAM's own translator, which lives in the emulator's environment.

`python -m local.translation FILE` writes it there for cfn-lint: some faults show only here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.emulator import PROGRAM, REGION
from local.packages import addressed, load_template, packages

_TRANSLATE = """
import json, logging, sys
from samtranslator.translator.transform import transform

class ManagedPolicies:
    def load(self):
        return {}

logging.disable(logging.WARNING)
template, parameters = json.load(sys.stdin)
json.dump(transform(template, parameters, ManagedPolicies()), sys.stdout)
"""


def translate(template: dict[str, Any] | None = None, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The translation of a template (by default ours), with made-up addresses for what would be built.

    `parameters`: values that SAM itself looks at; those that are missing have their defaults.
    """
    template = template or load_template()
    template = addressed(template, {package.logical_id: "s3://bucket/key" for package in packages(template)})
    done = subprocess.run(  # noqa: S603 -- our own program
        [str(PROGRAM.parent / "python"), "-c", _TRANSLATE],
        input=json.dumps([template, dict(parameters or {})]),
        capture_output=True,
        text=True,
        check=False,
        env={"AWS_DEFAULT_REGION": REGION},
    )
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1])
    translated: dict[str, Any] = json.loads(done.stdout)
    return translated


def main() -> None:
    """Write the translation to the file that the command line names."""
    rollouts = {"Rollouts": "true", "RolloutType": "AllAtOnce"}
    translated = translate(parameters=rollouts)
    del translated["Metadata"]  # exceptions that hold for the source only
    for name in rollouts:  # of use to SAM alone
        del translated["Parameters"][name]
    Path(sys.argv[1]).write_text(json.dumps(translated, indent=2))


if __name__ == "__main__":
    main()
