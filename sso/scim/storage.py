"""Where the SCIM service reads and writes: one connection's people and groups.

Reading goes to the rows, writing through the services. Every write holds the organization's lock
from before it reads, so that two at once follow each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from scim2_models import (
    ConflictException,
    ForbiddenException,
    InvalidValueException,
    NotFoundException,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    SCIMException,
    ScimFilter,
    SearchRequest,
    TooManyException,
    UniquenessException,
)
from scim2_server.storage import ScimStorage, SearchPage

from orgs.actors import Actor
from orgs.errors import AlreadyExists, Code, InvalidArgument, NotFound, Refused
from orgs.services.owners import lock_organization
from sso.models import Connection, ScimGroup, ScimUser
from sso.scim.filters import GROUP_ATTRIBUTES, USER_ATTRIBUTES, condition
from sso.scim.resources import entry_of, group_entry_of, group_resource, user_resource
from sso.selectors.scim import groups_by_user, groups_of, members_by_group, users_of
from sso.services.scim_groups import create_scim_group, delete_scim_group, update_scim_group
from sso.services.scim_users import create_scim_user, delete_scim_user, update_scim_user

MAX_SCANNED = 5000
"""So many resources at most are looked at one by one, where the database can't answer a filter."""
MAX_START = 2**31
USERS = "User"
_KINDS: dict[Code, type[SCIMException]] = {
    Code.ABORTED: ConflictException,
    Code.FAILED_PRECONDITION: ConflictException,
    Code.PERMISSION_DENIED: ForbiddenException,
    Code.QUOTA_EXCEEDED: ForbiddenException,
}


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what a service refuses into SCIM's exceptions."""
    try:
        yield
    except InvalidArgument as error:
        raise InvalidValueException(detail=error.message) from error
    except AlreadyExists as error:
        raise UniquenessException(detail=error.message) from error
    except NotFound as error:
        raise NotFoundException(detail=error.message) from error
    except Refused as error:
        raise _KINDS.get(error.code, ConflictException)(detail=error.message) from error


class Storage(ScimStorage):
    """The people and groups of one connection, for the directory that asks."""

    def __init__(self, actor: Actor, connection: Connection, *, writes: bool) -> None:
        self.actor = actor
        self.connection = connection
        self.writes = writes

    @contextmanager
    def operation(self) -> Iterator[None]:
        """One transaction; a write begins with the organization's lock."""
        with transaction.atomic():
            if self.writes:
                lock_organization(self.connection.organization_id)
            yield

    def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        """The resource."""
        row = self._rows(resource_type).filter(pk=_uuid(resource_type, resource_id)).first()
        if row is None:
            raise _no_such(resource_type, resource_id)
        found: Resource[Any] = self._resources([row], response_parameters)[0]
        return found

    def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,
    ) -> SearchPage:
        """One page, in as many queries whatever there is; by the database where it can."""
        # No database counts any further.
        first = min(search_request.start_index_0 or 0, MAX_START)
        last = first + (search_request.count or 0)
        total, found = 0, []
        for resource_type in resource_types:
            # Where the page begins and ends among the resources of this type.
            span = slice(max(0, first - total), max(0, last - total))
            page = self._page(resource_type, search_request, span)
            total += page.total or 0
            found += page.resources
        return SearchPage(total, found)

    def _page(
        self, resource_type: ResourceType, search_request: SearchRequest[Any], span: slice
    ) -> SearchPage:
        rows = self._rows(resource_type)
        wanted = search_request.filter
        if wanted is not None:
            is_user = resource_type.name == USERS
            asked = condition(wanted.ast, USER_ATTRIBUTES if is_user else GROUP_ATTRIBUTES)
            if asked is None:
                return self._scan(rows, wanted, span)
            rows = rows.filter(asked)
        return SearchPage(rows.count(), self._resources(list(rows[span]), search_request))

    def _scan(self, rows: QuerySet[Any], wanted: ScimFilter[Any], span: slice) -> SearchPage:
        found = list(rows[: MAX_SCANNED + 1])
        if len(found) > MAX_SCANNED:
            raise TooManyException(
                detail=f"There are more than {MAX_SCANNED} resources, which this filter has to look"
                " at one by one. Filter by userName, displayName, externalId, active or id."
            )
        # Against every attribute, also those that the answer leaves out.
        matching = [each for each in self._resources(found, None) if wanted.match(each)]
        return SearchPage(len(matching), matching[span])

    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """Make a person or a group by what was sent."""
        who: dict[str, Any] = {"actor": self.actor, "connection": self.connection}
        with refusals():
            row: ScimUser | ScimGroup
            if resource_type.name == USERS:
                row = create_scim_user(**who, entry=entry_of(resource))
            else:
                row = create_scim_group(**who, entry=group_entry_of(resource))
        return self.get(resource_type, str(row.pk))

    def update(
        self,
        resource_type: ResourceType,
        resource: Resource[Any],
        *,
        expected_version: str | None = None,
    ) -> Resource[Any]:
        """Have the person or group be as the whole resource says."""
        pk = self._expected(resource_type, str(resource.id), expected_version)
        who: dict[str, Any] = {"actor": self.actor, "connection": self.connection}
        with refusals():
            if resource_type.name == USERS:
                update_scim_user(**who, scim_user_id=pk, entry=entry_of(resource))
            else:
                update_scim_group(**who, scim_group_id=pk, entry=group_entry_of(resource))
        return self.get(resource_type, str(pk))

    def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:
        """Take the person out of the organization, or delete the group."""
        pk = self._expected(resource_type, resource_id, expected_version)
        who: dict[str, Any] = {"actor": self.actor, "connection": self.connection}
        with refusals():
            if resource_type.name == USERS:
                delete_scim_user(**who, scim_user_id=pk)
            else:
                delete_scim_group(**who, scim_group_id=pk)

    def _rows(self, resource_type: ResourceType) -> QuerySet[Any]:
        if resource_type.name == USERS:
            return users_of(self.connection)
        return groups_of(self.connection)

    def _resources(
        self, rows: list[Any], response_parameters: ResponseParameters[Any] | None
    ) -> list[Any]:
        """The rows as resources; what is costly and not asked for is left out."""
        if not rows:
            return []
        if isinstance(rows[0], ScimUser):
            groups = (
                groups_by_user(self.connection, rows)
                if _wants("groups", response_parameters)
                else {}
            )
            return [user_resource(row, groups.get(row.user_id, ())) for row in rows]
        members = (
            members_by_group(self.connection, rows)
            if _wants("members", response_parameters)
            else {}
        )
        return [group_resource(row, members.get(row.group_id, ())) for row in rows]

    def _expected(self, resource_type: ResourceType, resource_id: str, version: str | None) -> UUID:
        """The id, if the version is the one that the caller has seen."""
        pk = _uuid(resource_type, resource_id)
        row = self._rows(resource_type).filter(pk=pk).first()
        if row is None:
            raise _no_such(resource_type, resource_id)
        if version is not None and version != f'W/"{row.version}"':
            raise PreconditionFailedException
        return pk


def _wants(name: str, parameters: ResponseParameters[Any] | None) -> bool:
    """Whether the answer has the attribute; in doubt it has."""
    if parameters is None:
        return True
    left_out = [str(path).lower() for path in parameters.excluded_attributes or []]
    return name not in left_out


def _uuid(resource_type: ResourceType, resource_id: str) -> UUID:
    try:
        return UUID(resource_id)
    except ValueError:
        raise _no_such(resource_type, resource_id) from None


def _no_such(resource_type: ResourceType, resource_id: str) -> NotFoundException:
    return NotFoundException(detail=f"There is no {resource_type.name} {resource_id[:80]!r}.")
