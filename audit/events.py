"""What can be recorded. Names are `resource.past_participle`."""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """Every kind of audit event."""

    ORGANIZATION_CREATED = "organization.created"
    USER_CREATED = "user.created"
    SIGNED_IN = "user.signed_in"
    SIGN_IN_FAILED = "user.sign_in_failed"
    SIGNED_OUT = "user.signed_out"
    PASSWORD_CHANGED = "user.password_changed"  # noqa: S105  an event's name, no password
    MEMBER_ADDED = "member.added"
    ROLE_BINDING_CREATED = "role_binding.created"
    PROJECT_CREATED = "project.created"
    API_KEY_CREATED = "api_key.created"
    API_KEY_REVOKED = "api_key.revoked"
    INDEX_CREATED = "index.created"
    INDEX_CONFIGURED = "index.configured"
    INDEX_DELETION_REQUESTED = "index.deletion_requested"
    INDEX_READY = "index.ready"
    INDEX_FAILED = "index.failed"
    INDEX_DELETED = "index.deleted"
    INDEX_KEY_SHREDDED = "index.key_shredded"
    INDEX_KEY_RELEASED = "index.key_released"
    INDEX_KEY_REFUSED = "index.key_refused"
