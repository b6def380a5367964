"""Responses that an attacker, a broken provider or an honest one might send, and what comes of it.

`CASES` is a table: each case builds the form field SAMLResponse for a connection and a pending
request, and says whether `verify` accepts it, or by which code and rule it is refused. All messages
are made here, of `tests.sso.idp`; the classes are those that have broken service providers.

People: `admin@x.example` is the victim, `mallory@x.example` has an account at the same provider.
"""

from __future__ import annotations

from datetime import timedelta

from tests.sso import idp
from tests.sso.idp import MISSING
from tests.sso.saml import (
    attack_binding,
    attack_encryption,
    attack_messages,
    attack_signatures,
    attack_wrapping,
)
from tests.sso.saml.attack_tools import ISSUER, MALLORY, VICTIM, Case, Scene, knobs

_SEALED = {"requires_encryption": True}
HONEST = (
    Case("ok-assertion-signed", lambda s: s.signed()),
    Case("ok-response-signed", lambda s: s.signed(sign_with="response")),
    Case("ok-both-signed", lambda s: s.signed(sign_with="both")),
    Case("ok-encrypted", lambda s: s.signed(encrypt_to=idp.pair("sp").certificate)),
    Case(
        "ok-encrypted-response-signed",
        lambda s: s.signed(encrypt_to=idp.pair("sp").certificate, sign_with="both"),
        fields=_SEALED,
    ),
    Case("ok-ec-key", lambda s: s.signed(signer=idp.pair("idp-ec", kind="ec"))),
    Case("ok-session-not-on-or-after", knobs(session_lifetime=timedelta(hours=1))),
    Case("ok-no-response-issuer", knobs(response_issuer=MISSING)),
    Case("ok-no-x509-data", lambda s: idp.sign(s.build(), key_info=False)),
    Case("ok-persistent-name", knobs(name_id="opaque-1", name_id_format=idp.PERSISTENT)),
    Case("ok-name-is-email", knobs(attributes={})),
    Case("clock-ahead-60s", knobs(clock=timedelta(seconds=60))),
    Case("clock-behind-310s-lifetime-300", knobs(clock=timedelta(seconds=-310))),
)

CASES: tuple[Case, ...] = (
    *HONEST,
    *attack_wrapping.CASES,
    *attack_signatures.CASES,
    *attack_encryption.CASES,
    *attack_binding.CASES,
    *attack_messages.CASES,
)

__all__ = ["CASES", "ISSUER", "MALLORY", "VICTIM", "Case", "Scene"]
