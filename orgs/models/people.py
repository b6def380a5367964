"""People: the e-mail address is the identity."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower


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
    # Looks after the installation: plans, health, queues. Gives no right in any organization.
    is_operator = models.BooleanField(default=False)
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
