"""What an identity provider proved, whichever protocol it speaks: plain values, no XML, no JWT."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class VerifiedAssertion:
    """An assertion or ID token of which everything was checked but whether it was used before.

    Attributes:
        assertion_id: the assertion's ID, `jti`, or the token's digest: what replays are known by.
        not_on_or_after: from then on it is refused for its age (clock skew included).
        issuer: the identity provider's entity id or issuer.
        uid: who the person is at the identity provider for good: NameID, `sub` or the mapped
            attribute. 1 to 256 characters.
        email: lower case, checked to be one ASCII address; its domain is the caller's question.
        name: what the person is called; may be empty.
        groups: values of the mapped groups attribute.
        roles: values of the `roles` attribute (`pinecone:<OrgRole>`,
            `pinecone:project:<project id>:<ProjectRole>`).
        attributes: everything it says, for tests of the connection: name to values.
        name_id, name_id_format, session_index: for single logout; empty where there are none.
        session_not_on_or_after: until when the identity provider lets a session last.
        authenticated_at: when the person last proved there who they are; None: not told.
    """

    connection_id: UUID
    assertion_id: str
    not_on_or_after: datetime
    issuer: str
    uid: str
    email: str
    name: str = ""
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    attributes: dict[str, list[str]] = field(default_factory=dict)
    name_id: str = ""
    name_id_format: str = ""
    session_index: str = ""
    session_not_on_or_after: datetime | None = None
    authenticated_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """For a JSON column."""
        found = asdict(self)
        found["connection_id"] = str(self.connection_id)
        for name in _INSTANTS:
            found[name] = found[name].isoformat() if found[name] else None
        return found

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> VerifiedAssertion:
        """The inverse of `to_json`."""
        instants = {name: found[name] for name in _INSTANTS}
        return cls(
            **{
                **found,
                **{
                    name: datetime.fromisoformat(text) if text else None
                    for name, text in instants.items()
                },
                "connection_id": UUID(found["connection_id"]),
                "groups": tuple(found["groups"]),
                "roles": tuple(found["roles"]),
            }
        )


_INSTANTS = ("not_on_or_after", "session_not_on_or_after", "authenticated_at")
