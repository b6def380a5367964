"""The official clients, unchanged, with an address and a CA as their only settings.

Each old client has an environment of its own below `.cache`, made when first needed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.platform.support import Instance
from tests.platform.tools import CACHE, environment

pytestmark = [pytest.mark.instance, pytest.mark.slow, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
PYTHON_CLIENTS = ("9.1.0", "7.3.0")
TYPESCRIPT_CLIENT = "9.0.0"


@pytest.fixture(scope="session")
def secret(instance: Instance) -> str:
    return str(instance.owner()["api_key"])


def run(instance: Instance, secret: str, command: list[str], cwd: Path = HERE) -> None:
    """Run a script against the instance; it has to end with `ok`."""
    environment = {
        "PATH": os.environ["PATH"],
        "PINECONE_API_KEY": secret,
        "GATEWAY": instance.gateway,
        "CA_FILE": instance.ca_file,
        "SSL_CERT_FILE": instance.ca_file,
        "NODE_EXTRA_CA_CERTS": instance.ca_file,
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.strip().endswith("ok")


def index_name() -> str:
    return f"client-{uuid.uuid4().hex[:8]}"


def python_with(version: str) -> str:
    """An interpreter with that version of the official client."""
    folder = environment(f"pinecone-{version}", f"pinecone[grpc,asyncio]=={version}")
    return str(folder / "bin" / "python")


class PythonClientTests:
    @pytest.mark.parametrize("transport", ["rest", "grpc"])
    def test_current_client(self, instance: Instance, secret: str, transport: str) -> None:
        run(instance, secret, [sys.executable, "exercise.py", transport, index_name()])

    def test_current_asynchronous_client(self, instance: Instance, secret: str) -> None:
        run(instance, secret, [sys.executable, "exercise_async.py", index_name()])

    @pytest.mark.parametrize("transport", ["rest", "grpc"])
    @pytest.mark.parametrize("version", PYTHON_CLIENTS)
    def test_older_client(
        self, instance: Instance, secret: str, version: str, transport: str
    ) -> None:
        run(instance, secret, [python_with(version), "exercise.py", transport, index_name()])


class TypeScriptClientTests:
    def test_current_client(self, instance: Instance, secret: str) -> None:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            pytest.skip("Node.js is not installed here, so the TypeScript client can't run")
        folder = CACHE / f"typescript-{TYPESCRIPT_CLIENT}"
        folder.mkdir(parents=True, exist_ok=True)
        with (CACHE / "typescript.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "node_modules").exists():
                package = f"@pinecone-database/pinecone@{TYPESCRIPT_CLIENT}"
                subprocess.run(
                    [
                        npm,
                        "install",
                        "--silent",
                        "--no-audit",
                        "--no-fund",
                        "--prefix",
                        str(folder),
                        package,
                    ],
                    check=True,
                )
        shutil.copy(HERE / "exercise.mjs", folder / "exercise.mjs")
        run(instance, secret, [node, "exercise.mjs", index_name()], cwd=folder)
