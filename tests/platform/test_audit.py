"""The audit trail of a whole platform: sealed, sent and exported while it runs."""

from __future__ import annotations

import io
import json
import ssl
from typing import Any

import httpx
import pytest

from audit.verification import verify
from tests.audit.receivers import http_receiver
from tests.platform.support import new_instance, wait_until

pytestmark = [pytest.mark.instance, pytest.mark.slow]

MAKE_TOKEN = """
from orgs.models import Organization
from tests.factories import make_service_account
print("token:" + make_service_account(Organization.objects.get())[1])
"""


def test_what_happens_is_sealed_sent_and_verified_offline(tmp_path: Any) -> None:
    with (
        http_receiver() as hook,
        new_instance(TAMARACK_ALLOW_PRIVATE_TARGETS="true") as instance,
    ):
        instance.start()
        instance.owner()
        done = instance.manage("shell", "--no-imports", "-c", MAKE_TOKEN)
        assert done.returncode == 0, done.stderr
        token = done.stdout.split("token:")[1].strip()
        client = httpx.Client(
            base_url=f"{instance.gateway}/admin/audit/",
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=instance.ca_file),
            timeout=30,
        )
        with client:
            made = client.post(
                "streams",
                json={
                    "name": "SIEM",
                    "kind": "webhook",
                    "config": {"url": hook.url},
                    "from_seq": 0,
                },
            )
            assert made.status_code == 201, made.text

            def everything_arrived() -> bool:
                received = [json.loads(request.body)["data"] for request in hook.received]
                types = [item["event"]["type"] for data in received for item in data["events"]]
                return "audit_stream.created" in types

            wait_until(everything_arrived, "the stream's own creation at the receiver", 60)
            batches = [json.loads(request.body)["data"] for request in hook.received]
            numbers = [item["seq"] for data in batches for item in data["events"]]
            assert numbers == list(range(len(numbers)))
            kept = client.get("checkpoint").json()
            export = client.get("export")
            assert export.status_code == 200, export.text
        found = verify(
            io.BytesIO(export.content),
            public_key=kept["public_key"],
            checkpoint=batches[0]["checkpoint"],
        )
        assert found.end >= len(numbers)
        file = tmp_path / "audit.jsonl"
        file.write_bytes(export.content)
        instance.stop()
        checked = instance.manage("audit_verify", str(file), "--public-key", kept["public_key"])
        assert checked.returncode == 0, checked.stderr
