"""The recipe of the container and its compose file name what is there. They are not built here."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from usenetsyncd.settings.layers import load_settings

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "contrib" / "container"
RECIPE = (CONTAINER / "Containerfile").read_text()
LINES = [
    line.strip()
    for line in re.sub(
        r"\\\n", " ", "".join(one for one in RECIPE.splitlines(True) if one[0] != "#")
    ).splitlines()
]


def said(word: str) -> list[str]:
    """What stands behind an instruction, each time."""
    return [line.removeprefix(word).strip() for line in LINES if line.startswith(word + " ")]


def service() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]["usenetsync"]
    return found


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in said("ENV") for pair in line.split())


def test_everything_that_is_copied_exists_and_is_all_that_the_build_needs() -> None:
    copied = {source for line in said("COPY") if "--from" not in line for source in line.split()[:-1]}
    assert not [source for source in copied if not (ROOT / source).exists()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])
    needed |= {
        "pyproject.toml",
        "usenetsyncd",
        project["project"]["readme"],
        *project["project"]["license-files"],
    }
    assert needed <= copied


def test_it_starts_a_program_of_the_package_with_settings_that_exist(tmp_path: Path) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (entry,) = said("ENTRYPOINT")
    assert yaml.safe_load(entry)[0] in scripts
    settings = {name: text for name, text in environment().items() if "__" in name}
    assert settings
    config = tmp_path / "usenetsyncd.yaml"
    config.write_text("version: 1\n")
    loaded = load_settings(config, environ=settings).settings
    assert str(loaded.storage.data_dir) == "/state"
    assert str(loaded.control.socket) == environment()["USENETSYNCD_SOCKET"]


def test_it_runs_as_nobody_in_particular_on_a_python_that_fits() -> None:
    assert said("USER") == ["usenetsync"]
    versions = {re.search(r"python:3\.(\d+)", line)[1] for line in said("FROM")}  # type: ignore[index]
    (minor,) = versions
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    low, high = map(int, re.findall(r"3\.(\d+)", wanted))
    assert low <= int(minor) < high


def test_the_compose_file_builds_this_recipe_and_keeps_what_must_be_kept() -> None:
    build = service()["build"]
    context = (CONTAINER / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).exists()
    mounted = {volume.removesuffix(":ro").rsplit(":", 1)[1] for volume in service()["volumes"]}
    assert set(yaml.safe_load(said("VOLUME")[0])) <= mounted
    assert Path(environment()["USENETSYNCD_SOCKET"]).parent == Path(service()["tmpfs"][1].split(":")[0])
    assert all(port.startswith("127.0.0.1:") for port in service()["ports"])
    uid = re.search(r"--uid (\d+)", RECIPE)
    assert uid
    assert f"uid={uid[1]}" in service()["tmpfs"][1]
