"""Memory that never reaches a disk: where plaintext index files may live.

A tmpfs keeps files in memory, but the kernel may swap its pages out, in plaintext. A folder is safe
where it lies on a tmpfs and that tmpfs is mounted `noswap` (Linux 6.4), or nothing on the machine
can be swapped to a readable disk.
"""

from __future__ import annotations

from pathlib import Path


class UnsafeMemory(Exception):
    """Plaintext in this folder could reach a disk; the text says how and what to do."""


def _mount_of(path: Path) -> tuple[str, frozenset[str]]:
    """File system type and options of the mount that holds `path` (proc(5), mountinfo)."""
    resolved = path.resolve()
    best, found = -1, ("", frozenset[str]())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4].encode().decode("unicode_escape"))
        if resolved.is_relative_to(point) and len(point.parts) >= best:
            kind, _, options = right.split(maxsplit=2)
            best, found = len(point.parts), (kind, frozenset(options.split(",")))
    return found


def disk_swap() -> list[str]:
    """Swap areas that can hold plaintext on a disk; compressed memory (zram) is none."""
    lines = Path("/proc/swaps").read_text().splitlines()[1:]
    return [line.split()[0] for line in lines if not line.startswith("/dev/zram")]


def check_folder(path: Path, *, allow_swap: bool = False) -> str:
    """How `path` keeps plaintext off the disk, in words.

    Raises:
        UnsafeMemory: it is not on a tmpfs, or its pages could be swapped to a disk.
    """
    kind, options = _mount_of(path)
    if kind not in {"tmpfs", "ramfs"}:
        raise UnsafeMemory(
            f"{path} lies on {kind or 'an unknown file system'}, not in memory:"
            " set TAMARACK_RAM_DIR to a folder on a tmpfs."
        )
    if kind == "ramfs" or "noswap" in options:
        return f"{kind}, never swapped"
    swap = disk_swap()
    if not swap:
        return "tmpfs, and this machine has no swap on a disk"
    if allow_swap:
        return f"tmpfs, swap on {', '.join(swap)} allowed by TAMARACK_ALLOW_SWAP"
    raise UnsafeMemory(
        f"{path} is a tmpfs without `noswap`, and this machine swaps to {', '.join(swap)}:"
        " plaintext could reach the disk. Do one of these: start as root (mounts its own); let root"
        f" run `mount -t tmpfs -o noswap,mode=0700,uid=$UID tmpfs {path}`; switch swap off with"
        " `swapoff -a`; or, where that swap is encrypted, set TAMARACK_ALLOW_SWAP=true."
    )
