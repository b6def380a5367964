"""Drivers run index servers. For now there is one: `process`."""

from __future__ import annotations

from indexes.drivers.base import Driver
from indexes.drivers.process import ProcessDriver


def current_driver() -> Driver:
    """The driver of this node."""
    return ProcessDriver()
