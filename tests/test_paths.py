"""The rule by which the configuration is found. `test_wheel.py` checks it on a real wheel."""

from pathlib import Path

import pytest

from bench.paths import conf_dir

ROOT = Path(__file__).resolve().parents[1]


def test_in_a_checkout_the_folder_beside_the_package_is_used():
    assert conf_dir() == ROOT / "conf"
    assert conf_dir().is_absolute()


def test_in_a_wheel_the_folder_inside_the_package_is_used(tmp_path: Path):
    (tmp_path / "bench" / "_conf").mkdir(parents=True)
    (tmp_path / "conf").mkdir()  # something else that happens to lie in site-packages
    assert conf_dir(tmp_path / "bench") == tmp_path / "bench" / "_conf"


def test_a_damaged_installation_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match="installed without its configuration") as raised:
        conf_dir(tmp_path / "bench")
    assert str(tmp_path / "bench" / "_conf") in str(raised.value)
