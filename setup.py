"""The part of packaging that pyproject.toml cannot say: tests stay out of the wheel."""

from fnmatch import fnmatch

from setuptools import setup
from setuptools.command.build_py import build_py

# They stand beside what they test, so each package would take them for its modules.
TESTS = ("test_*", "conftest")


class BuildWithoutTests(build_py):
    """Copy the modules of the packages to the wheel, but for their tests."""

    def find_package_modules(self, package, package_dir):
        """(package, module, file) of each module of a package."""
        found = super().find_package_modules(package, package_dir)
        return [entry for entry in found if not any(fnmatch(entry[1], name) for name in TESTS)]


setup(cmdclass={"build_py": BuildWithoutTests})
