"""Files that are read strictly and written whole."""

import os
import stat

import pytest

from tritloom.arch.errors import InputError
from tritloom.arch.files import (
    digest,
    key_of,
    parse_json,
    read_json,
    read_text,
    whole_file,
    write_files,
)


def test_files_are_written_and_named(tmp_path):
    files = write_files(tmp_path / "new" / "deep", {"a.txt": "ä", "b.bin": b"\0"})
    assert [file.read_bytes() for file in files] == ["ä".encode(), b"\0"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_mode_of_a_file_follows_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        (file,) = write_files(tmp_path, {"a.txt": "a"})
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_temporary_file_keeps_the_suffix(tmp_path):
    with whole_file(tmp_path / "a.tar.gz") as temporary:
        assert temporary.name.endswith(".a.tar.gz")
        assert temporary.parent == tmp_path


def test_byte_order_mark_is_fine(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b'{"a": 1, "a": 2}', "a is there twice"),
        (b"[NaN]", "NaN is no number"),
        (b"[1e999, -Infinity]", "-Infinity is no number"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_damaged_json_is_told_with_the_file(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as told:
        read_json(path)
    assert str(path) in str(told.value)


@pytest.mark.parametrize("name", ["absent.txt", ".", "a\0b"])
def test_unreadable_file_is_told(tmp_path, name):
    with pytest.raises(InputError, match="cannot read"):
        read_text(tmp_path / name)


def test_text_of_json_is_told_with_where_it_stood():
    with pytest.raises(InputError, match="standard input is not JSON"):
        parse_json("", "standard input")


def test_digest_is_that_of_sha256sum(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_keys_tell_the_borders_of_their_parts():
    assert key_of("ab", "c") == key_of("ab", "c") != key_of("a", "bc")
    assert len(key_of("")) == 16
