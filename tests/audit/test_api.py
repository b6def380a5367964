"""`/admin/audit` over HTTP, with real access tokens and sessions."""

from __future__ import annotations

import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from audit import merkle, notes
from audit.canonical import canonical
from audit.events import EventType
from audit.models import AuditEvent, Log, Stream
from audit.sealing import seal_all
from audit.services import record
from audit.signing import verifier_of
from audit.streams.delivery import deliver
from audit.verification import verify
from orgs.models import Organization
from orgs.permissions import Role
from orgs.services import audit as services
from tests.audit.receivers import HttpReceiver, http_receiver
from tests.audit.support import ACTOR
from tests.cast import Cast
from tests.factories import make_service_account
from tests.pages import Browser

HOOK = {"name": "SIEM", "kind": "webhook", "config": {"url": "https://siem.example.com/in/tok3n"}}
READS = (
    "events",
    "checkpoint",
    "proof?seq=0",
    "consistency?from=1",
    "export",
    "retention",
    "streams",
)

BAD_FILTERS: list[str] = [
    "type=",
    "type=" + "x" * 65,
    "q=" + "x" * 201,
    "q=%00",
    "outcome=maybe",
    "decision_id=7",
    "since=yesterday",
    "since=0001-01-01T00:00:00%2B23:00",
    "until=9999-12-31T23:59:59-23:00",
    "since=2026-13-01T00:00:00Z",
    "colour=red",
    "limit=0",
    "limit=101",
    "paginationToken=x",
    "type=a&type=b",
]

NOT_THERE: list[str] = [
    "checkpoint?size=100000",
    "checkpoint?size=-1",
    "checkpoint?size=x",
    f"checkpoint?size={2**63}",
    "checkpoint?size=" + "9" * 30,
    f"checkpoint?size={2**63 - 1}",
    "proof",
    "proof?seq=100000",
    f"proof?seq={2**63 - 1}",
    "proof?seq=0&size=0",
    "proof?seq=0&size=100000",
    "consistency",
    "consistency?from=2&to=1",
    "consistency?from=100000",
    "export?from_seq=100000",
    "export?from_seq=2&end_seq=1",
    "export?witness_size=100000",
    "export?from_seq=0&since=2026-01-01T00:00:00Z",
]

BAD_DAYS: list[object] = [29, 3651, 0, -1, 2**70, "90", 90.5, True, None, []]

BAD_STREAMS: list[dict[str, object]] = [
    {"name": ""},
    {"name": "x" * 81},
    {"name": "a\nb"},
    {"name": "a\0"},
    {"name": 7},
    {"kind": "carrier pigeon"},
    {"kind": None},
    {"config": {}},
    {"config": []},
    {"config": {"url": "http://siem.example.com/"}},
    {"config": {"url": "https://127.0.0.1/"}},
    {"config": {"url": "https://siem.example.com/", "verify": False}},
    {"config": {"url": {"deep": [1]}}},
    {"secret": "mine"},
    {"from_seq": 100_000},
    {"from_seq": -1},
    {"from_seq": 2**70},
    {"colour": "red"},
]


class Caller:
    """Requests of one service account."""

    def __init__(self, organization: Organization, *roles: Role) -> None:
        self.token = make_service_account(organization, roles)[1]
        self.client = Client(headers={"authorization": f"Bearer {self.token}"})

    def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded body of a request under /admin/audit/."""
        self.answer = self.client.generic(
            method,
            f"/admin/audit/{path}",
            b"" if body is None else json.dumps(body),
            content_type="application/json",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        content = self.answer.getvalue()
        is_json = "json" in self.answer.get("Content-Type", "") and content
        if "ndjson" in self.answer.get("Content-Type", ""):
            return self.answer.status_code, content
        return self.answer.status_code, json.loads(content) if is_json else None

    def get(self, path: str) -> Any:
        """The body of an answer that has to be 200."""
        status, body = self.call("GET", path)
        assert status == 200, body
        return body


@pytest.fixture
def owner(cast: Cast) -> Caller:
    """A service account that owns the cast's organization; everything so far is sealed."""
    found = Caller(cast.organization, Role.ORG_OWNER)
    seal_all()
    return found


@pytest.fixture
def outsider(cast: Cast) -> Caller:
    """One that owns another organization."""
    return Caller(cast.other_organization, Role.ORG_OWNER)


def make(cast: Cast, **changed: Any) -> AuditEvent:
    """An event of the cast's organization."""
    return record(
        **{
            "event": EventType.PROJECT_UPDATED,
            "actor": ACTOR,
            "organization_id": cast.organization.pk,
            "resource": ("project", uuid.uuid4(), "Needle in 100% hay_stack"),
            **changed,
        }
    )


@pytest.mark.django_db
class AccessTests:
    def test_without_a_credential_it_is_401(self) -> None:
        for path in READS:
            assert Client().get(f"/admin/audit/{path}").status_code == 401

    @pytest.mark.parametrize("role", [Role.ORG_MEMBER, Role.ORG_MANAGER, Role.ORG_BILLING_ADMIN])
    def test_a_member_without_the_permission_gets_403(self, cast: Cast, role: Role) -> None:
        member = Caller(cast.organization, role)
        for path in READS:
            status, body = member.call("GET", path)
            assert (status, body["error"]["code"]) == (403, "PERMISSION_DENIED"), path

    def test_a_member_without_the_permission_changes_nothing(
        self, cast: Cast, owner: Caller
    ) -> None:
        changes: list[tuple[str, str, object]] = [
            ("PATCH", "retention", {"days": 90}),
            ("POST", "streams", HOOK),
            ("PATCH", "streams/{id}", {"enabled": False}),
            ("DELETE", "streams/{id}", None),
            ("POST", "streams/{id}/secret", None),
        ]
        _, made = owner.call("POST", "streams", HOOK)
        before = list(Stream.objects.values())
        member = Caller(cast.organization, Role.ORG_MEMBER)
        for method, path, body in changes:
            assert member.call(method, path.format(id=made["id"]), body)[0] == 403
        assert list(Stream.objects.values()) == before
        assert Log.objects.get(pk=cast.organization.pk).retention_days == 365

    def test_another_organizations_event_is_404(
        self, cast: Cast, owner: Caller, outsider: Caller
    ) -> None:
        event = make(cast)
        assert owner.call("GET", f"events/{event.pk}")[0] == 200
        assert outsider.call("GET", f"events/{event.pk}")[0] == 404
        assert owner.call("GET", f"events/{uuid.uuid4()}")[0] == 404

    def test_another_organizations_stream_is_404(self, owner: Caller, outsider: Caller) -> None:
        _, made = owner.call("POST", "streams", HOOK)
        path = f"streams/{made['id']}"
        for method, suffix, body in (
            ("GET", "", None),
            ("PATCH", "", {"enabled": False}),
            ("DELETE", "", None),
            ("POST", "/secret", None),
        ):
            assert outsider.call(method, path + suffix, body)[0] == 404
        assert Stream.objects.get(pk=made["id"]).is_enabled

    def test_lists_hold_nothing_of_another_organization(
        self, cast: Cast, owner: Caller, outsider: Caller
    ) -> None:
        owner.call("POST", "streams", HOOK)
        assert outsider.get("streams")["data"] == []
        ids = {event["organization_id"] for event in outsider.get("events")["data"]}
        assert ids == {str(cast.other_organization.pk)}

    def test_a_person_reads_at_any_time_and_changes_after_a_fresh_proof_only(
        self, cast: Cast, settings: Any
    ) -> None:
        browser = Browser(cast.alice)
        browser.prove(cast.alice, seconds_ago=settings.TAMARACK_REAUTH_SECONDS + 60)

        def change() -> int:
            return browser.patch(
                "/admin/audit/retention", {"days": 400}, content_type="application/json"
            ).status_code

        assert browser.get("/admin/audit/events").status_code == 200
        assert change() == 403
        browser.prove(cast.alice, seconds_ago=0)
        assert change() == 200


@pytest.mark.django_db
class EventsTests:
    def test_are_listed_newest_first_with_their_place_in_the_log(
        self, cast: Cast, owner: Caller
    ) -> None:
        newest = make(cast)
        data = owner.get("events")["data"]
        times = [event["time"] for event in data]
        assert times == sorted(times, reverse=True)
        assert (data[0]["id"], data[0]["seq"]) == (str(newest.pk), None)
        sealed = [event for event in data if event["seq"] is not None]
        assert [event["seq"] for event in sealed] == list(range(len(sealed)))[::-1]

    def test_an_event_without_its_place_is_the_document_that_was_hashed(
        self, cast: Cast, owner: Caller
    ) -> None:
        event = make(cast, detail={"name": "ü", "token": "hidden"}, changes={"days": (1, 2)})
        seal_all()
        found = owner.get(f"events/{event.pk}")
        assert found["detail"] == {"name": "ü", "token": "(not public)"}
        assert found["changes"] == {"days": {"before": 1, "after": 2}}
        leaf = found.pop("leaf_hash")
        del found["seq"], found["chain_hash"]
        assert merkle.leaf_hash(canonical(found)).hex() == leaf

    def test_every_filter_narrows_the_list(self, cast: Cast, owner: Caller) -> None:
        decision = uuid.uuid4()
        event = make(cast, decision_id=decision, outcome=AuditEvent.Outcome.FAILURE)
        for query in (
            "type=project.updated",
            "actor_id=7",
            f"resource_kind=project&resource_id={event.resource_id}",
            "outcome=failure",
            "request_id=request-1",
            f"decision_id={decision}",
            "q=needle",
            "q=ANN@example",
            "q=100%25%20hay_",
            f"since={event.time.isoformat().replace('+', '%2B')}",
        ):
            found = owner.get(f"events?{query}")["data"]
            assert [each["id"] for each in found] == [str(event.pk)], query
        for query in ("type=project.deleted", "q=h%25y", "q=100_", "outcome=success&actor_id=7"):
            assert owner.get(f"events?{query}")["data"] == [], query
        until = event.time.isoformat().replace("+", "%2B")
        assert str(event.pk) not in {e["id"] for e in owner.get(f"events?until={until}")["data"]}

    def test_pages_hold_every_event_once(self, cast: Cast, owner: Caller) -> None:
        for _ in range(7):
            make(cast)
        seen: list[str] = []
        path = "events?limit=3"
        while True:
            page = owner.get(path)
            seen += [event["id"] for event in page["data"]]
            if page["pagination"] is None:
                break
            path = f"events?limit=3&paginationToken={page['pagination']['next']}"
        events = AuditEvent.objects.filter(organization_id=cast.organization.pk)
        assert sorted(seen) == sorted(str(pk) for pk in events.values_list("pk", flat=True))

    def test_takes_as_many_queries_for_many_events_as_for_few(
        self, cast: Cast, owner: Caller, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with CaptureQueriesContext(connection) as few:
            owner.get("events")
        for _ in range(60):
            make(cast)
        seal_all()
        with django_assert_num_queries(len(few)):
            assert len(owner.get("events")["data"]) > 60

    def test_a_filter_that_breaks_its_rule_is_400(self, owner: Caller) -> None:
        for query in BAD_FILTERS:
            status, body = owner.call("GET", f"events?{query}")
            assert status == 400, (query, body)
            assert body["error"]["message"]


@pytest.mark.django_db
class ProofTests:
    def test_the_checkpoint_is_signed_and_kept_ones_can_be_had_again(
        self, cast: Cast, owner: Caller
    ) -> None:
        first = owner.get("checkpoint")
        verifier = verifier_of(cast.organization.pk)
        tree = notes.read(first["checkpoint"], verifier)
        assert (tree.size, tree.root.hex()) == (first["size"], first["root"])
        assert first["public_key"] == str(verifier)
        make(cast)
        seal_all()
        assert owner.get("checkpoint")["size"] > first["size"]
        assert owner.get(f"checkpoint?size={first['size']}") == first

    def test_proofs_hold_against_the_signed_checkpoint(self, cast: Cast, owner: Caller) -> None:
        old = owner.get("checkpoint")
        event = make(cast)
        seal_all()
        new = owner.get("checkpoint")
        root = bytes.fromhex(new["root"])
        seq = owner.get(f"events/{event.pk}")["seq"]
        proof = owner.get(f"proof?seq={seq}")
        assert merkle.verify_inclusion(
            bytes.fromhex(proof["leaf_hash"]),
            seq,
            new["size"],
            [bytes.fromhex(hashed) for hashed in proof["hashes"]],
            root,
        )
        grown = owner.get(f"consistency?from={old['size']}&to={new['size']}")
        assert merkle.verify_consistency(
            old["size"],
            new["size"],
            [bytes.fromhex(hashed) for hashed in grown["hashes"]],
            bytes.fromhex(old["root"]),
            root,
        )
        assert (grown["from_root"], grown["root"]) == (old["root"], new["root"])

    def test_what_the_log_does_not_have_is_400_and_says_what_it_has(self, owner: Caller) -> None:
        for path in NOT_THERE:
            status, body = owner.call("GET", path)
            assert status == 400, (path, body)
            assert body["error"]["code"] in {"OUT_OF_RANGE", "INVALID_ARGUMENT"}


@pytest.mark.django_db
class ExportTests:
    def test_is_verified_offline_and_on_record(self, cast: Cast, owner: Caller) -> None:
        size = owner.get("checkpoint")["size"]
        content = owner.get("export")
        found = verify(io.BytesIO(content), public_key=str(verifier_of(cast.organization.pk)))
        assert (found.start, found.end) == (0, size)
        (event,) = AuditEvent.objects.filter(type="audit.exported")
        assert event.organization_id == cast.organization.pk
        assert event.detail == {"from_seq": 0, "end_seq": size}
        assert (event.actor_kind, event.permission) == ("service_account", "audit:read")

    def test_a_range_and_a_kept_checkpoint(self, cast: Cast, owner: Caller) -> None:
        kept = owner.get("checkpoint?size=2")["checkpoint"]
        content = owner.get("export?from_seq=3&end_seq=5&witness_size=2")
        found = verify(io.BytesIO(content), checkpoint=kept)
        assert (found.start, found.end) == (3, 5)

    def test_a_range_of_time_is_whole_and_verified(self, cast: Cast, owner: Caller) -> None:
        size = owner.get("checkpoint")["size"]
        old = make(cast)
        QuerySet(AuditEvent).filter(pk=old.pk).update(time=timezone.now() - timedelta(days=3))
        seal_all()
        make(cast)
        seal_all()
        until = (timezone.now() - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = verify(io.BytesIO(owner.get(f"export?until={until}")))
        assert (found.start, found.end) == (size, size + 1)
        assert verify(io.BytesIO(owner.get("export?until=2001-01-01T00:00:00Z"))).end == 0

    def test_a_plan_without_it_is_403(self, cast: Cast, owner: Caller) -> None:
        Organization.objects.filter(pk=cast.organization.pk).update(plan="Standard")
        for method, path, body in (("GET", "export", None), ("POST", "streams", HOOK)):
            status, answer = owner.call(method, path, body)
            assert (status, answer["error"]["code"]) == (403, "PERMISSION_DENIED")
            assert "Enterprise plan" in answer["error"]["message"]


@pytest.mark.django_db
class RetentionTests:
    def test_is_365_days_until_it_is_changed_and_the_change_is_on_record(
        self, cast: Cast, owner: Caller
    ) -> None:
        assert owner.get("retention") == {"days": 365, "bodies_from_seq": 0}
        assert owner.call("PATCH", "retention", {"days": 90}, if_match='"365"')[0] == 200
        assert owner.get("retention")["days"] == 90
        (event,) = AuditEvent.objects.filter(type="audit_retention.updated")
        assert event.changes == {"days": {"before": 365, "after": 90}}

    def test_the_same_days_again_change_nothing(self, owner: Caller) -> None:
        assert owner.call("PATCH", "retention", {"days": 365})[0] == 200
        assert not AuditEvent.objects.filter(type="audit_retention.updated").exists()

    def test_a_change_that_somebody_else_made_meanwhile_is_412(self, owner: Caller) -> None:
        owner.call("PATCH", "retention", {"days": 90})
        assert owner.call("PATCH", "retention", {"days": 60}, if_match='"365"')[0] == 412

    def test_days_outside_30_to_3650_are_400(self, owner: Caller) -> None:
        for days in BAD_DAYS:
            assert owner.call("PATCH", "retention", {"days": days})[0] == 400, days
        assert owner.get("retention")["days"] == 365


@pytest.mark.django_db
class StreamTests:
    def test_is_made_with_a_secret_that_is_told_once(self, cast: Cast, owner: Caller) -> None:
        status, made = owner.call("POST", "streams", HOOK)
        assert status == 201
        assert made["secret"].startswith("whsec_")
        assert (made["state"], made["enabled"]) == ("active", True)
        assert owner.answer["ETag"] == '"1"'
        assert made["next_seq"] == owner.get("checkpoint")["size"]
        shown = owner.get(f"streams/{made['id']}")
        assert "secret" not in shown
        assert owner.get("streams")["data"] == [shown]
        stored = str(list(Stream.objects.values()))
        assert made["secret"] not in stored

    def test_the_secret_and_what_an_address_may_hide_are_in_no_event_and_no_answer(
        self, owner: Caller
    ) -> None:
        _, made = owner.call("POST", "streams", HOOK)
        owner.call("PATCH", f"streams/{made['id']}", {"config": {"url": "https://b.example/tok3n"}})
        _, again = owner.call("POST", f"streams/{made['id']}/secret")
        kept = str(list(AuditEvent.objects.values()))
        for secret in (made["secret"], again["secret"], "tok3n"):
            assert secret not in kept
        assert "tok3n" not in str(made) + str(again)
        changed = AuditEvent.objects.get(type="audit_stream.updated", changes__has_key="host")
        assert changed.changes["host"] == {"before": "siem.example.com", "after": "b.example"}

    def test_delivers_what_it_was_made_for(self, owner: Caller, settings: Any) -> None:
        settings.TAMARACK_ALLOW_PRIVATE_TARGETS = True
        with http_receiver() as hook:
            body = {**HOOK, "config": {"url": hook.url}, "from_seq": 0}
            _, made = owner.call("POST", "streams", body)
            size = owner.get("checkpoint")["size"]
            assert deliver(uuid.UUID(made["id"])) == size
            shown = owner.get(f"streams/{made['id']}")
            assert (shown["next_seq"], shown["state"]) == (size, "active")
            assert datetime.fromisoformat(shown["last_delivered_at"]) <= datetime.now(UTC)
            self.check_failure_is_shown(owner, hook, made["id"])

    def check_failure_is_shown(self, owner: Caller, hook: HttpReceiver, pk: str) -> None:
        """A failing stream says why, and a change has it tried again at once."""
        seal_all()
        hook.answer = lambda _: (503, {}, b"")
        assert deliver(uuid.UUID(pk)) == 0
        shown = owner.get(f"streams/{pk}")
        assert (shown["state"], shown["failures"]) == ("failing", 1)
        assert shown["last_error"] == "The webhook answered 503."
        hook.answer = lambda _: (200, {}, b"")
        assert deliver(uuid.UUID(pk)) == 0
        owner.call("PATCH", f"streams/{pk}", {"name": "Renamed"})
        assert deliver(uuid.UUID(pk)) > 0
        assert owner.get(f"streams/{pk}")["state"] == "active"

    def test_is_paused_and_goes_on_where_it_stopped(self, cast: Cast, owner: Caller) -> None:
        _, made = owner.call("POST", "streams", HOOK)
        path = f"streams/{made['id']}"
        _, paused = owner.call("PATCH", path, {"enabled": False})
        assert (paused["state"], paused["version"]) == ("paused", 2)
        make(cast)
        seal_all()
        _, resumed = owner.call("PATCH", path, {"enabled": True})
        assert (resumed["state"], resumed["next_seq"]) == ("active", made["next_seq"])

    def test_a_change_that_somebody_else_made_meanwhile_is_412(self, owner: Caller) -> None:
        _, made = owner.call("POST", "streams", HOOK)
        path = f"streams/{made['id']}"
        owner.call("PATCH", path, {"name": "Other"})
        for method, suffix, body in (
            ("PATCH", "", {"enabled": False}),
            ("DELETE", "", None),
            ("POST", "/secret", None),
        ):
            assert owner.call(method, path + suffix, body, if_match='"1"')[0] == 412
        assert owner.call("DELETE", path, None, if_match='"2"')[0] == 202

    def test_a_deleted_one_is_gone_and_on_record(self, owner: Caller) -> None:
        _, made = owner.call("POST", "streams", HOOK)
        path = f"streams/{made['id']}"
        assert owner.call("DELETE", path)[0] == 202
        assert owner.call("GET", path)[0] == 404
        assert owner.call("DELETE", path)[0] == 404
        (event,) = AuditEvent.objects.filter(type="audit_stream.deleted")
        assert (event.resource_label, event.detail["host"]) == ("SIEM", "siem.example.com")

    def test_a_name_that_is_taken_is_409(self, owner: Caller, outsider: Caller) -> None:
        owner.call("POST", "streams", HOOK)
        assert owner.call("POST", "streams", HOOK)[0] == 409
        _, other = owner.call("POST", "streams", {**HOOK, "name": "Other"})
        assert owner.call("PATCH", f"streams/{other['id']}", {"name": "SIEM"})[0] == 409
        assert outsider.call("POST", "streams", HOOK)[0] == 201

    def test_one_beyond_the_most_is_403(
        self, owner: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(services, "MAX_STREAMS", 2)
        for number in range(2):
            assert owner.call("POST", "streams", {**HOOK, "name": str(number)})[0] == 201
        status, body = owner.call("POST", "streams", HOOK)
        assert (status, body["error"]["code"]) == (403, "QUOTA_EXCEEDED")

    def test_only_a_webhooks_secret_is_rotated_here(self, owner: Caller) -> None:
        body = {"name": "Logs", "kind": "syslog", "config": {"host": "logs.example.com"}}
        _, made = owner.call("POST", "streams", body)
        assert made["secret"] == ""
        assert owner.call("POST", f"streams/{made['id']}/secret")[0] == 412
        assert owner.call("PATCH", f"streams/{made['id']}", {"secret": "mine"})[0] == 400

    def test_a_storage_key_is_replaced_and_never_shown(self, owner: Caller) -> None:
        config = {"endpoint": "https://s3.example.com", "bucket": "log", "access_key_id": "AK"}
        body = {"name": "S3", "kind": "s3", "config": config, "secret": "first-key"}
        _, made = owner.call("POST", "streams", body)
        assert made["secret"] == ""
        before = Stream.objects.get(pk=made["id"]).wrapped_secret
        status, changed = owner.call("PATCH", f"streams/{made['id']}", {"secret": "second-key"})
        assert status == 200
        assert Stream.objects.get(pk=made["id"]).wrapped_secret != before
        assert "-key" not in str(changed) + str(made) + str(list(AuditEvent.objects.values()))

    def test_bad_input_is_400_with_a_reason(self, owner: Caller) -> None:
        for changed in BAD_STREAMS:
            status, body = owner.call("POST", "streams", {**HOOK, **changed})
            assert status == 400, (changed, body)
            assert body["error"]["message"]
        assert not Stream.objects.exists()
