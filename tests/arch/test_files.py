"""Files that are read strictly and written whole."""

import os
import re
import stat
from pathlib import Path

import pytest

from tritloom.arch import files
from tritloom.arch.errors import InputError
from tritloom.arch.files import (
    cache_folder,
    digest,
    key_of,
    parse_json,
    read_json,
    read_text,
    whole_file,
    write_files,
    write_text,
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
        (b'{"a\\nb": 1, "a\\nb": 2}', r"a\\nb is there twice"),
        (b"[NaN]", "NaN is no finite number"),
        (b"[1e308, -Infinity]", "-Infinity is no finite number"),
        (b"[1e999]", "1e999 is no finite number"),
        (b"[" * 100_000, "not JSON: it is nested too deeply"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_damaged_json_is_told_with_the_file(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as told:
        read_json(path)
    assert str(path) in str(told.value)


def test_json_larger_than_any_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(InputError, match="must have at most 67,108,864 bytes"):
        read_json(path)


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


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


def install(tmp_path, monkeypatch, project=None):
    """Pretend that arch stands in a folder of its own, beside this pyproject.toml."""
    folder = tmp_path / "installed"
    (folder / "arch").mkdir(parents=True)
    if project is not None:
        (folder / "pyproject.toml").write_text(project)
    monkeypatch.setattr(files, "__file__", str(folder / "arch" / "files.py"))


def test_checkout_keeps_builds_in_the_working_folder(working_folder):
    assert cache_folder("sim") == Path("build/sim")
    assert (working_folder / "build" / "sim").is_dir()


@pytest.mark.parametrize("project", [None, '[project]\nname = "other"\n'])
def test_installed_package_keeps_builds_in_the_users_cache(
    tmp_path, monkeypatch, working_folder, project
):
    install(tmp_path, monkeypatch, project)
    assert cache_folder("sim") == tmp_path / "cache" / "tritloom" / "sim"
    assert cache_folder("sim").is_dir()
    assert not list(working_folder.iterdir())


@pytest.mark.parametrize("value", ["", "relative"])
def test_cache_is_in_the_home_folder_where_no_other_is_named(
    tmp_path, monkeypatch, working_folder, value
):
    install(tmp_path, monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder("sim") == tmp_path / "home" / ".cache" / "tritloom" / "sim"


@pytest.mark.parametrize("taken", ["build", "build/sim"])
def test_working_folder_that_takes_no_builds_is_left_for_the_cache(tmp_path, working_folder, taken):
    (working_folder / taken).parent.mkdir(exist_ok=True)
    (working_folder / taken).write_text("a file")
    assert cache_folder("sim") == tmp_path / "cache" / "tritloom" / "sim"


@pytest.mark.parametrize("cache", ["file", "file/deep", "a\0b"])
def test_unusable_cache_is_one_error(tmp_path, monkeypatch, working_folder, cache):
    install(tmp_path, monkeypatch)
    (tmp_path / "file").write_text("")
    given = str(tmp_path / cache)
    monkeypatch.setattr(files, "_user_cache", lambda: Path(given))
    with pytest.raises(InputError, match=r"cannot keep files in .*set XDG_CACHE_HOME") as told:
        cache_folder("sim")
    assert "\n" not in str(told.value)


def test_keys_tell_the_borders_of_their_parts():
    assert key_of("ab", "c") == key_of("ab", "c") != key_of("a", "bc")
    assert len(key_of("")) == 16


def test_text_is_written_as_utf_8(tmp_path):
    write_text(tmp_path / "a.txt", "ä\n")
    assert (tmp_path / "a.txt").read_bytes() == "ä\n".encode()


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("folder", "a", "Is a directory"),
        ("no/a.txt", "a", "No such file or directory"),
        ("a.txt", "\udc80", "its text is not UTF-8"),
    ],
)
def test_text_that_cannot_be_written_names_the_file_and_leaves_nothing(tmp_path, name, text, why):
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    with pytest.raises(InputError, match=f"^cannot write {re.escape(str(path))}: {why}$"):
        write_text(path, text)
    assert [left.name for left in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("path", [Path(), Path("a\0b")], ids=repr)
def test_text_is_not_written_to_what_is_no_name(path):
    with pytest.raises(InputError, match=r"^cannot write .*: no name of a file$"):
        write_text(path, "a")
