"""What a reference names below a root is read, and what would lead elsewhere is refused."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.content.images.decoding import Limits, Refusal
from models.content.images.references import PictureFolder, content_hash


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a picture, a tar and links, and a secret beside it."""
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    root = tmp_path / "pictures"
    (root / "2025").mkdir(parents=True)
    (root / "2025/a.jpg").write_bytes(b"picture a")
    (root / "inside.jpg").symlink_to("2025/a.jpg")
    (root / "outside.jpg").symlink_to("../secret.jpg")
    (root / "above").symlink_to("..")
    (root / "circle.jpg").symlink_to("circle.jpg")
    os.mkfifo(root / "pipe.jpg")
    with tarfile.open(root / "shard.tar", "w") as tar:
        for name, data in (("a.jpg", b"member a"), ("./b/c.jpg", b"member c"), ("a.jpg", b"later")):
            tar.addfile(member(name, size=len(data)), io.BytesIO(data))
        tar.addfile(member("link.jpg", tarfile.SYMTYPE, "/etc/passwd"))
        tar.addfile(member("hard.jpg", tarfile.LNKTYPE, "a.jpg"))
        tar.addfile(member("folder", tarfile.DIRTYPE))
        tar.addfile(member("device.jpg", tarfile.CHRTYPE))
    return root


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.fixture
def folder(root: Path) -> Iterator[PictureFolder]:
    with PictureFolder(root) as folder:
        yield folder


@pytest.mark.parametrize(
    ("reference", "data"),
    [
        ("2025/a.jpg", b"picture a"),
        ("./2025//a.jpg", b"picture a"),
        ("inside.jpg", b"picture a"),
        ("shard.tar#a.jpg", b"later"),  # a name that comes twice is its last member, as in any tar
        ("shard.tar#b/c.jpg", b"member c"),
        ("shard.tar#./b/c.jpg", b"member c"),
    ],
)
def test_files_below_the_root_and_members_of_tars_are_read(
    folder: PictureFolder, reference: str, data: bytes
) -> None:
    assert folder.read(reference) == data


@pytest.mark.parametrize(
    ("reference", "status", "reason"),
    [
        ("", "empty", "no picture is named"),
        ("../secret.jpg", "unsupported", "its path has .."),
        ("2025/../../secret.jpg", "unsupported", "its path has .."),
        ("../shard.tar#a.jpg", "unsupported", "its path has .."),
        ("shard.tar#../a.jpg", "unsupported", "its path has .."),
        ("/etc/passwd", "unsupported", "its path is absolute"),
        ("shard.tar#/a.jpg", "unsupported", "its path is absolute"),
        ("outside.jpg", "unsupported", "a link leads out of the root of pictures"),
        ("above/secret.jpg", "unsupported", "a link leads out of the root of pictures"),
        ("https://example.org/a.jpg", "unsupported", "it is a URL: nothing is fetched"),
        ("file:/etc/passwd", "unsupported", "it is a URL: nothing is fetched"),
        ("s3://bucket/shard.tar#a.jpg", "unsupported", "it is a URL: nothing is fetched"),
        ("data:image/gif;base64,R0lGODlh", "unsupported", "it is a URL: nothing is fetched"),
        ("pipe.jpg", "unsupported", "it is not a file"),
        ("2025", "unsupported", "it is not a file"),
        (".", "unsupported", "it is not a file"),
        ("2025/b.jpg", "undecodable", "no such file"),
        ("none.tar#a.jpg", "undecodable", "no such file"),
        ("2025/a.jpg/b.jpg", "undecodable", "the file cannot be opened (NotADirectoryError)"),
        ("circle.jpg", "undecodable", "the file cannot be opened"),
        ("a" * 300, "undecodable", "the file cannot be opened (OSError)"),
        ("a\0.jpg", "undecodable", "the file cannot be opened (ValueError)"),
        ("shard.tar#none.jpg", "undecodable", "the tar has no such member"),
        ("shard.tar#link.jpg", "unsupported", "the tar's member is a link"),
        ("shard.tar#hard.jpg", "unsupported", "the tar's member is a link"),
        ("shard.tar#folder", "unsupported", "the tar's member is not a file"),
        ("shard.tar#device.jpg", "unsupported", "the tar's member is not a file"),
    ],
)
def test_what_leads_elsewhere_is_refused_with_a_reason(
    folder: PictureFolder, reference: str, status: str, reason: str
) -> None:
    found = folder.read(reference)
    assert isinstance(found, Refusal)
    assert found.status == status
    assert found.reason.startswith(reason)


def test_a_device_is_refused() -> None:
    with PictureFolder(Path("/dev")) as devices:
        assert devices.read("zero") == Refusal("unsupported", "it is not a file")


def test_files_and_members_of_too_many_bytes_are_not_read(root: Path) -> None:
    with PictureFolder(root, Limits(max_megabytes=4e-6)) as folder:
        for reference in ("2025/a.jpg", "shard.tar#a.jpg"):
            found = folder.read(reference)
            assert isinstance(found, Refusal)
            assert found.status == "too_large"


def test_a_tar_is_indexed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    whole = tarfile.open

    def counted(*args: object, **options: object) -> tarfile.TarFile:
        opened.append(options)
        return whole(*args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(tarfile, "open", counted)
    with PictureFolder(root) as folder:
        for _ in range(3):
            assert folder.read("shard.tar#a.jpg") == b"later"
            assert folder.read("shard.tar#b/c.jpg") == b"member c"
    assert len(opened) == 1


def test_the_tars_used_longest_ago_are_closed_and_read_again_when_asked_for(root: Path) -> None:
    shard = (root / "shard.tar").read_bytes()
    for number in range(20):
        (root / f"{number}.tar").write_bytes(shard)
    with PictureFolder(root) as folder:
        before = len(os.listdir("/proc/self/fd"))
        for number in [*range(20), 0]:
            assert folder.read(f"{number}.tar#a.jpg") == b"later"
        assert len(os.listdir("/proc/self/fd")) - before == 16


def test_a_compressed_tar_a_text_and_a_tar_that_ends_early(root: Path) -> None:
    with tarfile.open(root / "zip.tar", "w:gz") as tar:
        tar.addfile(member("a.jpg", size=1), io.BytesIO(b"a"))
    (root / "text.tar").write_text("not a tar")
    (root / "short.tar").write_bytes((root / "shard.tar").read_bytes()[: 512 + 3])
    none = Refusal("undecodable", "it is no tar, or a compressed one")
    with PictureFolder(root) as folder:
        assert folder.read("zip.tar#a.jpg") == none
        assert folder.read("text.tar#a.jpg") == none
        assert folder.read("short.tar#a.jpg") == Refusal(
            "truncated", "the tar ends before its member does"
        )


def test_the_hash_of_a_picture_is_that_of_its_bytes() -> None:
    assert content_hash(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
