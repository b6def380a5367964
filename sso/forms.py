"""What owners, and administrators of identity providers, fill in about single sign-on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django import forms

from orgs import registry
from orgs.errors import InvalidArgument
from orgs.models import CustomRole, ResourceType, User
from orgs.permissions import BINDABLE, OWNER_ROLE, ROLE_HELP, Role
from sso.checks import (
    ATTRIBUTE_LENGTH,
    ATTRIBUTES,
    CLIENT_ID_LENGTH,
    COMMON_FIELDS,
    ENTITY_ID_LENGTH,
    MAX_CLOCK_SKEW,
    MAX_SESSION_HOURS,
    NAME_LENGTH,
    OIDC_FIELDS,
    SAML_FIELDS,
    SECRET_LENGTH,
    URL_LENGTH,
)
from sso.models import Connection

METADATA_BYTES = 512 * 1024
CERTIFICATE_LENGTH = 64 * 1024
DOMAIN_LENGTH = 300
REASON_LENGTH = 500
SPARE_ROWS = 3
Choices = list[tuple[str, str]]
RULES: dict[str, Callable[[object], object]] = {**COMMON_FIELDS, **SAML_FIELDS, **OIDC_FIELDS}


def _text(**attributes: Any) -> forms.TextInput:
    return forms.TextInput({"autocomplete": "off", "spellcheck": "false", **attributes})


class _Form(forms.Form):
    """Fields of a connection keep the rules of the service, so that errors stand beside them."""

    use_required_attribute = False

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]  # the stubs leave it out
        for name in list(self.cleaned_data):
            if name in RULES and self.fields[name].__class__ is not forms.FileField:
                try:
                    self.cleaned_data[name] = RULES[name](self.cleaned_data[name])
                except InvalidArgument as error:
                    self.add_error(name, error.message)


class NewConnectionForm(_Form):
    """A new connection."""

    name = forms.CharField(
        label="Name",
        max_length=NAME_LENGTH,
        help_text="What your people know the identity provider by, such as “Acme Okta”.",
        widget=_text(autofocus=True),
    )
    protocol = forms.ChoiceField(
        label="Protocol",
        choices=[
            (Connection.Protocol.SAML.value, "SAML 2.0: Okta, Entra ID, Google, Keycloak, others"),
            (Connection.Protocol.OIDC.value, "OpenID Connect: where your provider prefers it"),
        ],
        initial=Connection.Protocol.SAML.value,
        widget=forms.RadioSelect,
        help_text="It can't be changed afterwards.",
    )


class MetadataForm(_Form):
    """The identity provider's metadata, as a file or pasted."""

    file = forms.FileField(
        label="Metadata file",
        required=False,
        allow_empty_file=True,
        help_text="The XML file that the identity provider offers, at most 512 kB.",
        widget=forms.FileInput({"accept": ".xml,text/xml,application/xml"}),
    )
    text = forms.CharField(
        label="Or paste the XML",
        required=False,
        strip=False,
        widget=forms.Textarea({"rows": 4, "spellcheck": "false", "autocomplete": "off"}),
    )
    idp_entity_id = forms.CharField(
        label="Entity ID (optional)",
        max_length=ENTITY_ID_LENGTH,
        required=False,
        help_text="Only where the metadata describes several identity providers: which one is"
        " yours.",
        widget=_text(),
    )

    def __init__(self, *args: Any, has_entity_id: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not has_entity_id:
            del self.fields["idp_entity_id"]

    def clean(self) -> dict[str, Any]:
        """One of the two, within the limit."""
        cleaned = super().clean() or {}
        file, text = cleaned.get("file"), cleaned.get("text") or ""
        if file is None and not text.strip():
            self.add_error("file", "Choose the metadata file, or paste what it says.")
        elif (file.size if file else len(text.encode())) > METADATA_BYTES:
            self.add_error(
                "file" if file else "text",
                "This is more than 512 kB. Take the metadata of this one application.",
            )
        return cleaned

    def xml(self) -> bytes:
        """What was given."""
        file = self.cleaned_data.get("file")
        if file is not None:
            found: bytes = file.read(METADATA_BYTES + 1)
            return found
        return str(self.cleaned_data["text"]).strip().encode()


class MetadataUrlForm(_Form):
    """Where the identity provider publishes its metadata."""

    metadata_url = forms.CharField(
        label="Metadata address",
        max_length=URL_LENGTH,
        help_text="It is read every hour: certificates that the identity provider changes are taken"
        " over by themselves.",
        widget=_text(inputmode="url"),
    )


class ByHandForm(_Form):
    """What metadata would say, typed in."""

    idp_entity_id = forms.CharField(
        label="Entity ID",
        max_length=ENTITY_ID_LENGTH,
        help_text="Also called issuer, or identifier.",
        widget=_text(),
    )
    sso_url = forms.CharField(
        label="Sign-in address",
        max_length=URL_LENGTH,
        help_text="Also called single sign-on URL, or login URL. HTTP-Redirect binding.",
        widget=_text(inputmode="url"),
    )
    slo_url = forms.CharField(
        label="Logout address (optional)",
        max_length=URL_LENGTH,
        required=False,
        widget=_text(inputmode="url"),
    )
    certificate = forms.CharField(
        label="Signing certificate",
        max_length=CERTIFICATE_LENGTH,
        help_text="From “-----BEGIN CERTIFICATE-----” on.",
        widget=forms.Textarea({"rows": 6, "spellcheck": "false", "autocomplete": "off"}),
    )

    def __init__(
        self, *args: Any, has_certificate: bool = False, has_logout: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if not has_logout:
            del self.fields["slo_url"]
        if has_certificate:
            field = self.fields["certificate"]
            field.required = False
            field.label = "Another signing certificate (optional)"


class OidcForm(_Form):
    """What OpenID Connect needs of the identity provider."""

    issuer = forms.CharField(
        label="Issuer",
        max_length=ENTITY_ID_LENGTH,
        help_text="Such as https://example.okta.com. Its discovery document has to stand below it.",
        widget=_text(inputmode="url"),
    )
    client_id = forms.CharField(label="Client ID", max_length=CLIENT_ID_LENGTH, widget=_text())
    client_secret = forms.CharField(
        label="Client secret",
        max_length=SECRET_LENGTH,
        widget=forms.PasswordInput({"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, has_secret: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if has_secret:
            field = self.fields["client_secret"]
            field.required = False
            field.help_text = "One is kept. Leave this empty to keep it."

    def changes(self) -> dict[str, object]:
        """What to change; the secret only where one was typed."""
        return {k: v for k, v in self.cleaned_data.items() if v or k != "client_secret"}


class SettingsForm(_Form):
    """How the connection signs in."""

    name = forms.CharField(label="Name", max_length=NAME_LENGTH, widget=_text())
    session_hours = forms.IntegerField(
        label="A sign-in lasts at most (hours)",
        min_value=1,
        max_value=MAX_SESSION_HOURS,
        help_text="1 to 336. It ends sooner where the identity provider says so.",
    )
    trusts_idp_mfa = forms.BooleanField(
        label="The identity provider asks for a second factor",
        required=False,
        help_text="Then nobody is asked for one here again, and the sign-in counts as one with a"
        " second factor.",
    )
    signed_part = forms.ChoiceField(
        label="What has to be signed", choices=Connection.SignedPart.choices
    )
    signs_requests = forms.BooleanField(
        label="Sign our requests",
        required=False,
        help_text="The identity provider finds the certificate in our metadata.",
    )
    requires_encryption = forms.BooleanField(
        label="Take encrypted assertions only",
        required=False,
        help_text="Switch encryption on at the identity provider first.",
    )
    allows_idp_initiated = forms.BooleanField(
        label="Let people start at the identity provider",
        required=False,
        help_text="From a tile in its portal. Off is safer: such sign-ins answer no question of"
        " ours, so people are asked to confirm each.",
    )
    clock_skew_seconds = forms.IntegerField(
        label="How far the clocks may differ (seconds)",
        min_value=0,
        max_value=MAX_CLOCK_SKEW,
        help_text="0 to 300.",
    )

    def __init__(self, *args: Any, protocol: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if protocol != Connection.Protocol.SAML:
            for name in set(self.fields) & set(SAML_FIELDS):
                del self.fields[name]


USUAL_NAMES = {
    "email": ("E-mail", "email, mail, emailaddress"),
    "uid": ("Lasting id", "the NameID, or sub"),
    "name": ("Full name", "displayName, name"),
    "first_name": ("First name", "firstName, givenname"),
    "last_name": ("Last name", "lastName, surname"),
    "groups": ("Groups", "groups, memberOf"),
    "roles": ("Roles", "roles"),
}


class RolesForm(_Form):
    """Who comes in, as what."""

    provisions_people = forms.BooleanField(
        label="Make an account for people who have none",
        required=False,
        help_text="At their first sign-in. Otherwise invite them, or have your directory send them"
        " by SCIM.",
    )
    default_role = forms.ChoiceField(
        label="Role of who is new",
        choices=[
            (role.value, f"{role.value}: {ROLE_HELP[role]}")
            for role in Role
            if role.value in BINDABLE["organization"] - {OWNER_ROLE}
        ],
        help_text="On the organization.",
    )
    roles_mode = forms.ChoiceField(
        label="Roles are given",
        choices=[(value, label) for value, label in Connection.RolesMode.choices],
        widget=forms.RadioSelect,
    )

    def __init__(self, *args: Any, can_map: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not can_map:
            del self.fields["roles_mode"]
        for name in ATTRIBUTES:
            label, usual = USUAL_NAMES[name]
            self.fields[f"attribute_{name}"] = forms.CharField(
                label=label,
                required=False,
                max_length=ATTRIBUTE_LENGTH,
                widget=_text(placeholder=usual),
            )

    @property
    def attribute_fields(self) -> list[forms.BoundField]:
        """One for each thing that the identity provider tells."""
        return [self[f"attribute_{name}"] for name in ATTRIBUTES]

    def changes(self) -> dict[str, object]:
        """What to change, without the tables of roles."""
        given = self.cleaned_data
        names = ("provisions_people", "default_role", "roles_mode")
        return {
            **{name: given[name] for name in names if name in given},
            "attribute_map": {n: given[f"attribute_{n}"] for n in ATTRIBUTES},
        }


class ProjectRoleRow(_Form):
    """A role on a project for everybody who is new."""

    project_id = forms.ChoiceField(label="Project", required=False)
    role = forms.ChoiceField(label="Role", required=False)

    def __init__(self, *args: Any, projects: Choices, roles: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _choices(self, "project_id", [("", "—"), *projects], self.initial)
        _choices(self, "role", [("", "—"), *roles], self.initial)

    def clean(self) -> dict[str, Any]:
        """Both or none."""
        cleaned = super().clean() or {}
        if bool(cleaned.get("project_id")) != bool(cleaned.get("role")):
            self.add_error(None, "Choose both project and role, or neither.")
        return cleaned

    def row(self) -> dict[str, object] | None:
        """As the connection keeps it; None: the row is empty."""
        given = self.cleaned_data
        if not given.get("project_id"):
            return None
        return {"role": given["role"], "project_id": given["project_id"]}


class MappingRow(_Form):
    """A group or role of the identity provider, and the role it gives."""

    value = forms.CharField(label="Group or role", required=False, max_length=256, widget=_text())
    role = forms.ChoiceField(label="Gives the role", required=False)
    project_id = forms.ChoiceField(label="On", required=False)

    def __init__(self, *args: Any, projects: Choices, roles: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        everywhere = [("", "the organization"), *projects]
        _choices(self, "project_id", everywhere, self.initial)
        _choices(self, "role", [("", "—"), *roles], self.initial)

    def clean(self) -> dict[str, Any]:
        """Value and role, or neither."""
        cleaned = super().clean() or {}
        if bool(cleaned.get("value")) != bool(cleaned.get("role")):
            self.add_error(None, "Name the group or role and choose what it gives, or neither.")
        return cleaned

    def row(self) -> dict[str, object] | None:
        """As the connection keeps it; None: the row is empty."""
        given = self.cleaned_data
        if not given.get("value"):
            return None
        return {
            "value": given["value"],
            "role": given["role"],
            "project_id": given["project_id"] or None,
        }


def _choices(form: forms.Form, name: str, choices: Choices, initial: Any) -> None:
    """Offer them, and what stands there though it is not among them any more."""
    kept = str((initial or {}).get(name) or "")
    known = {value for value, _ in choices}
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101  the class says so
    field.choices = [*choices, *([(kept, f"gone: {kept}")] if kept not in known else [])]


class Rows:
    """Forms in a table that grows: those that stand, and some empty ones.

    Args:
        prefix: tells the tables of a page apart.
        kept: the rows as the connection keeps them.
        data: what was sent; None: nothing.
    """

    LIMIT = 1000

    def __init__(
        self,
        kind: type[ProjectRoleRow | MappingRow],
        prefix: str,
        *,
        kept: list[dict[str, Any]],
        data: Any,
        projects: Choices,
        roles: Choices,
    ) -> None:
        self.prefix = prefix
        self.count = len(kept) + SPARE_ROWS
        if data is not None:
            sent = str(data.get(f"{prefix}-count", ""))
            self.count = min(int(sent), self.LIMIT) if sent.isdecimal() and len(sent) < 5 else 0  # noqa: PLR2004
        self.forms = [
            kind(
                data,
                prefix=f"{prefix}-{place}",
                initial=kept[place] if place < len(kept) else {},
                projects=projects,
                roles=roles,
            )
            for place in range(self.count)
        ]

    def is_valid(self) -> bool:
        """Whether every row is."""
        return all(form.is_valid() for form in self.forms)

    def rows(self) -> list[dict[str, object]]:
        """The rows that are not empty."""
        return [row for form in self.forms if (row := form.row()) is not None]


def project_choices(organization_id: UUID) -> Choices:
    """The organization's projects. One query."""
    found = registry.list_resources(ResourceType.PROJECT, organization_id)
    return [(str(each.id), each.label) for each in found]


def role_choices(organization_id: UUID) -> tuple[Choices, Choices]:
    """Roles that can be given on a project, and on anything. One query."""
    own = [(str(r.pk), r.name) for r in CustomRole.objects.filter(organization_id=organization_id)]
    on_projects = [(r.value, r.value) for r in Role if r in BINDABLE["project"]]
    on_organization = [(r.value, r.value) for r in Role if r in BINDABLE["organization"]]
    return [*on_projects, *own], [*on_organization, *on_projects, *own]


class CertificateForm(_Form):
    """One more certificate of the identity provider."""

    pem = forms.CharField(
        label="Certificate",
        max_length=CERTIFICATE_LENGTH,
        help_text="Beside those that stand: sign-ins signed with either are taken.",
        widget=forms.Textarea({"rows": 6, "spellcheck": "false", "autocomplete": "off"}),
    )


class DomainForm(_Form):
    """A mail domain to claim."""

    name = forms.CharField(
        label="Domain",
        max_length=DOMAIN_LENGTH,
        help_text="What stands behind the @ of your people's addresses, such as example.com."
        " Sub-domains are domains of their own.",
        widget=_text(placeholder="example.com"),
    )
    connection = forms.ChoiceField(label="Its people sign in by", required=False)

    def __init__(self, *args: Any, connections: Iterable[Connection], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer_connections(self, connections)


class AssignForm(_Form):
    """Which connection the people of a domain sign in by."""

    connection = forms.ChoiceField(label="Its people sign in by", required=False)

    def __init__(self, *args: Any, connections: Iterable[Connection], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer_connections(self, connections)


def _offer_connections(form: forms.Form, connections: Iterable[Connection]) -> None:
    field = form.fields["connection"]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101  the classes say so
    field.choices = [("", "no connection yet"), *((str(c.pk), c.name) for c in connections)]


class TypedNameForm(forms.Form):
    """The name, typed, so that nothing is deleted by a slip."""

    use_required_attribute = False
    confirm = forms.CharField(
        max_length=DOMAIN_LENGTH,
        widget=_text(),
        error_messages={"required": "Type the name to confirm."},
    )

    def __init__(self, *args: Any, name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = name
        self.fields["confirm"].label = f"Type “{name}” to confirm"

    def clean_confirm(self) -> str:
        """The name, if it is that."""
        typed: str = self.cleaned_data["confirm"]
        if typed != self.name:
            raise forms.ValidationError(f"This is not the name: it is “{self.name}”.")
        return typed


class ScimTokenForm(_Form):
    """A token for the directory."""

    days = forms.TypedChoiceField(
        label="The token works",
        choices=[
            ("90", "for 90 days"),
            ("365", "for a year"),
            ("", "until it is revoked"),
        ],
        coerce=int,
        required=False,
        empty_value=None,
    )


class RelaxForm(forms.Form):
    """What becomes of the connection when it is not required any more."""

    to_state = forms.ChoiceField(
        label="The connection",
        choices=[
            (Connection.State.ACTIVE.value, "stays on: people choose how they sign in"),
            (Connection.State.DISABLED.value, "is switched off"),
        ],
        initial=Connection.State.ACTIVE.value,
        widget=forms.RadioSelect,
    )


class BreakGlassOwnerForm(_Form):
    """An owner to name."""

    user = forms.ChoiceField(
        label="Owner", error_messages={"invalid_choice": "Choose one of the owners."}
    )

    def __init__(self, *args: Any, owners: Iterable[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["user"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  the class says so
        field.choices = [(str(owner.pk), owner.email) for owner in owners]
