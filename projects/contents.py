"""How this room learns what rooms above keep in projects and organizations: they register it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from orgs.plans import Entitlement

Counter = Callable[[UUID], int]


@dataclass(frozen=True, slots=True)
class Contents:
    """A kind of object that has to be gone before its project can go.

    Attributes:
        kind: what people call several of them, such as `indexes`.
        count: how many a project has.
        forget: removes what is left of those that are gone; returns how many rows.
    """

    kind: str
    count: Counter
    forget: Counter | None = None


_contents: dict[str, Contents] = {}
_usage: dict[Entitlement, Counter] = {}


def register_contents(kind: str, count: Counter, *, forget: Counter | None = None) -> None:
    """Tell of a kind of object that keeps its project from being deleted. Called once, when the app
    is ready.

    `forget` is called in the transaction that deletes a project in which `count` found none.
    """
    _contents[kind] = Contents(kind, count, forget)


def register_usage(entitlement: Entitlement, count: Counter) -> None:
    """Tell how what a limit is about is counted: by the project's id for limits per project, else
    by the organization's. Called once, when the app is ready.
    """
    _usage[entitlement] = count


def all_contents() -> list[Contents]:
    """Every kind, in the order in which they were registered."""
    return list(_contents.values())


def used(entitlement: Entitlement, pk: UUID) -> int:
    """How many of what the limit is about the project or the organization has now."""
    return _usage[entitlement](pk)
