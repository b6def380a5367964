"""What a directory keeps here by SCIM 2.0 (RFC 7643, RFC 7644)."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Lower

from orgs.models import Group, User
from sso.models.connections import Connection


class ScimToken(models.Model):
    """A bearer token of a connection's directory: `tmrk_scim_<lookup 10>_<secret 43><checksum 6>`.

    At most two at once, so that it can be exchanged without a gap.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="scim_tokens")
    lookup = models.CharField(max_length=10, unique=True)
    # SHA-256 of the secret in hex; it has 256 random bits.
    secret_hash = models.CharField(max_length=64)
    created_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    # None: never.
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("created_at", "id")

    def __str__(self) -> str:
        return self.lookup


class ScimUser(models.Model):
    """A person as the directory knows them."""

    # What SCIM calls `id`; our own id of the person stays ours.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="scim_users")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    user_name = models.CharField(max_length=254)
    external_id = models.CharField(max_length=255, blank=True)
    active = models.BooleanField(default=True)
    # The rest of the resource as it was sent: names, titles, roles, extensions.
    attributes = models.JSONField(default=dict)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                "connection", Lower("user_name"), name="sso_scimuser_connection_user_name_uniq"
            ),
            models.UniqueConstraint(
                fields=["connection", "user"], name="sso_scimuser_connection_user_uniq"
            ),
            models.UniqueConstraint(
                fields=["connection", "external_id"],
                condition=~models.Q(external_id=""),
                name="sso_scimuser_connection_external_id_uniq",
            ),
        )

    def __str__(self) -> str:
        return self.user_name


class ScimGroup(models.Model):
    """A group as the directory knows it; its name and members are those of our group."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="scim_groups")
    group = models.OneToOneField(Group, on_delete=models.CASCADE, related_name="scim_group")
    external_id = models.CharField(max_length=255, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("created_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["connection", "external_id"],
                condition=~models.Q(external_id=""),
                name="sso_scimgroup_connection_external_id_uniq",
            ),
        )

    def __str__(self) -> str:
        return str(self.group)
