"""What provisioning asks of whatever runs index servers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from indexes.models import Deployment


class DriverUnavailable(Exception):
    """What runs the processes does not answer, or refused; trying again later may work."""


class ProcessState(StrEnum):
    """How a deployment's process is doing."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Status:
    """A process as the driver sees it.

    Attributes:
        seconds: since it was last started.
    """

    state: ProcessState
    seconds: float = 0.0


class Driver(Protocol):
    """Runs one process per deployment on this node. Every method may be repeated.

    Raises (all methods):
        DriverUnavailable: what runs the processes can't be reached.
    """

    def ensure(self, deployment: Deployment) -> None:
        """See to it that the process runs with the deployment's newest configuration."""

    def remove(self, deployment_id: UUID) -> bool:
        """Stop the process and forget it; False while it is still stopping."""

    def status(self, deployment_id: UUID) -> Status | None:
        """The process, or None where the driver knows none."""

    def all(self) -> dict[UUID, Status]:
        """Every index server that the driver knows."""

    def reason(self, deployment_id: UUID) -> str:
        """What the process said last about its failure; empty where it said nothing."""
