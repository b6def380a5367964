"""What a directory says of a person, read from the SCIM resource as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A person as the directory knows them.

    Attributes:
        user_name: `userName` as it was sent.
        external_id: the directory's own id; empty: it sent none.
        attributes: the rest of the resource in SCIM's form, without what is kept apart.
    """

    user_name: str
    external_id: str
    attributes: dict[str, Any]

    @property
    def active(self) -> bool | None:
        """Whether the person may come in; None: the directory does not say."""
        found: bool | None = self.attributes.get("active")
        return found

    @property
    def email(self) -> str:
        """The person's address in lower case: `userName`, or where that is none, the primary
        address, or else the first. Empty: there is none.
        """
        if "@" in self.user_name:
            return self.user_name.strip().lower()
        found = [each for each in self._entries("emails") if each.get("value")]
        # False sorts first, and what sorts equal keeps its order.
        found.sort(key=lambda each: each.get("primary") is not True)
        return str(found[0]["value"]).strip().lower() if found else ""

    @property
    def name(self) -> str:
        """What the person is called, as one line; may be empty."""
        name = self.attributes.get("name") or {}
        parts = (name.get("givenName"), name.get("familyName"))
        text = (
            self.attributes.get("displayName")
            or name.get("formatted")
            or " ".join(part for part in parts if part)
        )
        printable = "".join(letter for letter in str(text) if letter.isprintable())
        return printable.strip()[:NAME_LENGTH]

    @property
    def role_values(self) -> tuple[str, ...]:
        """The values of `roles`, in order."""
        return tuple(str(each["value"]) for each in self._entries("roles") if each.get("value"))

    def _entries(self, name: str) -> list[dict[str, Any]]:
        return list(self.attributes.get(name) or [])
