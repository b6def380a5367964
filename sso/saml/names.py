"""Namespaces, algorithms and bindings, as SAML and XML Signature name them."""

from __future__ import annotations

SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
MD = "urn:oasis:names:tc:SAML:2.0:metadata"
DS = "http://www.w3.org/2000/09/xmldsig#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
XENC11 = "http://www.w3.org/2009/xmlenc11#"
EXC_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
NS = {"samlp": SAMLP, "saml": SAML, "md": MD, "ds": DS, "xenc": XENC}

RESPONSE = f"{{{SAMLP}}}Response"
LOGOUT_REQUEST = f"{{{SAMLP}}}LogoutRequest"
LOGOUT_RESPONSE = f"{{{SAMLP}}}LogoutResponse"
ASSERTION = f"{{{SAML}}}Assertion"
ENCRYPTED_ASSERTION = f"{{{SAML}}}EncryptedAssertion"
ISSUER = f"{{{SAML}}}Issuer"
SIGNATURE = f"{{{DS}}}Signature"

SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
EMAIL_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
PERSISTENT_FORMAT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
TRANSIENT_FORMAT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
UNSPECIFIED_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
POST_BINDING = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
REDIRECT_BINDING = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"

_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
RSA_SHA256 = f"{_MORE}rsa-sha256"
RSA_SHA384 = f"{_MORE}rsa-sha384"
RSA_SHA512 = f"{_MORE}rsa-sha512"
ECDSA_SHA256 = f"{_MORE}ecdsa-sha256"
ECDSA_SHA384 = f"{_MORE}ecdsa-sha384"

SIGNATURE_METHODS = frozenset({RSA_SHA256, RSA_SHA384, RSA_SHA512, ECDSA_SHA256, ECDSA_SHA384})
DIGEST_METHODS = frozenset({f"{XENC}sha256", f"{_MORE}sha384", f"{XENC}sha512"})
# CBC is here because Entra ID, AD FS and older SimpleSAMLphp encrypt by it; what is wrong with an
# encrypted assertion is therefore never told apart in public (see `verify`).
BLOCK_CIPHERS = frozenset(
    {
        *(f"{XENC}aes{bits}-cbc" for bits in (128, 192, 256)),
        *(f"{XENC11}aes{bits}-gcm" for bits in (128, 192, 256)),
    }
)
KEY_TRANSPORTS = frozenset({f"{XENC}rsa-oaep-mgf1p", f"{XENC11}rsa-oaep"})
