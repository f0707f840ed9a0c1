"""One run at a time for each output folder.

A run holds `.<folder>.lock` beside its folder, with its process id and host in it. The lock itself
is the operating system's (`flock`), which falls with the process however that ends; so a file that
nobody holds was left by a run that is dead, and is taken over. A lock of another host is only
taken over where the caller asks for it: whether that process lives cannot be seen from here, nor on
every file system whether the lock is held.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Callable, Generator
from pathlib import Path

from behavior.errors import ResultError


@contextlib.contextmanager
def locked(
    target: Path,
    shown: Path,
    say: Callable[[str], None] | None = None,
    *,
    from_any_host: bool = False,
) -> Generator[None]:
    """Hold the lock of an output folder.

    Args:
        target: The folder, which need not exist; its parent has to.
        shown: Its name for messages.
        say: Told in one line if the lock of a dead run is taken over.
        from_any_host: Whether a lock that another host left counts as one of this host.

    Raises:
        ResultError: If another run holds it, or may hold it on another host.
        OSError: If no lock can be written there.
    """
    path = target.parent / f".{target.name}.lock"
    descriptor = _opened(path, shown)
    try:
        line = _of_a_dead_run(path, shown, os.read(descriptor, 4096), from_any_host)
        if line and say is not None:
            say(line)
        os.ftruncate(descriptor, 0)
        owner = {"pid": os.getpid(), "host": socket.gethostname()}
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        try:
            yield
        finally:
            # Before it is let go, or the next holder's file would be removed.
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _opened(path: Path, shown: Path) -> int:
    """The lock file, held; opened again if its last holder removed it in between."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            owner = _owner(os.read(descriptor, 4096))
            os.close(descriptor)
            raise ResultError(
                f"{shown} is being written by another run ({owner or 'just started'}). Wait for "
                "it to end, or give another folder with --out."
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _of_a_dead_run(path: Path, shown: Path, text: bytes, from_any_host: bool) -> str:
    """What to say of a lock that was left; empty for a new one."""
    if not text:
        return ""
    owner = _owner(text)
    is_foreign = owner and not owner.endswith(f" on {socket.gethostname()}")
    if is_foreign and not from_any_host:
        raise ResultError(
            f"{shown} is locked by a run on another host ({owner}). Wait for it to end, or delete "
            f"{path} if it is dead."
        )
    return f"taking over the lock of a dead run ({owner or 'unreadable'})"


def _owner(text: bytes) -> str:
    """Such as `process 17 on node3`; empty if the file does not say."""
    try:
        found = json.loads(text)
        return f"process {found['pid']} on {found['host']}"
    except (ValueError, KeyError, TypeError):
        return ""
