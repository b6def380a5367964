"""People, organizations and the roles that tie them together."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower

from orgs.permissions import ACCESS_ROLES, ORGANIZATION_ROLES, Role


class UserManager(BaseUserManager["User"]):
    """Makes people; the e-mail address is the identity."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A person who can sign in, or, without a password, one who can't yet."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """A person. Belongs to any number of organizations."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        constraints = (
            # One person per address however it is typed: uniqueness sees lower case only.
            models.CheckConstraint(
                condition=models.Q(email=Lower("email")), name="orgs_user_email_lower_check"
            ),
        )

    def __str__(self) -> str:
        return self.email


class Organization(models.Model):
    """A tenant: owns projects and people's memberships."""

    class Plan(models.TextChoices):
        FREE = "Free"
        STANDARD = "Standard"
        ENTERPRISE = "Enterprise"
        DEDICATED = "Dedicated"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=512)
    plan = models.CharField(max_length=16, choices=Plan, default=Plan.ENTERPRISE)
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(User, through="Membership", related_name="organizations")

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's place in an organization; what they may do there stands in role bindings."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["user", "organization"], name="orgs_membership_user_organization_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} in {self.organization_id}"


def _values(roles: frozenset[Role]) -> list[str]:
    """As migrations keep them: plain text in a fixed order."""
    return sorted(role.value for role in roles)


class RoleBinding(models.Model):
    """One role of one principal on one resource: the only place where a role lives.

    Never changed, only removed.
    """

    class PrincipalType(models.TextChoices):
        USER = "user"
        API_KEY = "api_key"
        SERVICE_ACCOUNT = "service_account"
        INVITE = "invite"

    class ResourceType(models.TextChoices):
        ORGANIZATION = "organization"
        PROJECT = "project"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="role_bindings"
    )
    principal_type = models.CharField(max_length=16, choices=PrincipalType)
    principal_id = models.UUIDField()
    resource_type = models.CharField(max_length=16, choices=ResourceType)
    resource_id = models.UUIDField()
    role = models.CharField(max_length=32, choices=[(r.value, r.value) for r in Role])
    reason = models.CharField(max_length=500, blank=True)
    granted_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    not_before = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["principal_type", "principal_id", "resource_type", "resource_id", "role"],
                name="orgs_rolebinding_principal_resource_role_uniq",
            ),
            # Organization roles on their own organization, all other roles on a project.
            models.CheckConstraint(
                condition=models.Q(
                    resource_type="organization",
                    resource_id=models.F("organization"),
                    role__in=_values(ORGANIZATION_ROLES),
                )
                | models.Q(
                    resource_type="project", role__in=_values(frozenset(Role) - ORGANIZATION_ROLES)
                ),
                name="orgs_rolebinding_resource_role_check",
            ),
            models.CheckConstraint(
                condition=~models.Q(principal_type="api_key")
                | models.Q(resource_type="project", role__in=_values(ACCESS_ROLES)),
                name="orgs_rolebinding_api_key_role_check",
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} of {self.principal_type} {self.principal_id} on {self.resource_type}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only.

        Raises:
            TypeError: the row exists already.
        """
        if not self._state.adding:
            raise TypeError("Role bindings are never changed: remove this one and make another.")
        super().save(*args, **kwargs)
