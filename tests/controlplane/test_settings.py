"""The settings as a process reads them: a bad value stops the start and is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def check(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check` with these variables and nothing else of ours."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TAMARACK_") and name not in {"DATABASE_URL", "REDIS_URL"}
    }
    environment = inherited | {
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        "TAMARACK_HOME": str(home),
        **variables,
    }
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


class StartTests:
    def test_the_defaults_are_fine_and_nothing_is_written(self, tmp_path: Path) -> None:
        home = tmp_path / "home"
        done = check(home)
        assert done.returncode == 0, done.stderr
        assert "no issues" in done.stdout
        assert not home.exists()

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("TAMARACK_PUBLIC_URL", "http://localhost", "https://host:port"),
            ("TAMARACK_BIND", "everywhere", "not an IP address"),
            ("TAMARACK_TRUST_DOMAIN", "a/b", "letters, digits and hyphens"),
            ("TAMARACK_NODE", "node.1", "letters, digits and hyphens"),
            ("TAMARACK_ADDRESSING", "magic", "one of: port, host"),
            ("TAMARACK_INDEX_PORTS", "1-2", "range of ports"),
            ("TAMARACK_TLS_MAX", "1.1", "one of: 1.2, 1.3"),
            ("TAMARACK_PROJECT_RATE", "0", "whole number"),
            ("TAMARACK_MAX_REQUEST_BYTES", "1k", "whole number"),
            ("TAMARACK_ALLOW_SWAP", "perhaps", "yes or no"),
            ("TAMARACK_SESSION_IDLE", "1", "whole number from 120"),
            ("TAMARACK_RUN_DIR", "/" + "x" * 90, "too long for unix sockets"),
            ("TAMARACK_REAUTH_SECONDS", "30", "whole number from 60 to 3600"),
            ("TAMARACK_EMAIL_URL", "http://u:hush@h", "smtp://user:password@host:587"),
            ("TAMARACK_EMAIL_URL", "smtp://u:hush@mail.example?tls=false", "on this machine"),
            ("TAMARACK_EMAIL_FROM", "nobody", "one e-mail address"),
            ("DATABASE_URL", "mysql://u:hush@h/d", "postgres://"),
            ("DATABASE_URL", "hush:hush", "postgres://"),
        ],
    )
    def test_a_bad_value_is_named(self, tmp_path: Path, name: str, value: str, says: str) -> None:
        done = check(tmp_path, **{name: value})
        last = done.stderr.strip().splitlines()[-1]
        assert done.returncode != 0
        assert name in last
        assert says in last
        assert "hush" not in done.stderr

    def test_contradictions_are_said_together(self, tmp_path: Path) -> None:
        done = check(
            tmp_path,
            TAMARACK_INDEX_PORTS="8440-8450",
            TAMARACK_UPSTREAM_PORTS="8450-8500",
            TAMARACK_SESSION_AGE="600",
        )
        assert done.returncode != 0
        assert "TAMARACK_PUBLIC_URL and TAMARACK_INDEX_PORTS both claim port 8443" in done.stderr
        assert (
            "TAMARACK_UPSTREAM_PORTS and TAMARACK_INDEX_PORTS both claim port 8450" in done.stderr
        )
        assert "TAMARACK_SESSION_IDLE=3600 is longer" in done.stderr

    def test_a_name_that_others_resolve_makes_hosts_the_default(self, tmp_path: Path) -> None:
        done = check(
            tmp_path, TAMARACK_PUBLIC_URL="https://vectors.example.com", TAMARACK_BIND="192.0.2.1"
        )
        assert done.returncode == 0, done.stderr
        assert "no issues" in done.stdout
