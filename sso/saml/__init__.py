"""SAML 2.0 as a service provider, on python3-saml.

    raw form field -> gate (bytes, structure) -> decryption -> gate again (structure)
        -> python3-saml (schema, signatures) -> binding (issuer, addresses, request, times)
        -> subject (who it is) -> VerifiedAssertion

Nothing outside this package touches XML. Whatever arrives, `verify`, `in_response_to` and
`parse_logout` answer with plain values or `SignInRefused`, and metadata with `InvalidArgument`.
"""
