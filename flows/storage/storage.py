"""The files of a home: opened, listed, measured, replaced and removed here and nowhere else.

What can be done to a file is what `pyarrow.fs` does; an object store is one more file system that
`file_system` gives. What needs a disk of this machine, as SQLite, DuckDB, locks and processes of
our own do, asks for `local_path`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pyarrow import fs

from contracts.errors import UsageError
from flows.storage.location import (
    ONLY_LOCAL,
    folder_of,
    join,
    name_of,
    plain_path,
    relative_name,
    resolved,
    uri_of,
)


@dataclass(frozen=True)
class StoredFile:
    """A file as a listing shows it."""

    location: str
    bytes: int
    changed_at: datetime


def file_system(location: str) -> fs.FileSystem:
    """The file system that holds a location: the one place that knows which there are.

    Raises:
        UsageError: none that a home can lie in so far.
    """
    if "://" in plain_path(location):
        raise UsageError(ONLY_LOCAL.format(given=location))
    return fs.LocalFileSystem()


HELD_OPEN = ".nfs"
"""What NFS calls a file from its removal until the last process that reads or writes it is done."""


class Storage:
    """Files below one root, each by its location."""

    def __init__(self, root: str):
        self._files = file_system(root)

    def local_path(self, location: str) -> Path:
        """Where a file lies on a disk of this machine, for what opens it by itself.

        Raises:
            UsageError: it lies on none.
        """
        if "://" in plain_path(location):
            raise UsageError(ONLY_LOCAL.format(given=location))
        return Path(plain_path(location))

    def exists(self, location: str) -> bool:
        """Whether there is a file or folder."""
        return self._type(location) != fs.FileType.NotFound

    def is_folder(self, location: str) -> bool:
        return self._type(location) == fs.FileType.Directory

    def _type(self, location: str) -> fs.FileType:
        return self._files.get_file_info(plain_path(location)).type

    def size(self, location: str) -> int:
        """Bytes of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        return self.file(location).bytes

    def file(self, location: str) -> StoredFile:
        """What a listing would show of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        info = self._files.get_file_info(plain_path(location))
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(2, os.strerror(2), plain_path(location))
        return _stored(info)

    def files(self, folder: str, recursive: bool = False) -> list[StoredFile]:
        """Files in a folder by location; none if there is no such folder. Links, and what lies
        behind links, are somebody else's."""
        return [_stored(f) for f in self._list(folder, recursive) if f.type == fs.FileType.File]

    def folders(self, folder: str) -> list[StoredFile]:
        """Folders right in a folder by location, without links; `bytes` is 0."""
        return [_stored(f) for f in self._list(folder, False) if f.type == fs.FileType.Directory]

    def _list(self, folder: str, recursive: bool) -> list[fs.FileInfo]:
        path = plain_path(folder)
        selected = fs.FileSelector(path, allow_not_found=True, recursive=recursive)
        inside = (
            info
            for info in self._files.get_file_info(selected)
            if resolved(info.path) == join(resolved(path), relative_name(info.path, path))
        )
        return sorted(inside, key=lambda info: str(info.path))

    def free_bytes(self, location: str) -> int:
        """What is left on the disk that holds a location, or will hold it."""
        folder = self.local_path(location)
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def make_folder(self, location: str) -> str:
        """A folder, made with those above it where they are missing. The same location."""
        with _named(location):
            self._files.create_dir(plain_path(location), recursive=True)
        return location

    def read_bytes(self, location: str) -> bytes:
        """
        Raises:
            FileNotFoundError: there is no such file.
        """
        with _named(location), self._files.open_input_stream(plain_path(location)) as stream:
            return bytes(stream.read())

    def read_text(self, location: str) -> str:
        """
        Raises:
            FileNotFoundError: there is no such file.
        """
        return self.read_bytes(location).decode("utf-8")

    def write_text(self, location: str, text: str) -> None:
        """Put a file in the place of what was there, in one step: a reader sees the old one or the
        new one. Its folder is made where it is missing."""
        self.make_folder(folder_of(location))
        beside = join(folder_of(location), f".{name_of(location)}.{os.getpid()}")
        with _named(location), self._files.open_output_stream(plain_path(beside)) as stream:
            stream.write(text.encode("utf-8"))
        self.replace(beside, location)

    def replace(self, source: str, target: str) -> None:
        """Put a file or folder in the place of another in one step; on a disk, a rename."""
        with _named(target):
            self._files.move(plain_path(source), plain_path(target))

    def copy_folder(self, source: str, target: str) -> None:
        """Copy all files of a folder into another, which is made where it is missing."""
        self.make_folder(target)
        with _named(target):
            fs.copy_files(
                plain_path(source),
                plain_path(target),
                source_filesystem=self._files,
                destination_filesystem=self._files,
            )

    def remove(self, location: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError), _named(location):
            self._files.delete_file(plain_path(location))

    def remove_folder(self, location: str) -> None:
        """Remove a folder with all that is in it, if it is there; of a link, the link alone.

        On NFS a file that a process holds open, such as the log of this very one, goes when it is
        closed, and its folder stays until then.

        Raises:
            OSError: something else of it could not be removed, and is still there.
        """
        try:
            self._remove_folder(location)
        except OSError:
            files = [file.location for file in self.files(location, recursive=True)]
            held = [file for file in files if name_of(file).startswith(HELD_OPEN)]
            for file in set(files) - set(held):
                self.remove(file)
            if not held:  # somebody wrote to it meanwhile
                self._remove_folder(location)

    def _remove_folder(self, location: str) -> None:
        with suppress(FileNotFoundError), _named(location):
            self._files.delete_dir(plain_path(location))

    def discard_folder(self, location: str) -> None:
        """Remove a folder of intermediate files as far as that can be done: what is left of it is
        in nobody's way, and housekeeping tries again."""
        with suppress(OSError):
            self.remove_folder(location)

    def remove_empty_folders(self, lowest: str, root: str) -> None:
        """Remove a folder if it is empty, then the one that it was in, and so on up to `root`,
        which stays."""
        folder, top = plain_path(lowest).rstrip("/"), plain_path(root).rstrip("/")
        while folder.startswith(f"{top}/"):
            inside = fs.FileSelector(folder, allow_not_found=True)
            if self._files.get_file_info(inside):
                return
            with suppress(FileNotFoundError):
                self._files.delete_dir(folder)
            folder = folder_of(folder)


def _stored(info: fs.FileInfo) -> StoredFile:
    at = datetime.fromtimestamp(info.mtime_ns / 1e9, UTC)
    return StoredFile(uri_of(info.path), info.size or 0, at)


@contextmanager
def _named(location: str) -> Iterator[None]:
    """Errors of the file system with the file that they are about, as Python's own have it."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), plain_path(location)) from error
