"""Requests that the OpenAPI document of a server allows or forbids, made by schemathesis, each answered as the document says."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from taskclf_dagster_tests.servers import PROJECT

SEED = "1"
PHASES = "examples,coverage,fuzzing"
SETTINGS = """
[checks]
# If-Match is what is missing. For the configuration below: an ETag of another state is found before the body is read, and the rule
# between two keys (min_reject_rate is at most max_reject_rate) has no JSON Schema.
missing_required_header.expected-statuses = ["400", "401", "403", "406", "415", "422", "428"]

[dictionaries.ids]
values = {ids}

[dictionaries.homes]
values = {homes}

[dictionaries.etags]
values = ["*"]

[parameters]
"path.id" = {{ dictionary = "ids", probability = 0.5 }}
"path.home" = {{ dictionary = "homes", probability = 0.9 }}
"header.If-Match" = {{ dictionary = "etags", probability = 0.7 }}

[[operations]]
include-path = "{config}"
include-method = "PUT"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "412", "422"]
checks.negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "406", "412", "415", "422", "428"]
"""


def send_requests(
    url: str, token: str, folder: Path, *, ids: Sequence[str], examples: int, cases: int, homes: Sequence[str] = (), phases: str = PHASES
) -> dict[str, int]:
    """Sends at least so many requests, none of which may be answered otherwise than the document says; the accepted ones by operation.

    Args:
        url: of the server.
        token: of the server.
        folder: for settings and report.
        ids: ids that are used in half of the paths.
        examples: requests of each operation that are made up.
        cases: least number of all requests.
        homes: names that are used in most paths of a server for many homes.
        phases: ways in which schemathesis makes requests.
    """
    config = f"/api/ml/retrain/{'homes/{home}/' if homes else ''}config"
    settings = SETTINGS.format(ids=json.dumps(list(ids)), homes=json.dumps(list(homes) or ["none"]), config=config)
    (folder / "schemathesis.toml").write_text(settings, encoding="utf-8")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", folder / "schemathesis.toml"),
        *("run", f"{url}/api/ml/retrain/openapi.json", "--header", f"Authorization: Bearer {token}", "--checks", "all"),
        *("--phases", phases, "--max-examples", str(examples), "--seed", SEED, "--continue-on-failure"),
        *("--request-timeout", "60", "--report-json-path", folder / "report.json"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "taskclf_dagster_tests.web.api.openapi_formats", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    counts = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counts is not None, done.stdout[-2_000:]
    assert counts[1] == counts[2]
    assert int(counts[1]) >= cases
    rates = json.loads((folder / "report.json").read_text(encoding="utf-8"))["valid_rates"]
    return {name: sum(phase["accepted"] for phase in phases.values()) for name, phases in rates.items()}
