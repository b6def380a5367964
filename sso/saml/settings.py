"""A connection as python3-saml wants to have it told."""

from __future__ import annotations

from onelogin.saml2.settings import OneLogin_Saml2_Settings

from sso.models import Connection


def library_settings(connection: Connection, *, private_key: str = "") -> OneLogin_Saml2_Settings:
    """Settings for reading one response.

    The identity provider's side is left out: whose signatures count is decided in `signatures`,
    where expired and weak certificates are told apart, and every address in `binding`.
    """
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "debug": False,
            "sp": {
                "entityId": connection.sp_entity_id,
                "assertionConsumerService": {"url": connection.acs_url},
                "privateKey": private_key,
            },
            "security": {
                # The public address of a small installation may be `https://tamarack`.
                "allowSingleLabelDomains": True,
                "rejectDeprecatedAlgorithm": True,
                "allowRepeatAttributeName": False,
                "wantNameId": False,
            },
        },
        sp_validation_only=True,
    )
