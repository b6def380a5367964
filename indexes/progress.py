"""How far the work on an index is, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from indexes.models import Index, Operation
from indexes.provisioning import STEPS

WORDS = {
    "allocate": "Reserve a place for its server",
    "make_key": "Make its encryption key",
    "write_files": "Write configuration and certificate",
    "start": "Start its server",
    "await_health": "Wait until the server answers",
    "announce": "Open its address",
    "stop": "Stop its server",
    "shred": "Destroy its encryption keys",
    "remove_files": "Remove its files",
    "bury": "Give its name and address back",
}
"""Every step of `indexes.provisioning`."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the work; `failed` only where nobody tries again."""

    text: str
    state: Literal["done", "now", "failed", "later"]


@dataclass(frozen=True, slots=True)
class Progress:
    """The newest work on an index, in order.

    Attributes:
        is_moving: whether it goes on without anybody's help.
    """

    operation: Operation
    steps: list[Step]
    is_moving: bool

    @property
    def done(self) -> int:
        """How many steps are behind."""
        return sum(1 for step in self.steps if step.state == "done")


def progress_of(index: Index) -> Progress | None:
    """The newest work on the index; None: there never was any. One query."""
    operation = index.operations.order_by("-generation").first()
    if operation is None:
        return None
    names = list(STEPS[operation.kind])
    at = names.index(operation.step)
    if operation.state == Operation.State.SUCCEEDED:
        at = len(names)
    failed = operation.state == Operation.State.FAILED
    return Progress(
        operation,
        [
            Step(
                WORDS[name],
                "done" if place < at else "later" if place > at else "failed" if failed else "now",
            )
            for place, name in enumerate(names)
        ],
        is_moving=operation.state == Operation.State.PENDING,
    )
