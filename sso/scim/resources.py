"""Rows as SCIM resources, and what was sent as entries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from scim2_models import InvalidValueException

from sso.models import ScimGroup, ScimUser
from sso.scim.entries import Entry
from sso.scim.protocol import Group, UserResource
from sso.selectors.scim import Related
from sso.services.scim_groups import GroupEntry

MAX_ATTRIBUTES = 64 * 1024
"""So many bytes of JSON about one person are kept at most."""
_APART = (
    *("id", "meta", "userName", "externalId", "groups"),
    # Nobody signs in by a password that a directory knows, so it is kept nowhere.
    "password",
)


def user_resource(row: ScimUser, groups: Sequence[Related] = ()) -> Any:
    """The person with their groups."""
    return UserResource.model_validate(
        {
            **row.attributes,
            "id": str(row.pk),
            "externalId": row.external_id or None,
            "userName": row.user_name,
            "groups": [
                {
                    "value": str(each.id),
                    "$ref": f"Groups/{each.id}",
                    "display": each.name,
                    "type": "direct",
                }
                for each in groups
            ]
            or None,
            "meta": _meta("User", row),
        }
    )


def group_resource(row: ScimGroup, members: Sequence[UUID] = ()) -> Group:
    """The group with its people, by their SCIM ids."""
    return Group.model_validate(
        {
            "schemas": [str(Group.__schema__)],
            "id": str(row.pk),
            "externalId": row.external_id or None,
            "displayName": row.group.name,
            "members": [
                {
                    "value": str(each),
                    "$ref": f"Users/{each}",
                    "type": "User",
                }
                for each in members
            ]
            or None,
            "meta": _meta("Group", row),
        }
    )


def entry_of(resource: Any) -> Entry:
    """What a User says.

    Raises:
        InvalidValueException: more than is kept about one person.
    """
    attributes = resource.model_dump()
    for name in _APART:
        attributes.pop(name, None)
    size = len(json.dumps(attributes).encode())
    if size > MAX_ATTRIBUTES:
        raise InvalidValueException(
            detail=f"The User has {size} bytes of attributes; at most {MAX_ATTRIBUTES} are kept."
        )
    return Entry(
        user_name=resource.user_name or "",
        external_id=resource.external_id or "",
        attributes=attributes,
    )


def group_entry_of(resource: Any) -> GroupEntry:
    """What a Group says."""
    return GroupEntry(
        name=resource.display_name or "",
        external_id=resource.external_id or "",
        members=[str(each.value or "") for each in resource.members or []],
    )


def _meta(kind: str, row: ScimUser | ScimGroup) -> dict[str, Any]:
    return {
        "resourceType": kind,
        "created": row.created_at,
        "lastModified": row.updated_at,
        "version": f'W/"{row.version}"',
    }
