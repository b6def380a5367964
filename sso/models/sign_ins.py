"""Sign-ins under way, those that were, and the sessions that came of them."""

from __future__ import annotations

import uuid

from django.db import models

from orgs.models import User
from sso.models.connections import Connection


class Purpose(models.TextChoices):
    """What somebody is sent to the identity provider for."""

    SIGN_IN = "sign_in", "sign in"
    ENTER = "enter", "enter the organization"
    """Signed in already: let into one more organization, or proving anew who is there."""
    TEST = "test", "test"
    """An owner tries the connection; nobody is signed in."""


class SignInRequest(models.Model):
    """Somebody who was sent to the identity provider and has not come back for good.

    Steps: made when the browser leaves; `answered_at` when the IdP's response arrived and was
    believed; `finished_at` when the same browser came to fetch the result. Each step once.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="sign_in_requests"
    )
    # ID of the AuthnRequest, `state` of OIDC; empty where the IdP began.
    request_id = models.CharField(max_length=64, blank=True)
    purpose = models.CharField(max_length=16, choices=Purpose)
    # Who tests, or enters; None: nobody is signed in.
    user = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    # Whether the IdP was asked to have the person prove anew who they are.
    is_forced = models.BooleanField(default=False)
    # SHA-256 in hex of the secret in the browser's cookie; empty where the IdP began.
    browser_hash = models.CharField(max_length=64, blank=True)
    # SHA-256 in hex of the one-time handle that leads from the response to the result.
    handle_hash = models.CharField(max_length=64, blank=True)
    # A path of ours to go to afterwards.
    next_path = models.CharField(max_length=2048, blank=True)
    # `config_version` of the connection when it began.
    config_version = models.PositiveIntegerField()
    # What the response proved (`sso.identities.VerifiedAssertion` as JSON), or `{"attempt": id}` of
    # a test that was refused; gone with the result.
    answer = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "id")
        indexes = (models.Index(fields=["expires_at"], name="sso_request_expires"),)
        constraints = (
            models.UniqueConstraint(
                fields=["request_id"],
                condition=~models.Q(request_id=""),
                name="sso_signinrequest_request_id_uniq",
            ),
            models.UniqueConstraint(
                fields=["handle_hash"],
                condition=~models.Q(handle_hash=""),
                name="sso_signinrequest_handle_hash_uniq",
            ),
        )

    def __str__(self) -> str:
        return f"{self.purpose} by {self.connection_id}"


class UsedAssertion(models.Model):
    """An assertion that was believed once. The insert that fails is the refusal of a replay."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    # SHA-256 in hex of the assertion's ID.
    assertion_hash = models.CharField(max_length=64)
    # From then on the assertion is refused for its age.
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["connection", "assertion_hash"],
                name="sso_usedassertion_connection_assertion_hash_uniq",
            ),
        )

    def __str__(self) -> str:
        return self.assertion_hash[:16]


class Attempt(models.Model):
    """One line of a connection's sign-in log."""

    # Shown on the refusal page, to find the line by.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="attempts")
    purpose = models.CharField(max_length=16, choices=Purpose)
    # `ok`, or the public code of the refusal (`sso.errors.Code`).
    code = models.CharField(max_length=40)
    # The whole reason, for the organization's owners.
    reason = models.CharField(max_length=1000, blank=True)
    # As the identity provider says, where it was believed.
    email = models.CharField(max_length=254, blank=True)
    uid = models.CharField(max_length=256, blank=True)
    user = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Attribute names with how many values; the values themselves of a test only.
    attributes = models.JSONField(default=dict, blank=True)
    ip = models.CharField(max_length=45, blank=True)
    # Of the HTTP request, as in logs and the audit trail.
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (models.Index(fields=["connection", "-created_at"], name="sso_attempt_time"),)

    def __str__(self) -> str:
        return f"{self.code} at {self.connection_id}"


class SsoSession(models.Model):
    """A session of ours that an identity provider opened, to be found when it logs somebody out."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="sessions")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sso_sessions")
    session_key = models.CharField(max_length=40)
    name_id = models.CharField(max_length=256)
    name_id_format = models.CharField(max_length=256, blank=True)
    session_index = models.CharField(max_length=256, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = (models.Index(fields=["connection", "name_id"], name="sso_session_name_id"),)
        constraints = (
            models.UniqueConstraint(
                fields=["connection", "session_key"],
                name="sso_ssosession_connection_session_key_uniq",
            ),
        )

    def __str__(self) -> str:
        return f"session of {self.user_id} by {self.connection_id}"
