"""Denials are written down at the edge, after the transaction that they ended is rolled back."""

from __future__ import annotations

from uuid import UUID

from orgs.errors import Refused
from orgs.services.decisions import record_denial

DECISION_HEADER = "X-Decision-Id"


def decision_of(refused: Refused) -> UUID | None:
    """Write down what was denied; the id that the answer may show.

    None where nothing was denied, where it could not be written down, and where the actor is told
    that there is nothing: such an answer differs in nothing from that to an absent object.
    """
    if refused.denial is None:
        return None
    decision_id = record_denial(refused.denial)
    return None if refused.denial.hidden else decision_id
