"""Two public conformance suites, run from outside against a server of this test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.cast import Cast
from tests.sso.scim.support import USER, Directory, make_directory

PROGRAMS = Path(sys.executable).parent
# What scim-sanity makes people of, whatever the server asks for.
DOMAIN = "example.com"
TIMEOUT = 240

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def directory(live_server: LiveServer, settings: Settings, cast: Cast) -> Directory:
    """A directory whose addresses lead to the server of this test."""
    settings.TAMARACK_PUBLIC_URL = live_server.url
    return make_directory(cast.organization, domains=(DOMAIN,))


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def test_scim_sanity_complains_of_nothing_but_that_members_have_to_exist(
    live_server: LiveServer, directory: Directory
) -> None:
    done = run(
        *(PROGRAMS / "scim-sanity", "probe", f"{live_server.url}{directory.path}"),
        *("--token", directory.token, "--i-accept-side-effects", "--json-output"),
    )
    found = json.loads(done.stdout)
    passed = [each["name"] for each in found["results"] if each["status"] == "pass"]
    wrong = [each["name"] for each in found["results"] if each["status"] in {"fail", "error"}]
    # It adds a member of the id "fake-member-id" and wants that accepted. Here a group has people
    # who are there, and a directory that names others learns of it.
    assert wrong == ["PATCH /Groups/{id} add member"], done.stdout
    assert len(passed) >= 27


def test_scim2_tester_finds_nothing_to_complain_of(
    live_server: LiveServer, directory: Directory, tmp_path: Path
) -> None:
    # The tester fills what it makes with random text, and userName has to be an address in a
    # domain of the organization. It chooses among canonical values where a schema has some, so it
    # is given our schemas with such addresses in them.
    schemas = directory.get("/Schemas").json()["Resources"]
    [user] = [schema for schema in schemas if schema["id"] == USER]
    [attribute] = [each for each in user["attributes"] if each["name"] == "userName"]
    attribute["canonicalValues"] = [f"person-{number}@{DOMAIN}" for number in range(5000)]
    path = tmp_path / "schemas.json"
    path.write_text(json.dumps(schemas))
    done = run(
        *(PROGRAMS / "scim2", "--url", f"{live_server.url}{directory.path}"),
        *("--schemas", path, "test", "--verbose"),
        SCIM_CLI_HEADERS=f"Authorization: Bearer {directory.token}",
    )
    assert done.returncode == 0, "\n".join(
        line for line in done.stdout.splitlines() if not line.startswith("SUCCESS")
    )
    assert done.stdout.count("SUCCESS") >= 125
