"""Where this machine keeps what."""

from pathlib import Path

import pytest

from dtx_tasks import settings


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test names what it needs."""
    for name in ("DTX_HOME", "DTX_ROOT", "DTX_DATA_ROOTS", "DTX_SCHEDULES", "DTX_CONFIG", "DTX_RETRY_DELAY_S", "DTX_CATALOG_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_everything_is_below_the_current_folder_by_default(tmp_path: Path) -> None:
    """Nothing need be configured on a laptop."""
    assert (settings.home(), settings.root()) == (tmp_path / ".dtx", str(tmp_path / ".dtx" / "store"))
    assert settings.schedules_folder() == tmp_path / ".dtx" / "schedules"


def test_home_moves_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable is enough; the others count before it."""
    monkeypatch.setenv("DTX_HOME", str(tmp_path / "h"))
    assert settings.root() == str(tmp_path / "h" / "store")
    monkeypatch.setenv("DTX_ROOT", "/data")
    assert settings.root() == "/data"


def test_requests_may_read_uploads_and_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are followed, so that a path within one is within it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("DTX_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("DTX_DATA_ROOTS", f"{tmp_path / 'link'}::/data")
    assert settings.data_roots("a") == (*(tmp_path / "store" / "a" / folder for folder in ("uploads", "jobs", "models")), tmp_path / "real", Path("/data"))


def test_nothing_but_its_uploads_is_readable_where_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above all not the current folder, nor another team's."""
    monkeypatch.setenv("DTX_DATA_ROOTS", "")
    monkeypatch.setenv("DTX_ROOT", str(tmp_path))
    assert settings.data_roots("b") == tuple(tmp_path / "b" / folder for folder in ("uploads", "jobs", "models"))


def test_bundled_folders_are_in_the_checkout() -> None:
    """Or wherever the environment says."""
    assert (settings.bundled_folder("config") / "experiments").is_dir()
    assert (settings.bundled_folder("dags") / "finetune_experiment.py").is_file()


def test_environment_names_another_bundled_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform has its own resources."""
    monkeypatch.setenv("DTX_CONFIG", str(tmp_path))
    assert settings.bundled_folder("config") == tmp_path


def test_delay_between_tries_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds by default."""
    assert settings.retry_delay_s() == 10.0
    monkeypatch.setenv("DTX_RETRY_DELAY_S", "0.5")
    assert settings.retry_delay_s() == 0.5


def test_catalog_is_a_file_of_the_home_folder_or_wherever_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes have another current folder: a path is made absolute for them."""
    assert settings.catalog_url() == f"sqlite:///{tmp_path / '.dtx' / 'catalog.db'}"
    for named, meant in {
        "sqlite:///a.db": f"sqlite:///{tmp_path / 'a.db'}",
        "sqlite:////b.db": "sqlite:////b.db",
        "postgresql://h/d": "postgresql://h/d",
    }.items():
        monkeypatch.setenv("DTX_CATALOG_URL", named)
        assert settings.catalog_url() == meant
