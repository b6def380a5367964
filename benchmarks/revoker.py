"""Makes and revokes API keys inside the control plane, on orders from another process.

    python -m benchmarks.revoker PROJECT        in the environment of an installation

`create NAME` on stdin is answered with the key's id and secret, `revoke ID` with the moment at
which the revocation was committed (seconds of the machine's monotonic clock, which all processes
share), each as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from uuid import UUID

import django

django.setup()

from keys.services.api_keys import create_api_key, revoke_api_key  # noqa: E402  Django has to be set up first
from orgs.actors import system  # noqa: E402  as above
from projects.models import Project  # noqa: E402  as above


def main() -> None:
    """Serve until stdin ends."""
    actor = system("bench")
    project = Project.objects.get(pk=UUID(sys.argv[1]))
    for line in sys.stdin:
        order, _, word = line.strip().partition(" ")
        answer: object
        if order == "create":
            key, secret = create_api_key(actor=actor, project=project, name=word)
            answer = {"id": str(key.pk), "secret": secret}
        else:
            revoke_api_key(actor=actor, key_id=UUID(word))
            answer = time.monotonic()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
