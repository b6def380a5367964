"""Where anybody can report a key that they found in the open."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from keys.services.leaks import MAX_LEAKS, Leak, report_leaks
from orgs.authentication import client_ip, request_id
from rest.errors import InvalidArgument
from rest.serializers import Input
from rest.views import AdminView
from rest.wording import shown as quoted

MAX_TEXT = 200


class LeakedKeys(Input):
    """What was found, the plain form."""

    keys = serializers.ListField(
        child=serializers.CharField(max_length=MAX_TEXT, write_only=True),
        min_length=1,
        max_length=MAX_LEAKS,
        write_only=True,
        help_text="Keys, or the SHA-256 hashes of keys in hexadecimal.",
    )


class AcceptedSerializer(serializers.Serializer[Any]):
    """The one answer, whether or not there are such keys."""

    status = serializers.ChoiceField(["accepted"])


class LeakedKeyView(AdminView):
    """`POST /.well-known/leaked-key`"""

    permission_classes = ()
    is_idempotent = False

    def get_authenticators(self) -> list[BaseAuthentication]:
        """None: anybody may report."""
        return []

    def perform_authentication(self, request: Request) -> None:
        """Nobody has to say who they are."""

    def check_throttles(self, request: Request) -> None:
        """Count the request by its address.

        Raises:
            TooManyRequests: too many from there.
        """
        self._spend("address", client_ip(request._request))

    @extend_schema(
        operation_id="report_leaked_keys",
        auth=[],
        request=LeakedKeys,
        responses={202: AcceptedSerializer},
    )
    def post(self, request: Request) -> Response:
        """Report up to 100 keys that were found in the open: `{"keys": […]}` with keys or their
        SHA-256 hashes, or the array that GitHub's secret scanning sends to its partners.

        What the owners of a key want done is done; the answer never tells whether there is one.
        """
        http = request._request
        data = request.data
        leaks = (
            _partner_form(data)
            if isinstance(data, list)
            else [Leak(text) for text in self.body(LeakedKeys)["keys"]]
        )
        report_leaks(leaks=leaks, ip=client_ip(http), request_id=request_id(http))
        return Response({"status": "accepted"}, status=202)


def _partner_form(found: list[Any]) -> list[Leak]:
    """`[{"token", "type", "url", "source"}]`; other fields may come and go."""
    if not 1 <= len(found) <= MAX_LEAKS:
        raise InvalidArgument(f"The list has {len(found)} elements: send 1 to {MAX_LEAKS}.")
    leaks = []
    for number, each in enumerate(found):
        text = each.get("token") if isinstance(each, dict) else None
        # The value may be a secret: no message repeats it.
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT:
            raise InvalidArgument(
                f"[{number}].token has to be a string of 1 to {MAX_TEXT} characters."
            )
        url = each.get("url") or ""
        if not isinstance(url, str):
            raise InvalidArgument(f"[{number}].url {quoted(url)} has to be a string.")
        leaks.append(Leak(text, url))
    return leaks
