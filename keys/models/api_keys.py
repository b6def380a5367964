"""API keys: what a program shows to be let in. The key itself is never stored."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from projects.models import Project


class Pepper(models.Model):
    """A secret that is mixed into every key's digest, wrapped by the KEK provider.

    Numbered, so that it can be replaced for new keys while old ones still verify.
    """

    number = models.PositiveIntegerField(primary_key=True)
    wrapped = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"pepper {self.number}"


class Access(models.TextChoices):
    """What a key may do of what its roles allow."""

    READ_WRITE = "read_write"
    READ_ONLY = "read_only"
    WRITE_ONLY = "write_only"


class LeakPolicy(models.TextChoices):
    """What happens to a key that somebody found in the open; its owners are told in any case."""

    ALERT = "alert"
    READ_ONLY = "read_only"
    REVOKE = "revoke"


class ApiKey(models.Model):
    """A key of one project. Its roles stand in role bindings, its secrets in rows of their own.

    A scope only takes away: None is no limit, a list is what remains. An index that is deleted
    leaves its id in `index_ids`, where it matches nothing, since ids are never used twice.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=80)
    created_by = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)
    not_before = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=500, blank=True)
    # Deleted, for good. The row stays for the audit trail and the usage counts.
    revoked_at = models.DateTimeField(null=True, blank=True)
    access = models.CharField(max_length=16, choices=Access, default=Access.READ_WRITE)
    # Texts of index ids; None: every index of the project.
    index_ids = models.JSONField(null=True, blank=True)
    # Exact names, "" is the default namespace; None: every namespace.
    namespaces = models.JSONField(null=True, blank=True)
    # CIDR ranges; empty: from anywhere.
    allowed_ips = models.JSONField(default=list, blank=True)
    # Empty: what the project says.
    leak_policy = models.CharField(max_length=16, choices=LeakPolicy, blank=True)
    # When it was last found in the open.
    leak_reported_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_operation = models.CharField(max_length=64, blank=True)
    last_used_index_id = models.UUIDField(null=True, blank=True)
    last_used_ip = models.CharField(max_length=45, blank=True)
    # Counts changes: what `ETag` tells and `If-Match` asks for. Use is no change.
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ("-created_at", "id")
        indexes = (
            models.Index(
                fields=["project", "-created_at", "id"],
                condition=Q(revoked_at=None),
                name="keys_apikey_project_time",
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(access__in=Access.values), name="keys_apikey_access_check"
            ),
            models.CheckConstraint(
                condition=Q(leak_policy="") | Q(leak_policy__in=LeakPolicy.values),
                name="keys_apikey_leak_policy_check",
            ),
            models.CheckConstraint(
                condition=Q(not_before=None)
                | Q(expires_at=None)
                | Q(not_before__lt=F("expires_at")),
                name="keys_apikey_not_before_expires_at_check",
            ),
            models.CheckConstraint(
                condition=Q(disabled_at__isnull=False) | Q(disabled_reason=""),
                name="keys_apikey_disabled_reason_check",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def current_secret(self) -> ApiKeySecret:
        """The secret that was shown last. One query unless the secrets are loaded."""
        return next(each for each in self.secrets.all() if each.is_current)

    @property
    def masked(self) -> str:
        """What may be shown of the key: enough to recognise it."""
        return self.current_secret.masked

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_usable(self) -> bool:
        """Whether its time has come and is not over, and nobody has switched it off."""
        has_begun = self.not_before is None or self.not_before <= timezone.now()
        return (
            has_begun
            and not self.is_expired
            and self.disabled_at is None
            and self.revoked_at is None
        )


class ApiKeySecret(models.Model):
    """What is shown to be let in as a key. While one replaces another, both work: never more.

    `digest` is HMAC-SHA256(pepper, text), which verifies. `sha256` is the plain SHA-256 of the
    text, by which a reporter can name a leaked key without sending it; with 256 random bits in the
    text it can't be searched for. Keys made before it was kept have none.
    """

    class Slot(models.TextChoices):
        CURRENT = "current"
        PREVIOUS = "previous"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="secrets")
    slot = models.CharField(max_length=8, choices=Slot, default=Slot.CURRENT)
    lookup_id = models.CharField(max_length=10, unique=True)
    digest = models.BinaryField(max_length=32)
    pepper = models.ForeignKey(Pepper, on_delete=models.PROTECT)
    sha256 = models.BinaryField(max_length=32, unique=True, null=True)
    created_at = models.DateTimeField(default=timezone.now)
    # Of a previous one: since when another takes its place, until when it works at most, and for
    # how many seconds it may lie unused before it ends sooner.
    replaced_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    idle_seconds = models.PositiveIntegerField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "id")
        indexes = (
            models.Index(
                fields=["expires_at"], condition=Q(slot="previous"), name="keys_secret_previous"
            ),
        )
        constraints = (
            models.UniqueConstraint(fields=["key", "slot"], name="keys_apikeysecret_key_slot_uniq"),
            models.CheckConstraint(
                condition=Q(slot="current", replaced_at=None, expires_at=None, idle_seconds=None)
                | Q(slot="previous", replaced_at__isnull=False, expires_at__isnull=False),
                name="keys_apikeysecret_slot_expires_at_check",
            ),
        )

    def __str__(self) -> str:
        return self.masked

    @property
    def is_current(self) -> bool:
        """Whether no other has taken its place."""
        return self.slot == self.Slot.CURRENT

    @property
    def is_over(self) -> bool:
        """Whether its overlap with the one that took its place has ended."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def masked(self) -> str:
        """What may be shown of it: enough to recognise it."""
        return f"tmrk_{self.lookup_id}_…"


class KeyPolicy(models.Model):
    """What holds for all keys of a project that don't say otherwise."""

    project = models.OneToOneField(
        Project, on_delete=models.CASCADE, primary_key=True, related_name="key_policy"
    )
    leak_policy = models.CharField(max_length=16, choices=LeakPolicy, default=LeakPolicy.ALERT)
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(leak_policy__in=LeakPolicy.values),
                name="keys_keypolicy_leak_policy_check",
            ),
        )

    def __str__(self) -> str:
        return f"key policy of {self.project_id}"


class LeakReport(models.Model):
    """Somebody found keys in the open. Written whether or not they are keys of ours, so that the
    time that an answer takes tells nothing; deleted once the owners' policy is applied.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Texts of the ids of the secrets that were found to be ours, with where each was seen:
    # [{"secret_id", "url"}].
    found = models.JSONField(default=list)
    ip = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("created_at", "id")

    def __str__(self) -> str:
        return f"leak report {self.id}"
