"""A file with an operating-system lock on it: flock(2), exclusive, gone with the last process that has it open.

Why flock. Its owner is the open file, so two runs in two threads of one process exclude each other like two
processes, and no unrelated open-and-close of the file lets go. A POSIX record lock (`fcntl(F_SETLK)`) belongs to the
process: it never excludes a second run there, and closing *any* descriptor of the file, a backup's or a reader's,
drops it silently.

Machines that share a folder. Linux sends flock on NFS to the server as a lock of the whole file (since 2.6.12), on
SMB likewise (since 5.5), so one kind of lock serves both cases. Safe: NFSv4, or NFSv3 with its lock daemon, mounted
with default options. Not safe, and refused: mounts that keep locks to themselves (`nolock`, `local_lock=`, `nobrl`).
Not known: FUSE, 9p and the like. A machine that is cut off from an NFSv4 server longer than the lease (90 s by default)
loses its locks while its process lives on; `Held.check`, asked before driving, then hangs or fails rather than drive.

What no lock prevents: two folders for one instrument, a lock file removed by hand (`Held.check` sees it), a program
that asks for no lock.
"""

import contextlib
import errno
import fcntl
import os
import re
import threading
import weakref
from pathlib import Path
from typing import Literal

from workflows.errors import RequestError
from workflows.locking.records import RECORD_BYTES

Reach = Literal["this machine", "machines", "unknown"]

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gpfs", "gfs2", "ocfs2"}
_UNCLEAR = {"9p", "virtiofs", "afs", "vboxsf"}
_KEPT_LOCAL = {"nolock", "local_lock=all", "local_lock=flock", "nobrl", "localflock", "noflock"}


class OsLock:
    """An open lock file. A forked child has none of them: its copies are closed before it runs anything."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open `path`; nothing is locked yet.

        Raises:
            FileNotFoundError: there is none and `create` is False.
            OSError: it can't be opened for writing.
        """
        self.path = path
        self.fd = -1
        with _FORKING:  # no fork between the file's opening and its being known as ours
            self.fd = _open(path, create)
            _OPEN.add(self)

    def try_lock(self) -> bool:
        """Take the lock if nobody has it; False also where the file was removed or replaced meanwhile."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if self.in_place():
            return True
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        return False

    def in_place(self) -> bool:
        """Whether the open file is still the one that others find at `path`."""
        try:
            ours, there = os.fstat(self.fd), os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def read(self) -> bytes:
        """The file's first page."""
        return os.pread(self.fd, RECORD_BYTES, 0)

    def write(self, data: bytes) -> None:
        """Replace the file's first bytes by one call; at most a page, to be whole or absent after a kill."""
        if os.pwrite(self.fd, data, 0) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        """Wait until what was written is on the disk, or with the file server."""
        os.fsync(self.fd)

    def close(self) -> None:
        """Let go and close. Idempotent."""
        with _FORKING:
            fd, self.fd = self.fd, -1
            _OPEN.discard(self)
            if fd < 0:
                return
            # A library that forks behind Python's back leaves copies, which a mere close would leave locked.
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


_OPEN: "weakref.WeakSet[OsLock]" = weakref.WeakSet()
_FORKING = threading.RLock()


def _forget_in_child() -> None:
    # Close only: to unlock the child's copy would unlock the parent's, they are one open file.
    for lock in list(_OPEN):
        fd, lock.fd = lock.fd, -1
        with contextlib.suppress(OSError):
            os.close(fd)
    _OPEN.clear()
    _FORKING.release()


os.register_at_fork(before=_FORKING.acquire, after_in_parent=_FORKING.release, after_in_child=_forget_in_child)


def _open(path: Path, create: bool) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        # Without O_CREAT first: in a sticky folder Linux refuses O_CREAT on what another user made.
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            if not create:
                raise
        try:
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        # Whoever may write in the folder may wait in it, whatever the umask of the user who comes first.
        with contextlib.suppress(OSError):
            os.fchmod(fd, 0o600 | (os.stat(path.parent).st_mode & 0o066))
        return fd


def reach_of(folder: Path, mounts: str | None = None) -> Reach:
    """Who is bound by locks in a folder: processes of this machine, or of all machines that mount it.

    Args:
        folder: an existing folder.
        mounts: the mount table, /proc/self/mountinfo as it is by default.

    Raises:
        RequestError: the folder is shared by machines but mounted so that locks are not.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
        except OSError:
            return "unknown"
    real, best, kind, options = os.path.realpath(folder), "", "", set[str]()
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) < 10 or "-" not in words:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), words[4])
        if len(point) >= len(best) and (real == point or real.startswith(point.rstrip("/") + "/")):
            dash = words.index("-")
            best, kind = point, words[dash + 1]
            options = set(words[5].split(",")) | set(words[-1].split(","))
    if kind in _NETWORK:
        if local := sorted(options & _KEPT_LOCAL):
            raise RequestError(
                f"lock folder {folder}: its {kind} mount keeps locks on this machine ({local[0]}), so other machines "
                "would not see them; mount it with shared locks, or use a folder of this machine"
            )
        return "machines"
    return "unknown" if not kind or kind in _UNCLEAR or kind.startswith("fuse") else "this machine"
