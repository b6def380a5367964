"""What `authorize()` found when it said no: carried by the refusal, written down at the edge.

The transaction in which it was found is rolled back, so the record is made after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from orgs.actors import Actor, Binding


@dataclass(frozen=True, slots=True)
class Denial:
    """Who was denied what, where, and with which roles.

    Attributes:
        what: what was asked for, in the words of the answer, such as `API key <id>`.
        hidden: whether the actor was told that it does not exist.
        reason: why the roles held there did not count; empty: they lack the permission.
        trace: the bindings that apply there.
    """

    actor: Actor
    permission: str
    organization_id: UUID
    project_id: UUID | None
    index_id: UUID | None
    what: str
    hidden: bool
    reason: str
    trace: tuple[Binding, ...]
    id: UUID = field(default_factory=uuid4)
