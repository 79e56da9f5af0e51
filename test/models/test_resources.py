"""Finding config files: from the source tree, a colcon build and a pip installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from sclip_seg_ros.models import resources
from sclip_seg_ros.models.resources import config_folders, config_path, own_or_config_path

ROOT = Path(__file__).resolve().parents[2]
CONFIG_FILES = sorted(
    str(path.relative_to(ROOT / "config")) for path in (ROOT / "config").rglob("*.yaml")
)


def installation(folder: Path, name: str) -> Path:
    """Make a package folder with one config file that tells where it is."""
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "profile.yaml").write_text(name)
    return folder


def ament_prefix(prefix: Path) -> Path:
    """Make a minimal ament prefix that holds the package's share folder."""
    index = prefix / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    (index / "sclip_seg_ros").touch()
    installation(prefix / "share" / "sclip_seg_ros", "ament")
    return prefix


@pytest.mark.parametrize("relative", CONFIG_FILES)
def test_every_shipped_config_file_is_found(relative: str) -> None:
    assert config_path(relative).read_bytes() == (ROOT / "config" / relative).read_bytes()


def test_source_tree_serves_without_any_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    assert list(config_folders()) == [ROOT / "config"]


def test_pip_data_serves_when_ros_does_not_know_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    monkeypatch.setattr(resources, "PACKAGE_FOLDER", installation(tmp_path / "pkg", "pip"))
    assert config_path("profile.yaml").read_text() == "pip"


def test_ros_installation_comes_before_pip_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("ament_index_python")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(ament_prefix(tmp_path / "prefix")))
    monkeypatch.setattr(resources, "PACKAGE_FOLDER", installation(tmp_path / "pkg", "pip"))
    assert config_path("profile.yaml").read_text() == "ament"


def test_missing_file_is_named_with_the_folders_searched() -> None:
    with pytest.raises(FileNotFoundError, match=r"vocabularies/no-such\.yaml.*config"):
        config_path("vocabularies/no-such.yaml")


@pytest.mark.parametrize("relative", ["/etc/passwd", "../package.xml", "a/../../b.yaml", ""])
def test_names_that_lead_out_of_config_are_refused(relative: str) -> None:
    with pytest.raises(ValueError, match="relative to the config folder"):
        config_path(relative)


def test_a_file_of_ones_own_comes_before_the_shipped_one_of_that_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = next(path.name for path in (ROOT / "config/ladders").iterdir())
    monkeypatch.chdir(tmp_path)
    assert own_or_config_path(shipped, "ladders") == config_path(f"ladders/{shipped}")
    Path(shipped).touch()
    assert own_or_config_path(shipped, "ladders") == Path(shipped)


def test_a_missing_file_is_named_as_it_was_given_with_both_places(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        own_or_config_path("mine/words.txt", "vocabularies")
    for part in ("'mine/words.txt'", str(tmp_path), "config/vocabularies", "give its whole path"):
        assert part in str(caught.value)


def test_an_absolute_path_is_not_looked_for() -> None:
    assert own_or_config_path("/no/such.yaml", "ladders") == Path("/no/such.yaml")
