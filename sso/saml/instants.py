"""Points in time of a message, and how they compare to ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sso.errors import Code
from sso.saml.gate import broken, shortened


def instant(text: str, name: str) -> datetime:
    """An `xs:dateTime` in UTC; without an offset it is UTC already, as SAML has it."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise broken("instant", f"{name} is {shortened(text)!r}, not a point in time.") from None


@dataclass(frozen=True, slots=True)
class Clock:
    """Now, give or take what the clocks may differ by, in either direction."""

    now: datetime
    skew: timedelta

    def require_begun(self, text: str | None, name: str) -> None:
        """Refuse what lies in the future; nothing said is nothing refused."""
        if text is None:
            return
        ahead = instant(text, name) - self.now
        if ahead > self.skew:
            raise broken(
                "not-yet-valid",
                f"{name} lies {_seconds(ahead)} ahead of this service's clock; up to"
                f" {_seconds(self.skew)} are tolerated. Set the identity provider's clock, or raise"
                " the tolerance.",
                Code.CLOCK_SKEW,
            )

    def require_not_over(self, text: str, name: str) -> datetime:
        """Refuse what is over; the moment from which on it is refused, tolerance included."""
        ends = instant(text, name)
        late = self.now - ends
        if late >= self.skew:
            raise broken(
                "expired",
                f"{name} was {_seconds(late)} ago; up to {_seconds(self.skew)} are tolerated. If"
                " this happens to everybody, the identity provider's clock is behind.",
                Code.EXPIRED,
            )
        try:
            return ends + self.skew
        except OverflowError:
            raise broken("instant", f"{name} lies too far ahead.") from None


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"
