"""The SCIM service: what it offers, and where its clients may depart from the letter.

Real directories do: Entra writes to entries that are not there yet, removes members by a value, and
sends a manager as plain text; many send attributes of their own. `POLICY` and the models let that
pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, cast

import scim2_models
from pydantic import Field, field_validator
from scim2_models import (
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    Context,
    ETag,
    External,
    Filter,
    InvalidFilterException,
    InvalidValueException,
    Mutability,
    Patch,
    PatchOp,
    Reference,
    Required,
    Resource,
    ResourceType,
    ResponseParameters,
    ScimPolicy,
    ScimProvider,
    SearchRequest,
    ServiceProviderConfig,
    Sort,
    User,
)
from scim2_models.messages.patch_op import PatchOperation
from scim2_server.conditions import Conditions
from scim2_server.responses import ScimResponse
from scim2_server.service import ScimService

MAX_RESULTS = 200
MAX_OPERATIONS = 500
"""So many operations in one PATCH at most: each is applied by itself."""
MAX_FILTER = 2000
"""So many characters of a filter at most: every comparison may meet every resource."""
_ONE_MEMBER = re.compile(r'members\[\s*value\s+eq\s+"([^"\\]*)"\s*\]', re.IGNORECASE)


class Manager(ComplexAttribute):
    """Whom the person works for. The RFC demands a reference, which directories don't send."""

    value: str | None = None
    ref: Annotated[Reference[User[Any]] | None, Required.false] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    display_name: Annotated[str | None, Mutability.read_only] = None


class EnterpriseUser(scim2_models.EnterpriseUser):
    """The extension with a manager that may be sent as plain text, which is their id."""

    manager: Manager | None = None  # type: ignore[assignment]  # a laxer one

    @field_validator("manager", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"value": value} if isinstance(value, str) and value else value


class Member(ComplexAttribute):
    """A person in a group. What they are called is not for the group to say, so it is left out."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    ref: Annotated[Reference[User[Any]] | None, Mutability.immutable] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=["User"])


class Group(scim2_models.Group):
    """A group of people."""

    members: list[Member] | None = None  # type: ignore[assignment]  # one of fewer words


UserResource = User[EnterpriseUser]
PROVIDER = ScimProvider(
    models=[User, Group, EnterpriseUser],
    resource_types=[
        ResourceType.from_resource(UserResource),
        ResourceType.from_resource(Group),
    ],
    config=ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MAX_RESULTS),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=False),
        etag=ETag(supported=False),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="Bearer token",
                description="A token of the connection, from an owner of the organization",
                spec_uri=Reference[External]("https://datatracker.ietf.org/doc/html/rfc6750"),
            )
        ],
    ),
    policy=ScimPolicy(
        unknown=ScimPolicy.Unknown.ignore,
        remove_value_as_filter=ScimPolicy.RemoveValue.apply,
        unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
    ),
)


class Service(ScimService):
    """The protocol with bounds, and PATCH as clients expect it: answered with the resource."""

    def read_search(
        self, resource_types: list[ResourceType], payload: Any
    ) -> tuple[SearchRequest[Any], Any]:
        """As everywhere, for filters of a bounded length."""
        for name, value in payload.items() if isinstance(payload, dict) else ():
            if name.lower() == "filter" and len(str(value)) > MAX_FILTER:
                raise InvalidFilterException(
                    detail=f"The filter has more than {MAX_FILTER} characters."
                )
        return super().read_search(resource_types, payload)

    def read_patch(
        self, resource_type: ResourceType, body: bytes, content_type: str | None
    ) -> PatchOp[Any]:
        """As everywhere, for a bounded number of operations."""
        found = self.decode_body(body, content_type)
        for name, value in found.items() if isinstance(found, dict) else ():
            if (
                name.lower() == "operations"
                and isinstance(value, list)
                and len(value) > MAX_OPERATIONS
            ):
                raise InvalidValueException(
                    detail=f"{len(value)} operations; at most {MAX_OPERATIONS} at a time."
                )
        return super().read_patch(resource_type, body, content_type)

    def apply_replacement(
        self, current: Resource[Any], replacement: Resource[Any], conditions: Conditions
    ) -> Resource[Any] | None:
        """As everywhere; but who does not say whether a person is active does not change it."""
        if isinstance(replacement, User) and replacement.active is None:
            replacement.active = cast("User[Any]", current).active
        return super().apply_replacement(current, replacement, conditions)

    def apply_patch(
        self, current: Resource[Any], patch_op: PatchOp[Any], conditions: Conditions
    ) -> Resource[Any] | None:
        """As everywhere; but people come into a group and leave it by their id.

        The library compares each of them with each other, which takes seconds where there are
        thousands.
        """
        if not isinstance(current, Group) or not patch_op.operations:
            return super().apply_patch(current, patch_op, conditions)
        self.check_preconditions(current, "PATCH", conditions)
        before = current.model_copy(deep=True)
        for operation in patch_op.operations:
            if not _patch_members(current, operation):
                type(patch_op)(Operations=[operation]).patch(current)
        return None if current == before else current

    def patch_response(
        self,
        base_url: str,
        resource: Resource[Any],
        response_parameters: ResponseParameters[Any],
    ) -> ScimResponse:
        """The whole resource, which the RFC leaves to the server."""
        return self.resource_response(
            self.publish(base_url, resource),
            Context.RESOURCE_REPLACEMENT_RESPONSE,
            response_parameters,
        )


SERVICE = Service(PROVIDER)


def _patch_members(group: Group, operation: PatchOperation[Any]) -> bool:
    """Apply an operation that names members by their ids; False: it is another one."""
    path = str(operation.path or "").strip()
    one = _ONE_MEMBER.fullmatch(path)
    if operation.op == PatchOperation.Op.remove and one and operation.value is None:
        _remove(group, [one[1]])
        return True
    if path.lower() != "members" or not isinstance(operation.value, list):
        return False
    ids = [_id_of(each) for each in operation.value]
    if not all(ids):
        return False
    if operation.op == PatchOperation.Op.remove:
        _remove(group, ids)
    else:
        is_add = operation.op == PatchOperation.Op.add
        members = {str(each.value): each for each in group.members or [] if is_add}
        for pk in ids:
            members.setdefault(pk, Member.model_validate({"value": pk}))
        group.members = list(members.values())
    return True


def _id_of(entry: Any) -> str:
    """The id in one entry of `members`; empty: it has another form."""
    value = entry.get("value") if isinstance(entry, dict) else None
    return value if isinstance(value, str) else ""


def _remove(group: Group, ids: Iterable[str]) -> None:
    gone = set(ids)
    group.members = [each for each in group.members or [] if each.value not in gone] or None
