"""Who may do what: roles of an organization's own, groups, role bindings, and what was denied."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models.functions import Lower

from orgs.models.organizations import Organization
from orgs.models.people import User
from orgs.permissions import ACCESS_ROLES, ORGANIZATION_ROLES, Role


class ResourceType(models.TextChoices):
    """What a role can be held on, from the widest to the narrowest."""

    ORGANIZATION = "organization"
    PROJECT = "project"
    INDEX = "index"


class PrincipalType(models.TextChoices):
    """Who can hold a role."""

    USER = "user"
    GROUP = "group"
    API_KEY = "api_key"
    SERVICE_ACCOUNT = "service_account"
    INVITE = "invite"


def _values(roles: frozenset[Role]) -> list[str]:
    """As migrations keep them: plain text in a fixed order."""
    return sorted(role.value for role in roles)


class CustomRole(models.Model):
    """A role of one organization's own making: a set of permissions under a name."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="custom_roles"
    )
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=500, blank=True)
    # The kind of resource it is held on; it decides which permissions it may include.
    resource_type = models.CharField(max_length=16, choices=ResourceType)
    permissions = models.JSONField(default=list)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name", "id")
        constraints = (
            models.UniqueConstraint(
                "organization", Lower("name"), name="orgs_customrole_organization_name_uniq"
            ),
        )

    def __str__(self) -> str:
        return self.name


class Group(models.Model):
    """A team: people who hold the group's roles as long as they are in it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="groups")
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=500, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(User, through="GroupMembership", related_name="groups")

    class Meta:
        ordering = ("name", "id")
        constraints = (
            models.UniqueConstraint(
                "organization", Lower("name"), name="orgs_group_organization_name_uniq"
            ),
        )

    def __str__(self) -> str:
        return self.name


class GroupMembership(models.Model):
    """A person's place in a group."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="group_memberships")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["group", "user"], name="orgs_groupmembership_group_user_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} in {self.group_id}"


class RoleBinding(models.Model):
    """One role of one principal on one resource: the only place where a role lives.

    Never changed, only removed. `role` names a predefined role; where `custom_role` is set it is
    empty.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="role_bindings"
    )
    principal_type = models.CharField(max_length=16, choices=PrincipalType)
    principal_id = models.UUIDField()
    resource_type = models.CharField(max_length=16, choices=ResourceType)
    resource_id = models.UUIDField()
    # The project that the resource is or is in; None for the organization.
    project_id = models.UUIDField(null=True, blank=True)
    role = models.CharField(max_length=32, choices=[(r.value, r.value) for r in Role], blank=True)
    custom_role = models.ForeignKey(
        CustomRole, null=True, blank=True, on_delete=models.PROTECT, related_name="bindings"
    )
    reason = models.CharField(max_length=500, blank=True)
    granted_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    not_before = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=["organization", "created_at", "id"], name="orgs_binding_org_time"),
            models.Index(fields=["resource_type", "resource_id"], name="orgs_binding_resource"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["principal_type", "principal_id", "resource_type", "resource_id", "role"],
                condition=models.Q(custom_role=None),
                name="orgs_rolebinding_principal_resource_role_uniq",
            ),
            models.UniqueConstraint(
                fields=["principal_type", "principal_id", "resource_id", "custom_role"],
                name="orgs_rolebinding_principal_resource_custom_role_uniq",
            ),
            # Organization roles on their own organization, project roles on a project, access
            # roles also on an index; roles of the organization's own anywhere.
            models.CheckConstraint(
                condition=models.Q(
                    resource_type="organization",
                    resource_id=models.F("organization"),
                    role__in=_values(ORGANIZATION_ROLES),
                )
                | models.Q(
                    resource_type="project", role__in=_values(frozenset(Role) - ORGANIZATION_ROLES)
                )
                | models.Q(resource_type="index", role__in=_values(ACCESS_ROLES))
                | models.Q(role="", custom_role__isnull=False),
                name="orgs_rolebinding_resource_role_check",
            ),
            models.CheckConstraint(
                condition=models.Q(role="") | models.Q(custom_role=None),
                name="orgs_rolebinding_one_role_check",
            ),
            models.CheckConstraint(
                condition=models.Q(resource_type="organization", project_id=None)
                | models.Q(resource_type="project", project_id=models.F("resource_id"))
                | models.Q(resource_type="index", project_id__isnull=False),
                name="orgs_rolebinding_project_check",
            ),
            models.CheckConstraint(
                condition=~models.Q(principal_type="api_key")
                | models.Q(resource_type="project", role__in=_values(ACCESS_ROLES)),
                name="orgs_rolebinding_api_key_role_check",
            ),
        )

    def __str__(self) -> str:
        return f"{self.role_name} of {self.principal_type} {self.principal_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only.

        Raises:
            TypeError: the row exists already.
        """
        if not self._state.adding:
            raise TypeError("Role bindings are never changed: remove this one and make another.")
        super().save(*args, **kwargs)

    @property
    def role_name(self) -> str:
        """The predefined role, or the name of the organization's own."""
        return self.custom_role.name if self.custom_role else self.role


class Decision(models.Model):
    """A denial, kept so that it can be explained. Equal denials within a minute are one row."""

    id = models.UUIDField(primary_key=True, editable=False)
    organization_id = models.UUIDField()
    project_id = models.UUIDField(null=True, blank=True)
    index_id = models.UUIDField(null=True, blank=True)
    actor_kind = models.CharField(max_length=32)
    actor_id = models.CharField(max_length=64)
    actor_label = models.CharField(max_length=320)
    permission = models.CharField(max_length=64)
    # What was asked for, in words, such as `API key <id>`.
    what = models.CharField(max_length=512)
    # Whether the actor was told that it does not exist.
    hidden = models.BooleanField()
    # Why in spite of a role, such as a baseline that the actor does not meet; empty: no role.
    reason = models.CharField(max_length=500, blank=True)
    # The roles that the actor held there: [{"binding_id", "role", "resource_type", …}].
    trace = models.JSONField(default=list)
    ip = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    count = models.PositiveIntegerField(default=1)
    # Names actor, permission and resource within one minute.
    fingerprint = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (
            models.Index(fields=["organization_id", "-created_at"], name="orgs_decision_org_time"),
        )

    def __str__(self) -> str:
        return f"{self.permission} denied to {self.actor_label}"
