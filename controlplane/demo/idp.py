"""A local identity provider as a process: what it is told, starting and ending it."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from controlplane.lifetime import end_with_parent
from kms.files import write_atomically

PYTHON = Path(settings.BASE_DIR) / ".venv-idp" / "bin" / "python"
PROGRAM = Path(__file__).with_name("idp_process.py")


class IdpFailed(Exception):
    """It can't be started; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the identity provider knows, by the name to sign in with."""

    password: str
    email: str
    groups: Sequence[str] = ()
    roles: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LocalIdp:
    """One that serves, or is about to.

    Attributes:
        folder: holds its configuration and keys, for its owner alone.
        sp_certificates: of whom it takes requests; with none it takes unsigned ones.
        redirect_uris: where its OpenID Connect client lives.
        entity_id: what it calls itself for SAML; empty: by its address.
    """

    folder: Path
    port: int
    people: Mapping[str, Person]
    sp_certificates: Sequence[Path] = ()
    redirect_uris: Sequence[str] = ()
    entity_id: str = ""
    client_id: str = "tamarack"
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        """Its address, which is its issuer too."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def metadata_url(self) -> str:
        """Where it describes itself for SAML."""
        return f"{self.url}/saml/metadata"

    def write_configuration(self) -> None:
        """`settings.yaml` and `users.yaml`. JSON is YAML too."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in (("settings.yaml", self._settings()), ("users.yaml", self._users())):
            write_atomically(self.folder / name, json.dumps(content, indent=2).encode(), mode=0o600)

    def _settings(self) -> dict[str, Any]:
        client = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "description": "Tamarack",
            "redirect_uris": list(self.redirect_uris),
        }
        return {
            "config_version": 1,
            "config_validation": "strict",
            "security_profile": "stricter-dev",
            "server": {"host": "127.0.0.1", "port": self.port},
            "oauth": {
                "issuer": self.url,
                "audience": self.client_id,
                "require_pkce": True,
                "clients": [client] if self.redirect_uris else [],
                "scopes_supported": ["openid", "profile", "email"],
            },
            "saml": {
                "export_groups": True,
                "export_roles": True,
                "want_authn_requests_signed": bool(self.sp_certificates),
                "sp_certificates": [str(path) for path in self.sp_certificates],
                **({"entity_id": self.entity_id} if self.entity_id else {}),
            },
            "jwt": {"keys_dir": str(self.folder / "keys")},
            "session": {"secret_key": secrets.token_urlsafe(32)},
            "logging": {"level": "WARNING"},
        }

    def _users(self) -> dict[str, Any]:
        return {
            "config_version": 1,
            "users": {
                name: {
                    "password": person.password,
                    "email": person.email,
                    "groups": list(person.groups),
                    "roles": list(person.roles),
                }
                for name, person in self.people.items()
            },
        }


@contextlib.contextmanager
def serving(idp: LocalIdp, *, certificate: Path, key: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have it serve over TLS; it ends with the block, and with this process however that ends.

    Raises:
        IdpFailed: it is not installed, or ended before it served.
    """
    if not PYTHON.exists():
        raise IdpFailed(f"{PYTHON} is missing: make .venv-idp/.installed makes it.")
    idp.write_configuration()
    log = idp.folder / "idp.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603  our own program
            [
                *(str(PYTHON), str(PROGRAM)),
                *("--config", str(idp.folder), "--port", str(idp.port)),
                *("--certificate", str(certificate), "--key", str(key)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=idp.folder,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  as for the platform itself
        )
    try:
        assert process.stdout is not None  # noqa: S101  for the type checker
        if process.stdout.readline() != b"ready\n":
            process.wait()
            said = log.read_text(errors="replace").strip().splitlines()
            raise IdpFailed(f"The identity provider did not start: {' '.join(said[-3:])[-600:]}")
        yield process
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
