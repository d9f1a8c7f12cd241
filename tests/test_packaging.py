"""The lists in setup.cfg against the folders: a package that is missing there would be missing from every
install."""

from __future__ import annotations

import configparser
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def listed(value: str) -> list[str]:
    return [line for line in value.split("\n") if line and not line.startswith("#")]


def test_the_packages_listed_are_the_folders():
    folders = {
        ".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "accelgrad").rglob("__init__.py")
    }
    folders |= {f"accelgrad.kernels.{file.parent.name}" for file in (ROOT / "kernels").glob("*/__init__.py")}
    packages = listed(setup()["options"]["packages"])
    assert sorted(packages) == sorted(folders)


def test_every_folder_with_modules_is_a_package():
    for top in ("accelgrad", "kernels"):
        for file in (ROOT / top).rglob("*.py"):
            assert file.parent == ROOT / "kernels" or (file.parent / "__init__.py").exists(), file


def test_the_device_folders_are_mapped_into_the_package():
    mapping = dict(line.split(" = ") for line in listed(setup()["options"]["package_dir"]))
    assert mapping == {f"accelgrad.kernels.{device}": f"kernels/{device}" for device in ("cpu", "cuda")}


def test_the_folder_kernels_hides_no_package_of_that_name():
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_the_typing_marker_and_data_files_are_shipped():
    data = setup()["options.package_data"]
    assert (ROOT / "accelgrad" / "py.typed").exists() and "py.typed" in data["accelgrad"]
    shipped = data["accelgrad.datasets"].replace(" ", "").split(",")
    code = {".py", ".pyc", ".pyi"}
    for file in (ROOT / "accelgrad" / "datasets").iterdir():
        if file.is_file() and file.suffix not in code:
            assert any(file.match(pattern) for pattern in shipped), f"{file.name} would not be installed"
