"""What answers about single sign-on say."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from sso.models import Attempt, BreakGlassAccess, Connection, Purpose, SpKey
from sso.models.connections import IdpCertificate


class AttributeMapSerializer(serializers.Serializer[Any]):
    """Which attribute says what; what is not there goes by the usual names."""

    email = serializers.CharField(required=False)
    uid = serializers.CharField(required=False)
    name = serializers.CharField(required=False)
    first_name = serializers.CharField(required=False)
    last_name = serializers.CharField(required=False)
    groups = serializers.CharField(required=False)
    roles = serializers.CharField(required=False)


class RoleMappingSerializer(serializers.Serializer[Any]):
    """A role for everybody of whom the identity provider says a value."""

    value = serializers.CharField()
    role = serializers.CharField(help_text="A predefined role, or the id of another.")
    project_id = serializers.UUIDField(allow_null=True)


class DefaultProjectRoleSerializer(serializers.Serializer[Any]):
    """A role on a project for everybody who is new."""

    role = serializers.CharField(help_text="A predefined role, or the id of another.")
    project_id = serializers.UUIDField()


class SsoConnectionSerializer(serializers.Serializer[Any]):
    """A connection; `version` is its `ETag`. `sp_entity_id`, `acs_url` and `sls_url` are what the
    identity provider has to know of this side.
    """

    id = serializers.UUIDField()
    name = serializers.CharField()
    protocol = serializers.ChoiceField(Connection.Protocol.choices)
    state = serializers.ChoiceField(Connection.State.choices)
    sp_entity_id = serializers.CharField()
    acs_url = serializers.CharField()
    sls_url = serializers.CharField()
    idp_entity_id = serializers.CharField()
    sso_url = serializers.CharField()
    slo_url = serializers.CharField()
    metadata_url = serializers.CharField()
    metadata_fetched_at = serializers.DateTimeField(allow_null=True)
    metadata_error = serializers.CharField(help_text="Why it could not be fetched last; or empty.")
    signed_part = serializers.ChoiceField(Connection.SignedPart.choices)
    signs_requests = serializers.BooleanField()
    requires_encryption = serializers.BooleanField()
    allows_idp_initiated = serializers.BooleanField()
    clock_skew_seconds = serializers.IntegerField()
    issuer = serializers.CharField()
    client_id = serializers.CharField()
    has_client_secret = serializers.SerializerMethodField()
    attribute_map = AttributeMapSerializer()
    provisions_people = serializers.BooleanField()
    default_role = serializers.CharField()
    default_project_roles = DefaultProjectRoleSerializer(many=True)
    roles_mode = serializers.ChoiceField(Connection.RolesMode.choices)
    role_mappings = RoleMappingSerializer(many=True)
    session_hours = serializers.IntegerField()
    trusts_idp_mfa = serializers.BooleanField()
    scim_enabled = serializers.BooleanField()
    is_tested = serializers.BooleanField(
        help_text="Whether a test succeeded with the configuration as it is now."
    )
    tested_at = serializers.DateTimeField(allow_null=True)
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_has_client_secret(self, connection: Connection) -> bool:
        """Whether there is one; it is never shown."""
        return bool(connection.wrapped_client_secret)


class IdpCertificateSerializer(serializers.Serializer[Any]):
    """A certificate that the identity provider signs with."""

    id = serializers.UUIDField()
    fingerprint = serializers.CharField(help_text="SHA-256 of the DER form, in hex.")
    pem = serializers.CharField()
    not_before = serializers.DateTimeField()
    not_after = serializers.DateTimeField()
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a field of that name
        IdpCertificate.Source.choices
    )
    created_at = serializers.DateTimeField()


class SpKeySerializer(serializers.Serializer[Any]):
    """A key pair of this side; the private half never leaves."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(
        SpKey.State.choices, help_text="`current` signs; all of them open assertions."
    )
    certificate_pem = serializers.CharField()
    not_after = serializers.DateTimeField()
    created_at = serializers.DateTimeField()


class SsoAttemptSerializer(serializers.Serializer[Attempt]):
    """One line of the sign-in log. `id` stands on the refusal page as the reference."""

    id = serializers.UUIDField()
    purpose = serializers.ChoiceField(Purpose.choices)
    code = serializers.CharField(help_text="`ok`, or the public code of the refusal.")
    reason = serializers.CharField(help_text="The whole reason.")
    email = serializers.CharField()
    uid = serializers.CharField()
    user_id = serializers.UUIDField(allow_null=True)
    attributes = serializers.DictField(
        help_text="Attribute names with how many values; the values themselves of a test only."
    )
    ip = serializers.CharField()
    request_id = serializers.CharField()
    created_at = serializers.DateTimeField()


class SsoIdentitySerializer(serializers.Serializer[Any]):
    """Who a person is at the identity provider."""

    id = serializers.UUIDField()
    user_id = serializers.UUIDField()
    email = serializers.EmailField(source="user.email")
    uid = serializers.CharField()
    opens_sessions = serializers.BooleanField(
        help_text="Whether it signs the person in; else it lets them in who are signed in already."
    )
    last_sign_in_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class SetupLinkSerializer(serializers.Serializer[Any]):
    """A link for the identity provider's administrator."""

    id = serializers.UUIDField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    used_at = serializers.DateTimeField(allow_null=True)


class NewSetupLinkSerializer(SetupLinkSerializer):
    """A link with its address, which is shown this once and works once."""

    url = serializers.CharField()


class ScimTokenSerializer(serializers.Serializer[Any]):
    """A token of the directory, known by `lookup`, which stands in its text."""

    id = serializers.UUIDField()
    lookup = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class NewScimTokenSerializer(ScimTokenSerializer):
    """A token with its text, which is shown this once."""

    token = serializers.CharField()


class DomainSerializer(serializers.Serializer[Any]):
    """A domain. To prove it, publish `record_value` as a TXT record at `record_name`."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    connection_id = serializers.UUIDField(allow_null=True)
    record_name = serializers.CharField()
    record_value = serializers.CharField()
    verified_at = serializers.DateTimeField(allow_null=True)
    checked_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when the record of a proven domain is missing."
    )
    last_error = serializers.CharField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class BreakGlassOwnerSerializer(serializers.Serializer[Any]):
    """An owner who may come in by password and second factor where single sign-on is required."""

    user_id = serializers.UUIDField()
    email = serializers.EmailField(source="user.email")
    named_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class BreakGlassAccessSerializer(serializers.Serializer[BreakGlassAccess]):
    """One use of that way, or an exercise of it."""

    id = serializers.UUIDField()
    user_id = serializers.UUIDField()
    email = serializers.EmailField(source="user.email")
    reason = serializers.CharField()
    is_drill = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(
        help_text="Until when it can be approved, then until when it lasts."
    )
    approved_by_id = serializers.UUIDField(allow_null=True)
    began_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
