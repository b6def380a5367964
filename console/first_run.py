"""The way from an empty project to the first query, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from indexes.models import Index
from indexes.selectors import indexes_visible_to
from keys.models import KeyUsage
from keys.selectors.usage import last_query, working_keys
from orgs.actors import Actor
from projects.models import Project


@dataclass(frozen=True, slots=True)
class FirstRun:
    """How far it is.

    Attributes:
        index: the newest index, a ready one first; None: there is none.
        query: the newest search that arrived; None: none has.
    """

    has_key: bool
    index: Index | None
    query: KeyUsage | None

    @property
    def is_done(self) -> bool:
        """Whether a first query has arrived."""
        return self.query is not None

    @property
    def steps(self) -> dict[str, Literal["done", "now", "later"]]:
        """Every step's state by its name, in order; the first that is not done is at hand."""
        done = {
            "key": self.has_key or self.is_done,
            "index": (self.index is not None and self.index.is_ready) or self.is_done,
            "query": self.is_done,
        }
        now = next((name for name, is_done in done.items() if not is_done), "")
        return {
            name: "done" if is_done else "now" if name == now else "later"
            for name, is_done in done.items()
        }


def first_run(actor: Actor, project: Project) -> FirstRun:
    """How far the project is, as far as the actor may see its indexes. Three queries."""
    indexes = list(indexes_visible_to(actor).filter(project=project).order_by("-created_at")[:50])
    ready = [index for index in indexes if index.is_ready]
    return FirstRun(
        has_key=working_keys([project.pk]).exists(),
        index=next(iter(ready or indexes), None),
        query=last_query(project),
    )
