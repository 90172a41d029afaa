"""Folders and .zip files of strangers: links, names that lead elsewhere, and members that unpack without end."""

from __future__ import annotations

import io
import os
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from semivae.data.formats.file_trees import DEEPEST, open_files
from semivae.data.sources import load_source
from semivae.errors import DataError
from semivae.recipe.schema import FolderSource


def picture(level: int = 0) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(content, "png")
    return content.getvalue()


def write_classes(root: Path) -> None:
    for name in ("ant", "cat"):
        (root / name).mkdir(parents=True)
        for index in range(4):
            (root / name / f"{index}.png").write_bytes(picture(index))


def count(root: Path, path: str) -> int:
    source = FolderSource.model_validate({"name": "folder", "path": path, "size": 8, "test_share": 0.25})
    data = load_source(source, root)
    return len(data.train["x"]) + len(data.test["x"])


@pytest.mark.parametrize(
    ("links", "names"),
    [
        ({"ant/more": "cat", "cat/more": "ant"}, "(ant/more and cat|cat/more and ant)"),
        ({"ant/again": "ant"}, "ant/again and ant"),
        ({"ant/up": "."}, "ant/up and the folder itself"),
        ({"ant/out": ".."}, "ant/out/pets and the folder itself"),
        ({"bee": "ant"}, "(bee and ant|ant and bee)"),
    ],
)
def test_a_folder_that_two_names_lead_to_is_refused(tmp_path: Path, links: dict[str, str], names: str) -> None:
    write_classes(tmp_path / "pets")
    for link, target in links.items():
        (tmp_path / "pets" / link).symlink_to((tmp_path / "pets" / target).resolve())
    with pytest.raises(DataError, match=rf"{names} are one folder, by a link; .* Remove the link"):
        count(tmp_path, "pets")


def test_links_to_folders_and_files_elsewhere_are_followed(tmp_path: Path) -> None:
    write_classes(tmp_path / "store")
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    (tmp_path / "pets" / "ant").symlink_to(tmp_path / "store" / "ant")
    for index in range(4):
        (tmp_path / "pets" / "cat" / f"{index}.png").symlink_to(tmp_path / "store" / "cat" / f"{index}.png")
    (tmp_path / "linked").symlink_to(tmp_path / "pets")
    assert count(tmp_path, "pets") == count(tmp_path, "linked") == 8


def test_what_cannot_be_read_is_named_and_nothing_is_waited_for(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets")
    (tmp_path / "pets/ant/loop.png").symlink_to(tmp_path / "pets/ant/loop.png")
    os.mkfifo(tmp_path / "pets/cat/pipe.png")
    with pytest.raises(DataError, match=r"2 of 10 image files .*ant/loop.png \(.*cat/pipe.png \(.*is a pipe"):
        count(tmp_path, "pets")


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets")
    (tmp_path / "pets/ant" / "/".join("d" * (DEEPEST + 1))).mkdir(parents=True)
    with pytest.raises(DataError, match="lies more than 100 folders deep; move it up"):
        count(tmp_path, "pets")
    pack(tmp_path / "w.zip", {"a/" * 20_000 + "1.png": picture()})
    with (
        pytest.raises(DataError, match="lies more than 100 folders deep; pack it again"),
        open_files(tmp_path / "w.zip"),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may list every folder")
def test_a_folder_that_may_not_be_listed_is_not_left_out_in_silence(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets")
    (tmp_path / "pets" / "cat").chmod(0)
    with pytest.raises(DataError, match=r"cat cannot be listed \(Permission denied\)"):
        count(tmp_path, "pets")


def pack(path: Path, members: dict[str, bytes], **attributes: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.filename = name  # on Windows zipfile turns backslashes itself
            info.compress_type = attributes.get("compress_type", zipfile.ZIP_DEFLATED)
            info.external_attr = attributes.get("external_attr", 0)
            archive.writestr(info, content)


def eight(form: str) -> dict[str, bytes]:
    return {form.format(name=name, index=index): picture(index) for name in ("ant", "cat") for index in range(4)}


@pytest.mark.parametrize("form", ["{name}\\{index}.png", "./{name}/{index}.png", "pets//{name}/{index}.png"])
def test_names_as_other_programs_write_them_are_read(tmp_path: Path, form: str) -> None:
    pack(tmp_path / "w.zip", eight(form))
    assert count(tmp_path, "w.zip") == 8


@pytest.mark.parametrize(
    "name", ["/etc/1.png", "../1.png", "ant/../../1.png", "C:\\pets\\1.png", "\\\\server\\1.png", ".."]
)
def test_names_that_lead_out_of_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    pack(tmp_path / "w.zip", {name: picture(), **eight("{name}/{index}.png")})
    with pytest.raises(DataError, match="a place outside of it; pack the files by relative names"):
        count(tmp_path, "w.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for second in ("ant/1.png", "ant\\1.png"):
        with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
            archive.writestr("ant/1.png", picture(1))
            archive.writestr(second, picture(2))
        with pytest.raises(DataError, match=r"holds two files called ant/1.png"):
            count(tmp_path, "w.zip")


def test_links_and_rare_ways_of_packing_are_named(tmp_path: Path) -> None:
    pack(tmp_path / "l.zip", eight("{name}/{index}.png"), external_attr=(stat.S_IFLNK | 0o777) << 16)
    pack(tmp_path / "r.zip", eight("{name}/{index}.png"), compress_type=zipfile.ZIP_LZMA)
    for name, reason in (
        ("l.zip", "a link; pack the file itself"),
        ("r.zip", "packed in a rare way; pack the .zip by"),
    ):
        with pytest.raises(DataError, match=rf"image files .*ant/0.png.* \({reason}"):
            count(tmp_path, name)


def test_a_password_is_asked_for_by_name(tmp_path: Path) -> None:
    pack(tmp_path / "w.zip", eight("{name}/{index}.png"))
    content = bytearray((tmp_path / "w.zip").read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1  # the flag in the list at the end, which is what readers go by
    (tmp_path / "w.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"1 of 8 image files .*\(encrypted; pack the .zip without a password\)"):
        count(tmp_path, "w.zip")


def test_a_member_that_unpacks_to_far_too_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("ant/0.png", "w") as member:
            for _ in range(300):
                member.write(bytes(2**20))
        for name, content in eight("{name}/{index}x.png").items():
            archive.writestr(name, content)
    with pytest.raises(DataError, match=r"ant/0.png \(it unpacks from 305,\d\d\d to 314,572,800 bytes"):
        count(tmp_path, "w.zip")


def announce(path: Path, size: int) -> None:
    """Write another unpacked size for the first member into the list at the end."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", size)
    path.write_bytes(content)


def test_no_more_is_unpacked_than_a_member_announces(tmp_path: Path) -> None:
    pack(tmp_path / "w.zip", {"ant/0.png": bytes(2**26)})
    announce(tmp_path / "w.zip", 10)
    tracemalloc.start()
    with open_files(tmp_path / "w.zip") as files, pytest.raises(zipfile.BadZipFile, match="CRC"):
        files.read("ant/0.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_an_archive_is_judged_by_what_all_its_members_unpack_to(tmp_path: Path) -> None:
    pack(tmp_path / "w.zip", {f"ant/{index}.png": bytes(1000) for index in range(4)})
    for _ in range(4):  # each member announces 4 GB
        announce(tmp_path / "w.zip", 2**32 - 2)
        content = (tmp_path / "w.zip").read_bytes().replace(b"PK\x01\x02", b"pk\x01\x02", 1)
        (tmp_path / "w.zip").write_bytes(content)
    (tmp_path / "w.zip").write_bytes(content.replace(b"pk\x01\x02", b"PK\x01\x02"))
    with pytest.raises(DataError, match=r"w.zip has \d+ bytes and unpacks to 17,179,869,176; unpack it if that is"):
        count(tmp_path, "w.zip")
