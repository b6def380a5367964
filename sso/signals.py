"""What a sign-in through an identity provider leaves behind, and who leaves an organization."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.signals import user_logged_in
from django.db.models.signals import post_delete
from django.http import HttpRequest  # noqa: TID251  what allauth's signals carry

from orgs.models import Membership, User
from sso.models import BreakGlassOwner, SsoSession


def connect() -> None:
    """Listen. Called once, when the app is ready."""
    user_logged_in.connect(bound_session, dispatch_uid="sso-bound-session")
    post_delete.connect(forget_name, sender=Membership, dispatch_uid="sso-forget-name")


def forget_name(*, instance: Membership, **_: Any) -> None:
    """Who leaves an organization is not named for its emergencies when they come again."""
    BreakGlassOwner.objects.filter(
        organization_id=instance.organization_id, user_id=instance.user_id
    ).delete()


def bound_session(*, request: HttpRequest, user: User, **_: Any) -> None:
    """Bind the session that an identity provider opened to it: it ends when the identity provider
    says so, or logs the person out.

    Only here, because a second factor may come between, and the session gets another key at the
    end.
    """
    for proof in get_authentication_records(request, user):
        if proof["method"] == "sso" and proof.get("opened"):
            request.session["ends"] = proof["until"]
            remember(request, user, proof)


def remember(request: HttpRequest, user: User, proof: dict[str, Any]) -> None:
    """Note which sign-in at the identity provider the session came by, to find it at logout."""
    if not request.session.session_key:
        return
    SsoSession.objects.update_or_create(
        connection_id=proof["connection"],
        session_key=request.session.session_key,
        defaults={
            "user": user,
            "name_id": proof["name_id"],
            "name_id_format": proof["name_id_format"],
            "session_index": proof["session_index"],
            "expires_at": datetime.fromtimestamp(proof["until"], tz=UTC),
        },
    )
