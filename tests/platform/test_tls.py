"""What an auditor's scanner finds on the gateway: TLS 1.2 and two cipher suites, nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.platform.support import Instance
from tests.platform.tools import environment

pytestmark = [pytest.mark.instance, pytest.mark.slow]

SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
}
REFUSED = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_3")


def scan(instance: Instance, port: int, folder: Path) -> dict[str, Any]:
    """sslyze's findings for one port; without named scans it would find nothing and be content."""
    python = environment("sslyze-6.3.1", "sslyze==6.3.1") / "bin" / "python"
    report = folder / "report.json"
    scans = [f"--{name}" for name in ("sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3")]
    subprocess.run(
        [
            *[str(python), "-m", "sslyze", *scans, "--certinfo", "--reneg", "--heartbleed"],
            *["--certinfo_ca_file", instance.ca_file, "--mozilla_config=disable"],
            *["--json_out", str(report), f"localhost:{port}"],
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (result,) = json.loads(report.read_text())["server_scan_results"]
    assert result["scan_status"] == "COMPLETED", result
    return dict(result["scan_result"])


class ScannerTests:
    @pytest.mark.parametrize("offset", [0, 1], ids=["control plane", "index port"])
    def test_tls_1_2_with_two_aes_256_suites_alone(
        self, instance: Instance, tmp_path: Path, offset: int
    ) -> None:
        found = scan(instance, int(instance.gateway.rpartition(":")[2]) + offset, tmp_path)
        accepted = found["tls_1_2_cipher_suites"]["result"]["accepted_cipher_suites"]
        assert {suite["cipher_suite"]["name"] for suite in accepted} == SUITES
        assert {suite["cipher_suite"]["key_size"] for suite in accepted} == {256}
        for version in REFUSED:
            assert found[f"{version}_cipher_suites"]["result"]["accepted_cipher_suites"] == []
        deployments = found["certificate_info"]["result"]["certificate_deployments"]
        trusted = [
            any(path["was_validation_successful"] for path in each["path_validation_results"])
            for each in deployments
        ]
        assert trusted and all(trusted)
        assert not found["heartbleed"]["result"]["is_vulnerable_to_heartbleed"]
        assert not found["session_renegotiation"]["result"][
            "is_vulnerable_to_client_renegotiation_dos"
        ]
