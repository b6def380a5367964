"""What requests about single sign-on bring."""

from __future__ import annotations

from rest_framework import serializers

from rest.serializers import Input
from sso.checks import (
    ATTRIBUTE_LENGTH,
    CLIENT_ID_LENGTH,
    ENTITY_ID_LENGTH,
    MAX_CLOCK_SKEW,
    MAX_SESSION_HOURS,
    NAME_LENGTH,
    SECRET_LENGTH,
    URL_LENGTH,
)
from sso.models import Connection
from sso.selectors.roles import SHOWN
from sso.services.roles import MAX_MAPPINGS, MAX_VALUE
from sso.services.scim_tokens import DEFAULT_DAYS, MAX_DAYS

_ROLE_HELP = "A predefined role, or the id or the name of one of the organization's own."


def _text(limit: int, text: str) -> serializers.CharField:
    return serializers.CharField(max_length=limit, required=False, allow_blank=True, help_text=text)


def _attribute(text: str) -> serializers.CharField:
    return _text(ATTRIBUTE_LENGTH, f"{text} Empty or left out: the usual names.")


class NoFilter(Input):
    """Nothing to narrow the list to."""


class NewConnection(Input):
    """The connection to make."""

    name = serializers.CharField(max_length=NAME_LENGTH, help_text="What owners call it.")
    protocol = serializers.ChoiceField(
        Connection.Protocol.choices, required=False, help_text="`saml` if left out."
    )


class AttributeMap(Input):
    """Which attribute, or claim, of the identity provider says what."""

    email = _attribute("The person's e-mail address.")
    uid = _attribute("Who the person is for good.")
    name = _attribute("The person's whole name.")
    first_name = _attribute("The person's first name.")
    last_name = _attribute("The person's last name.")
    groups = _attribute("The person's groups.")
    roles = _attribute("The person's roles, also in the form `pinecone:<OrgRole>`.")


class RoleMapping(Input):
    """A role for everybody of whom the identity provider says a value."""

    value = serializers.CharField(
        max_length=MAX_VALUE, help_text="A group or role, compared exactly."
    )
    role = serializers.CharField(max_length=SHOWN, help_text=_ROLE_HELP)
    project_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="Where it is held; null: on the organization."
    )


class DefaultProjectRole(Input):
    """A role on a project for everybody who is new."""

    role = serializers.CharField(max_length=SHOWN, help_text=_ROLE_HELP)
    project_id = serializers.UUIDField()


class ConnectionChange(Input):
    """What to change; what is left out stays. Fields of the other protocol are refused."""

    name = serializers.CharField(max_length=NAME_LENGTH, required=False)
    idp_entity_id = _text(ENTITY_ID_LENGTH, "SAML: what the identity provider calls itself.")
    sso_url = _text(URL_LENGTH, "SAML: where people are sent to sign in (HTTP-Redirect).")
    slo_url = _text(URL_LENGTH, "SAML: where logout messages are sent; empty: nowhere.")
    metadata_url = _text(
        URL_LENGTH, "SAML: where the metadata is fetched from, every hour; empty: it is not."
    )
    signed_part = serializers.ChoiceField(
        Connection.SignedPart.choices, required=False, help_text="SAML: what has to be signed."
    )
    signs_requests = serializers.BooleanField(
        required=False, help_text="SAML: whether requests are signed."
    )
    requires_encryption = serializers.BooleanField(
        required=False, help_text="SAML: whether assertions that are not encrypted are refused."
    )
    allows_idp_initiated = serializers.BooleanField(
        required=False, help_text="SAML: whether sign-ins may begin at the identity provider."
    )
    clock_skew_seconds = serializers.IntegerField(
        min_value=0,
        max_value=MAX_CLOCK_SKEW,
        required=False,
        help_text="SAML: by how much the clocks may differ.",
    )
    issuer = _text(ENTITY_ID_LENGTH, "OpenID Connect: the issuer; another needs a new secret.")
    client_id = _text(CLIENT_ID_LENGTH, "OpenID Connect: the client's id.")
    client_secret = serializers.CharField(
        max_length=SECRET_LENGTH,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        write_only=True,
        help_text="OpenID Connect: the client's secret; never shown again.",
    )
    attribute_map = AttributeMap(required=False, help_text="Replaces the whole map.")
    provisions_people = serializers.BooleanField(
        required=False, help_text="Whether people without an account get one as they sign in."
    )
    default_role = serializers.CharField(
        max_length=SHOWN, required=False, help_text="An organization role below owner."
    )
    default_project_roles = DefaultProjectRole(
        many=True, required=False, help_text="Replaces the whole list."
    )
    roles_mode = serializers.ChoiceField(
        Connection.RolesMode.choices,
        required=False,
        help_text="How roles are given. `exact` takes away what is not mapped.",
    )
    role_mappings = RoleMapping(
        many=True, required=False, help_text=f"Replaces the whole list; at most {MAX_MAPPINGS}."
    )
    session_hours = serializers.IntegerField(
        min_value=1,
        max_value=MAX_SESSION_HOURS,
        required=False,
        help_text="How long a sign-in lasts at most.",
    )
    trusts_idp_mfa = serializers.BooleanField(
        required=False, help_text="Whether its sign-in counts as one with a second factor."
    )


class StateChange(Input):
    """Where the connection is to go."""

    state = serializers.ChoiceField(
        Connection.State.choices,
        help_text="`enforced` has conditions: see the readiness of the connection.",
    )


class MetadataSource(Input):
    """The identity provider's metadata, or where it is. One of the two."""

    xml = serializers.CharField(
        trim_whitespace=False,
        required=False,
        help_text="The document as it is. A body has 64 KiB at most; larger ones are fetched.",
    )
    url = _text(URL_LENGTH, "Where it is fetched from, now and every hour; empty: no more.")


class NewCertificate(Input):
    """A certificate that the identity provider signs with."""

    pem = serializers.CharField(help_text="One certificate, with its BEGIN and END lines.")


class AttemptFilter(Input):
    """What the log is narrowed to."""

    code = serializers.CharField(
        max_length=40, required=False, help_text="`ok`, or the code of a refusal."
    )


class ScimSwitch(Input):
    """Whether a directory keeps the organization's people."""

    enabled = serializers.BooleanField()


class NewScimToken(Input):
    """The token to make."""

    expires_in_days = serializers.IntegerField(
        min_value=1,
        max_value=MAX_DAYS,
        required=False,
        allow_null=True,
        help_text=f"{DEFAULT_DAYS} if left out; null: it lasts until it is revoked.",
    )


class NewDomain(Input):
    """The domain to claim."""

    name = serializers.CharField(max_length=253, help_text="Such as `example.com`.")
    connection_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="What its people sign in by; null: nothing yet."
    )


class DomainChange(Input):
    """What the domain's people sign in by."""

    connection_id = serializers.UUIDField(allow_null=True, help_text="Null: nothing any more.")


class NewBreakGlassOwner(Input):
    """The owner to name."""

    user_id = serializers.UUIDField()
