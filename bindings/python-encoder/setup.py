"""Puts the encoder library into the package: the file that $BITKIN_ENCODER names, or one built by cargo."""

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "libbitkin_encoder.so"


def built():
    """Builds the library as all programs of the checkout are built, and returns its file."""
    command = ["cargo", "build", "--release", "--locked", "--package", "bitkin-encoder", "--lib"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return ROOT / target / "release" / LIBRARY


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        given = os.environ.get("BITKIN_ENCODER")
        place = Path(self.build_lib) / "bitkin_encoder"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(given or built(), place / LIBRARY)


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        # The library is called through C: any Python will do, but only this kind of machine.
        return "py3", "none", super().get_tag()[2]


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel},
    distclass=PlatformDistribution,
)
