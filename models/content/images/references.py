"""The bytes that a reference to a picture names: a path below a root, or a member of a tar there.

A reference comes with the data, so it may name anything. What would leave the root is refused, and
so is whatever is not a file: a device could block, and a link could point anywhere. Each folder and
file is opened from the one above it without following links, so nothing that is renamed in the
meantime leads elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tarfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

from models.content.images.decoding import Limits, Refusal, file_too_large

_IN_TAR = ".tar#"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//|.*,)|(?i:file|data|https?):")
_OPEN_TARS = 16
"""Tars that are kept open with their index, some 200 bytes a member, the latest used: whoever reads
shard by shard indexes each once."""


def content_hash(data: bytes) -> str:
    """SHA-256 of a picture's bytes as they are, 64 hex digits: what it is known by everywhere."""
    return hashlib.sha256(data).hexdigest()


class PictureFolder:
    """Pictures below a root. Close it, or use it in `with`: tars are kept open."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root.resolve()
        self.limits = limits or Limits()
        self._tars: OrderedDict[str, _Tar | Refusal] = OrderedDict()

    def read(self, reference: str) -> bytes | Refusal:
        """The bytes of `path/to/picture.jpg` or `path/to/shard.tar#name`, or why there are none."""
        if not reference:
            return Refusal("empty", "no picture is named")
        if _URL.match(reference):
            return Refusal("unsupported", "it is a URL: nothing is fetched")
        path, is_member, member = reference.partition(_IN_TAR)
        for part in (path, member):
            if part.startswith("/"):
                return Refusal("unsupported", "its path is absolute")
            if ".." in part.split("/"):
                return Refusal("unsupported", "its path has ..")
        if not is_member:
            return self._file(path)
        tar = self._tar(f"{path}.tar")
        return tar if isinstance(tar, Refusal) else tar.read(member, self.limits)

    def close(self) -> None:
        """Close the tars that are open."""
        while self._tars:
            _, tar = self._tars.popitem()
            if isinstance(tar, _Tar):
                os.close(tar.descriptor)

    def __enter__(self) -> PictureFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _file(self, path: str) -> bytes | Refusal:
        descriptor = self._open(path)
        if isinstance(descriptor, Refusal):
            return descriptor
        with open(descriptor, "rb") as file:
            n_bytes = os.fstat(descriptor).st_size
            if n_bytes > self.limits.max_megabytes * 1e6:
                return file_too_large(n_bytes, self.limits)
            return file.read(n_bytes)

    def _tar(self, path: str) -> _Tar | Refusal:
        if path not in self._tars:
            while len(self._tars) >= _OPEN_TARS:
                _, oldest = self._tars.popitem(last=False)
                if isinstance(oldest, _Tar):
                    os.close(oldest.descriptor)
            descriptor = self._open(path)
            self._tars[path] = descriptor if isinstance(descriptor, Refusal) else _index(descriptor)
        self._tars.move_to_end(path)
        return self._tars[path]

    def _open(self, path: str) -> int | Refusal:
        """A descriptor of a regular file below the root."""
        try:
            return _opened(self.root, PurePosixPath(path).parts)
        except (OSError, ValueError):
            pass  # a link, for one: where it leads is looked at now, for that takes longer
        try:
            whole = (self.root / path).resolve()
            if not whole.is_relative_to(self.root):
                return Refusal("unsupported", "a link leads out of the root of pictures")
            return _opened(self.root, whole.relative_to(self.root).parts)
        except FileNotFoundError:
            return Refusal("undecodable", "no such file")
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # links in a circle, a name of 300 bytes
            return Refusal("undecodable", f"the file cannot be opened ({type(error).__name__})")


@dataclass(frozen=True)
class _Tar:
    """An open tar, and where its members are."""

    descriptor: int
    members: dict[str, tuple[int, int] | Refusal]
    """Name to offset and length, or why the member is none."""

    def read(self, name: str, limits: Limits) -> bytes | Refusal:
        found = self.members.get(_member_name(name))
        if found is None:
            return Refusal("undecodable", "the tar has no such member")
        if isinstance(found, Refusal):
            return found
        offset, n_bytes = found
        if n_bytes > limits.max_megabytes * 1e6:
            return file_too_large(n_bytes, limits)
        data = os.pread(self.descriptor, n_bytes, offset)
        if len(data) < n_bytes:
            return Refusal("truncated", "the tar ends before its member does")
        return data


def _opened(root: Path, parts: tuple[str, ...]) -> int | Refusal:
    """Open folder by folder, following no link; a FIFO without a writer does not block."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    at = os.open(root, flags | os.O_DIRECTORY)
    for place, part in enumerate(parts):
        is_last = place == len(parts) - 1
        try:
            below = os.open(part, flags | (0 if is_last else os.O_DIRECTORY), dir_fd=at)
        finally:
            os.close(at)
        at = below
    if not stat.S_ISREG(os.fstat(at).st_mode):
        os.close(at)
        return Refusal("unsupported", "it is not a file")
    return at


def _index(descriptor: int) -> _Tar | Refusal:
    """Where the members of an open tar are; the descriptor is closed if it is none."""
    members: dict[str, tuple[int, int] | Refusal] = {}
    try:
        with (
            open(descriptor, "rb", closefd=False) as file,
            tarfile.open(fileobj=file, mode="r:") as tar,
        ):
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it keeps all that it has passed
                members[_member_name(member.name)] = _place(member)
    except Exception:  # what a damaged header makes `tarfile` raise has no common class
        if not members:
            os.close(descriptor)
            return Refusal("undecodable", "it is no tar, or a compressed one")
    return _Tar(descriptor, members)


def _place(member: tarfile.TarInfo) -> tuple[int, int] | Refusal:
    if member.islnk() or member.issym():
        return Refusal("unsupported", "the tar's member is a link")
    if not member.isreg() or member.issparse():
        return Refusal("unsupported", "the tar's member is not a file")
    return member.offset_data, member.size


def _member_name(name: str) -> str:
    """Names with and without `./` at their start are the same."""
    return name.removeprefix("./")
