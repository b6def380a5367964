"""TAMARACK_HOME: made at the first start, found again later. Each step may run twice."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

import gateway.bootstrap
import gateway.certificates
from controlplane import supervision
from indexes import provisioning
from keys.peppers import current_pepper
from kms.files import write_atomically
from kms.memory import check_folder
from kms.providers import LocalProvider

FOLDERS = ("keys", "ca", "certs", "valkey", "indexes", "envoy", "log", "static")


def prepare() -> Path:
    """Make everything that processes need; returns supervisord's configuration file.

    Raises:
        OSError, UnsafeMemory, KeyUnavailable, DatabaseError: what could not be made, and why.
    """
    home: Path = settings.TAMARACK_HOME
    for folder in [home, *(home / name for name in FOLDERS)]:
        make_private(folder)
    for folder in (settings.TAMARACK_RUN_DIR, settings.TAMARACK_RUN_DIR / "index"):
        make_private(folder)
    LocalProvider(home / "keys" / "root.key").create()
    _create_secret_key(home / "keys" / "django.key")
    mount_memory(settings.TAMARACK_RAM_DIR)
    call_command("migrate", verbosity=0, interactive=False)
    call_command("createcachetable", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    current_pepper()
    gateway.certificates.ensure()
    bootstrap = gateway.bootstrap.write()
    include = provisioning.write_all_programs()
    write_private(home / "valkey.conf", supervision.valkey_configuration())
    configuration = home / "supervisord.conf"
    write_private(configuration, supervision.supervisord_configuration(bootstrap, include))
    return configuration


def make_private(folder: Path) -> None:
    """The folder, for us alone.

    Raises:
        PermissionError: it exists and belongs to somebody else, or is a link.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder} belongs to user {status.st_uid} or is a link: remove it.")
    folder.chmod(0o700)


def write_private(path: Path, text: str) -> None:
    """Replace the file's content in one step; only we can read it."""
    write_atomically(path, text.encode(), mode=0o600)


def _create_secret_key(path: Path) -> None:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(48))


def mount_memory(folder: Path) -> str:
    """Make the folder for plaintext index files safe (root: a tmpfs without swap); how, in words.

    Raises:
        UnsafeMemory: plaintext could reach a disk from there.
    """
    make_private(folder)
    if os.getuid() == 0 and not folder.is_mount():
        # Refused in most containers; then the check below decides about what is there.
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(  # noqa: S603  fixed words and our own folder
                ["mount", "-t", "tmpfs", "-o", "noswap,mode=0700", "tmpfs", str(folder)],  # noqa: S607
                check=True,
                capture_output=True,
            )
    return check_folder(folder, allow_swap=settings.TAMARACK_ALLOW_SWAP)


def release_memory(folder: Path) -> None:
    """Give the memory back after the index servers have ended."""
    if folder.is_mount():
        unmounted = ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(folder), 0) == 0
        if not unmounted:
            return
    shutil.rmtree(folder, ignore_errors=True)
