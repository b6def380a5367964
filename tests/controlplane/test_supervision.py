from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from controlplane.supervision import programs


class EnvironmentTests:
    @pytest.mark.parametrize("name", ["envoy", "valkey"])
    def test_what_needs_no_database_does_not_learn_its_password(
        self, name: str, settings: Any
    ) -> None:
        settings.REDIS_URL = ""  # the suite itself may run on a Redis
        found = {program.name: program.command for program in programs(Path("bootstrap.json"))}
        start = next(n for n, word in enumerate(found[name]) if Path(word).name.startswith(name))
        secret = {"DATABASE_URL": "postgres://u:pass", "REDIS_URL": "rediss://pass", "KEPT": "yes"}
        done = subprocess.run(
            [*found[name][:start], "/usr/bin/env"],
            env=secret,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "KEPT=yes\n"
