"""What can be recorded, and which facts about it may be kept.

Names are `resource.past_participle`.
"""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """Every kind of audit event."""

    ORGANIZATION_CREATED = "organization.created"
    ORGANIZATION_UPDATED = "organization.updated"
    ORGANIZATION_DELETED = "organization.deleted"
    ENTITLEMENTS_UPDATED = "entitlements.updated"
    OWNERSHIP_TRANSFER_PROPOSED = "ownership_transfer.proposed"
    OWNERSHIP_TRANSFER_DECLINED = "ownership_transfer.declined"
    OWNERSHIP_TRANSFER_CANCELED = "ownership_transfer.canceled"
    OWNERSHIP_TRANSFERRED = "ownership.transferred"
    SECURITY_BASELINE_UPDATED = "security_baseline.updated"
    USER_CREATED = "user.created"
    USER_RENAMED = "user.renamed"
    OPERATOR_ADDED = "operator.added"
    OPERATOR_REMOVED = "operator.removed"
    SIGNED_IN = "user.signed_in"
    SIGN_IN_FAILED = "user.sign_in_failed"
    SIGNED_OUT = "user.signed_out"
    SESSION_ENDED = "session.ended"
    REAUTHENTICATED = "user.reauthenticated"
    EMAIL_ADDED = "email.added"
    EMAIL_VERIFIED = "email.verified"
    EMAIL_CHANGED = "email.changed"
    EMAIL_REMOVED = "email.removed"
    PASSWORD_CHANGED = "user.password_changed"  # noqa: S105  an event's name, no password
    PASSWORD_RESET_REQUESTED = "password.reset_requested"  # noqa: S105  an event's name
    PASSWORD_RESET = "password.reset"  # noqa: S105  an event's name, no password
    MFA_ENABLED = "mfa.enabled"
    MFA_DISABLED = "mfa.disabled"
    RECOVERY_CODES_GENERATED = "recovery_codes.generated"
    RECOVERY_CODES_VIEWED = "recovery_codes.viewed"
    MEMBER_ADDED = "member.added"
    MEMBER_REMOVED = "member.removed"
    MEMBER_LEFT = "member.left"
    MEMBER_SUSPENDED = "member.suspended"
    MEMBER_REINSTATED = "member.reinstated"
    SSO_CONNECTION_CREATED = "sso_connection.created"
    SSO_CONNECTION_UPDATED = "sso_connection.updated"
    SSO_CONNECTION_DELETED = "sso_connection.deleted"
    SSO_CONNECTION_TESTED = "sso_connection.tested"
    SSO_CERTIFICATE_ADDED = "sso_certificate.added"
    SSO_CERTIFICATE_REMOVED = "sso_certificate.removed"
    SSO_KEY_ROTATED = "sso_key.rotated"
    SSO_METADATA_REFRESHED = "sso_metadata.refreshed"
    SSO_SETUP_LINK_CREATED = "sso_setup_link.created"
    SSO_SETUP_LINK_USED = "sso_setup_link.used"
    SSO_ENFORCED = "sso.enforced"
    SSO_RELAXED = "sso.relaxed"
    SSO_REFUSED = "sso.refused"
    SSO_IDENTITY_LINKED = "sso_identity.linked"
    SSO_IDENTITY_UNLINKED = "sso_identity.unlinked"
    DOMAIN_ADDED = "domain.added"
    DOMAIN_UPDATED = "domain.updated"
    DOMAIN_VERIFIED = "domain.verified"
    DOMAIN_LAPSED = "domain.lapsed"
    DOMAIN_REMOVED = "domain.removed"
    BREAK_GLASS_OWNER_ADDED = "break_glass_owner.added"
    BREAK_GLASS_OWNER_REMOVED = "break_glass_owner.removed"
    BREAK_GLASS_REQUESTED = "break_glass.requested"
    BREAK_GLASS_APPROVED = "break_glass.approved"
    BREAK_GLASS_USED = "break_glass.used"
    BREAK_GLASS_ENDED = "break_glass.ended"
    SCIM_TOKEN_CREATED = "scim_token.created"  # noqa: S105  an event's name
    SCIM_TOKEN_REVOKED = "scim_token.revoked"  # noqa: S105  an event's name
    SCIM_USER_CREATED = "scim_user.created"
    SCIM_USER_UPDATED = "scim_user.updated"
    SCIM_USER_DELETED = "scim_user.deleted"
    SCIM_GROUP_CREATED = "scim_group.created"
    SCIM_GROUP_UPDATED = "scim_group.updated"
    SCIM_GROUP_DELETED = "scim_group.deleted"
    INVITATION_CREATED = "invitation.created"
    INVITATION_RESENT = "invitation.resent"
    INVITATION_DELETED = "invitation.deleted"
    INVITATION_ACCEPTED = "invitation.accepted"
    ROLE_BINDING_CREATED = "role_binding.created"
    ROLE_BINDING_DELETED = "role_binding.deleted"
    ROLE_CREATED = "role.created"
    ROLE_UPDATED = "role.updated"
    ROLE_DELETED = "role.deleted"
    GROUP_CREATED = "group.created"
    GROUP_UPDATED = "group.updated"
    GROUP_DELETED = "group.deleted"
    GROUP_MEMBER_ADDED = "group_member.added"
    GROUP_MEMBER_REMOVED = "group_member.removed"
    ACCESS_DENIED = "access.denied"
    PROJECT_CREATED = "project.created"
    PROJECT_UPDATED = "project.updated"
    PROJECT_DELETED = "project.deleted"
    PROJECT_ARCHIVED = "project.archived"
    PROJECT_RESTORED = "project.restored"
    API_KEY_CREATED = "api_key.created"
    API_KEY_UPDATED = "api_key.updated"
    API_KEY_DISABLED = "api_key.disabled"
    API_KEY_ENABLED = "api_key.enabled"
    API_KEY_REVOKED = "api_key.revoked"
    API_KEY_ROTATED = "api_key.rotated"
    API_KEY_SECRET_ENDED = "api_key.secret_ended"  # noqa: S105  an event's name, no secret
    API_KEY_POLICY_UPDATED = "api_key_policy.updated"
    API_KEY_LEAK_REPORTED = "api_key.leak_reported"
    SERVICE_ACCOUNT_CREATED = "service_account.created"
    SERVICE_ACCOUNT_UPDATED = "service_account.updated"
    SERVICE_ACCOUNT_DELETED = "service_account.deleted"
    SERVICE_ACCOUNT_SECRET_ROTATED = "service_account_secret.rotated"  # noqa: S105  a name
    SERVICE_ACCOUNT_SECRET_REVOKED = "service_account_secret.revoked"  # noqa: S105  a name
    TOKEN_ISSUED = "token.issued"  # noqa: S105  an event's name
    TOKEN_REFUSED = "token.refused"  # noqa: S105  an event's name
    TOKEN_REVOKED = "token.revoked"  # noqa: S105  an event's name
    FEDERATION_ISSUER_CREATED = "federation_issuer.created"
    FEDERATION_ISSUER_UPDATED = "federation_issuer.updated"
    FEDERATION_ISSUER_DELETED = "federation_issuer.deleted"
    FEDERATION_RULE_CREATED = "federation_rule.created"
    FEDERATION_RULE_UPDATED = "federation_rule.updated"
    FEDERATION_RULE_DELETED = "federation_rule.deleted"
    INDEX_CREATED = "index.created"
    INDEX_CONFIGURED = "index.configured"
    INDEX_DELETION_REQUESTED = "index.deletion_requested"
    INDEX_READY = "index.ready"
    INDEX_FAILED = "index.failed"
    INDEX_DELETED = "index.deleted"
    INDEX_KEY_SHREDDED = "index.key_shredded"
    INDEX_KEY_RELEASED = "index.key_released"
    INDEX_KEY_REFUSED = "index.key_refused"
    AUDIT_STREAM_CREATED = "audit_stream.created"
    AUDIT_STREAM_UPDATED = "audit_stream.updated"
    AUDIT_STREAM_DELETED = "audit_stream.deleted"
    AUDIT_RETENTION_UPDATED = "audit_retention.updated"
    AUDIT_EXPORTED = "audit.exported"
    AUDIT_PRUNED = "audit.pruned"


# The keys of `detail` and `changes`, at any depth, whose values are kept. Whatever is in neither
# list is stored as REDACTED: a field is secret until somebody says here that it is not.
PUBLIC_FIELDS: frozenset[str] = frozenset(
    {
        "access",
        "action",
        "allowed_ips",
        "allows_idp_initiated",
        "api_keys",
        "attempt_id",
        "attempts",
        "attribute_map",
        "audience",
        "cause",
        "certificate",
        "changed",
        "client_id",
        "clock_skew_seconds",
        "code",
        "conditions",
        "connection_id",
        "count",
        "days",
        "default_project_roles",
        "default_role",
        "deletion_protection",
        "deployment_id",
        "description",
        "dimension",
        "domain",
        "email",
        "enabled",
        "encryption_keys",
        "end_seq",
        "entitlements",
        "expires_at",
        "external_id",
        "fingerprint",
        "force_encryption_with_cmek",
        "found_at",
        "from_seq",
        "group_id",
        "host",
        "idle_seconds",
        "idp_entity_id",
        "index_id",
        "index_ids",
        "ip_ranges",
        "is_drill",
        "issuer",
        "jwks_uri",
        "key_source",
        "keys",
        "kind",
        "leak_policy",
        "max_api_keys",
        "max_indexes",
        "max_key_age_days",
        "metadata_url",
        "metric",
        "mfa_required",
        "name",
        "namespaces",
        "not_after",
        "not_before",
        "organization_id",
        "payment_status",
        "permissions",
        "plan",
        "principal_id",
        "principal_type",
        "project_id",
        "protocol",
        "provisions_people",
        "reason",
        "requires_encryption",
        "resource_id",
        "resource_type",
        "role",
        "role_bindings",
        "role_mappings",
        "roles",
        "roles_mode",
        "rule_id",
        "scim_enabled",
        "service_account_id",
        "session_hours",
        "signed_part",
        "signs_requests",
        "slo_url",
        "sso_required",
        "sso_url",
        "state",
        "status",
        "subject",
        "tags",
        "trusts_idp_mfa",
        "until",
        "user_id",
        "user_name",
        "vector_type",
        "version",
    }
)
# Callers mention these only to say that they changed.
SECRET_FIELDS: frozenset[str] = frozenset(
    {"client_secret", "config", "jwks", "password", "secret", "sp_key", "token"}
)
REDACTED = "(not public)"
