"""What a user types for a launcher: presets, settings, and what is refused in which words."""

import importlib
import subprocess
import sys
from dataclasses import fields

import pytest
from omegaconf import OmegaConf

from bench.__main__ import main
from bench.paths import conf_dir

PLUGINS = {
    "joblib": "hydra_plugins.hydra_joblib_launcher.config:JobLibLauncherConf",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher.config:LocalQueueConf",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher.config:SlurmQueueConf",
    "ray": "hydra_plugins.hydra_ray_launcher._config:RayLauncherConf",
}
THERE_ARE = "basic, joblib, ray, ray_aws, submitit_local, submitit_slurm"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("hydra/launcher=jobli", "hydra/launcher: there is no 'jobli'; did you mean 'joblib'?"),
        ("hydra/launcher=zzz", f"hydra/launcher: there is no 'zzz'; there are: {THERE_ARE}"),
        ("hydra/launcher=null", f"hydra/launcher: there is no 'null'; there are: {THERE_ARE}"),
        ("hydra.launcher=joblib", "hydra.launcher is a group of keys; choose one with hydra/launcher=joblib"),
        ("hydra/job_logging=nope", "hydra/job_logging: there is no 'nope'; did you mean 'none'?"),
        (
            "hydra/launcher=joblib hydra.launcher.n_job=2",
            "there is no key 'hydra.launcher.n_job'; did you mean 'hydra.launcher.n_jobs'?",
        ),
        ("hydra/launcher=joblib hydra.launcher.n_jobs=1,2", "Ambiguous value for argument 'hydra.launcher.n_jobs=1,2'"),
        (
            "hydra/launcher=ray method=lora,loar,prompt train.batch_size=1,0 seed=-1",
            "seed must be >= 0, got -1\n"
            "train.batch_size must be >= 1, got 0\n"
            "method: there is no 'loar'; did you mean 'lora'?",
        ),
        ("hydra.sweeper.params.method=loar", "method: there is no 'loar'; did you mean 'lora'?"),
    ],
)
def test_a_wrong_command_line_starts_nothing(words: str, message: str, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tunebench", "sweep", *words.split()])
    assert main() == 2
    assert tuple(capsys.readouterr()) == ("", f"{message}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("launcher", PLUGINS)
def test_a_plugin_that_is_not_installed_is_named_with_its_installation(launcher: str, monkeypatch, tmp_path, capsys):
    target = OmegaConf.load(conf_dir() / "hydra" / "launcher" / f"{launcher}.yaml")._target_
    extra = launcher.partition("_")[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, target.rpartition(".")[0], None)  # as if it were not there
    monkeypatch.setattr(sys, "argv", ["tunebench", "sweep", f"hydra/launcher={launcher}"])
    assert main() == 2
    message = f"hydra/launcher={launcher} needs hydra-{extra}-launcher: pip install 'tunebench[{extra}]'\n"
    assert tuple(capsys.readouterr()) == ("", message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("launcher", PLUGINS)
def test_a_preset_has_every_setting_of_its_plugin(launcher: str):
    module, _, name = PLUGINS[launcher].partition(":")
    known = {field.name for field in fields(getattr(importlib.import_module(module), name))}
    preset = set(OmegaConf.load(conf_dir() / "hydra" / "launcher" / f"{launcher}.yaml"))
    # what submitit's local jobs see of the GPUs is decided in `setup`, which their plugin's own preset lacks
    assert preset == (known - {"gpus_per_node"} | {"setup"} if launcher == "submitit_local" else known)


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("joblib hydra.launcher.n_jobs=3", "n_jobs", 3),
        ("submitit_local hydra.launcher.timeout_min=5", "timeout_min", 5),
        ("submitit_slurm hydra.launcher.partition=gpu", "partition", "gpu"),
        (
            "submitit_slurm +hydra.launcher.additional_parameters.mail-user=a",
            "additional_parameters",
            {"mail-user": "a"},
        ),
        ("ray hydra.launcher.ray.remote.num_gpus=1", "ray.remote.num_gpus", 1),
        ("ray +hydra.launcher.ray.init.namespace=a", "ray.init.namespace", "a"),
    ],
)
def test_settings_of_a_launcher_can_be_given_and_hydra_warns_of_nothing(words: str, key: str, value, type_):
    done = type_("sweep", "--cfg", "hydra", *f"hydra/launcher={words}".split())
    assert (done.stderr, done.returncode) == ("", 0)
    assert OmegaConf.select(OmegaConf.create(done.stdout).hydra.launcher, key) == value


@pytest.mark.parametrize("visible", [None, "", "3,1"])
def test_local_jobs_of_submitit_see_the_gpus_that_the_command_sees(visible: str | None, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    setup = OmegaConf.load(conf_dir() / "hydra" / "launcher" / "submitit_local.yaml").setup
    shell = " && ".join([*setup, 'echo "${CUDA_VISIBLE_DEVICES-all of them}"'])  # as submitit joins them
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "hidden by submitit")
    seen = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert seen == ("all of them\n" if visible is None else f"{visible}\n")
