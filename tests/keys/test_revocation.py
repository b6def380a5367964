from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEvent
from keys.models import ApiKey
from keys.selectors.api_keys import verify_key
from keys.services.revocation import Filter, revoke_api_keys
from orgs.errors import InvalidArgument, NotFound, PermissionDenied
from tests.cast import Cast
from tests.factories import SYSTEM, make_key, make_project


class RevokeApiKeysTests:
    @pytest.mark.parametrize(
        ("wanted", "names"),
        [
            ({"created_before": timedelta(days=5)}, {"ci-old", "app-old"}),
            ({"unused_since": timedelta(days=1)}, {"ci-new", "app-old"}),
            ({"created_by": "robot"}, {"app-old"}),
            ({"name_prefix": "ci-"}, {"ci-old", "ci-new"}),
            ({"name_prefix": "CI-"}, set()),
            ({"name_prefix": "\0"}, set()),
            ({"name_prefix": "ci-", "created_before": timedelta(days=5)}, {"ci-old"}),
        ],
        ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
    )
    def test_every_filter_finds_what_it_says(
        self, cast: Cast, wanted: dict[str, Any], names: set[str]
    ) -> None:
        self.make_keys(cast)
        now = timezone.now()
        times: dict[str, Any] = {
            name: now - value if isinstance(value, timedelta) else value
            for name, value in wanted.items()
        }
        preview, done = (
            revoke_api_keys(
                actor=cast.actor(cast.alice),
                project_id=cast.project.pk,
                wanted=Filter(**times),
                dry_run=dry_run,
            )
            for dry_run in (True, False)
        )
        assert {key.name for key in preview} == {key.name for key in done} == names
        left = ApiKey.objects.filter(project=cast.project, revoked_at=None)
        assert set(left.values_list("name", flat=True)) == self.everything - names

    everything = frozenset({"key", "ci-old", "ci-new", "app-old"})

    def make_keys(self, cast: Cast) -> None:
        """The cast's own key is used by the minute, made now."""
        now = timezone.now()
        old = {"created_at": now - timedelta(days=9)}
        ApiKey.objects.filter(project=cast.project).update(last_used_at=now)
        for name, fields in (
            ("ci-old", {**old, "last_used_at": now}),
            ("ci-new", {}),
            ("app-old", {**old, "created_by": "robot", "last_used_at": old["created_at"]}),
        ):
            key, _ = make_key(cast.project, name=name)
            ApiKey.objects.filter(pk=key.pk).update(**fields)

    def test_a_preview_writes_nothing(self, cast: Cast) -> None:
        events = AuditEvent.objects.count()
        found = revoke_api_keys(
            actor=SYSTEM, project_id=cast.project.pk, wanted=Filter(name_prefix="k"), dry_run=True
        )
        assert [key.name for key in found] == ["key"]
        assert AuditEvent.objects.count() == events
        assert verify_key(cast.key) is not None

    def test_one_foreign_id_and_none_is_revoked(self, cast: Cast) -> None:
        key, secret = make_key(cast.project)
        foreign, other = make_key(make_project(cast.organization))
        for bad in (foreign.pk, uuid.uuid4()):
            with pytest.raises(NotFound, match=str(bad)):
                revoke_api_keys(
                    actor=SYSTEM,
                    project_id=cast.project.pk,
                    wanted=Filter(ids=frozenset({key.pk, bad})),
                )
        assert verify_key(secret) is not None
        assert verify_key(other) is not None

    def test_what_fails_in_the_middle_revokes_none(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secrets = [make_key(cast.project, name=f"ci-{n}")[1] for n in range(3)]
        saved = AuditEvent.save

        def fails_later(event: AuditEvent, *args: Any, **kwargs: Any) -> None:
            if AuditEvent.objects.filter(type="api_key.revoked").count() == 1:
                raise OSError("no room")
            saved(event, *args, **kwargs)

        monkeypatch.setattr(AuditEvent, "save", fails_later)
        with pytest.raises(OSError, match="no room"):
            revoke_api_keys(
                actor=SYSTEM, project_id=cast.project.pk, wanted=Filter(name_prefix="ci-")
            )
        assert all(verify_key(secret) is not None for secret in secrets)

    def test_an_empty_filter_is_refused(self, cast: Cast) -> None:
        with pytest.raises(InvalidArgument, match="at least one of"):
            revoke_api_keys(actor=SYSTEM, project_id=cast.project.pk, wanted=Filter())

    def test_a_stranger_gets_404_and_a_member_403(self, cast: Cast) -> None:
        wanted = Filter(name_prefix="k")
        with pytest.raises(NotFound):
            revoke_api_keys(
                actor=cast.actor(cast.charlie), project_id=cast.project.pk, wanted=wanted
            )
        with pytest.raises(PermissionDenied, match="api_key:revoke"):
            revoke_api_keys(actor=cast.actor(cast.bob), project_id=cast.project.pk, wanted=wanted)
