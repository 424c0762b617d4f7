"""The profile for Kubernetes, with a script for kubectl and an S3 server on this machine."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import yaml

from helpers.folders import write_folder
from helpers.project import ROOT, Project, config_options, run
from helpers.s3_server import s3  # noqa: F401
from i2crc.runtime.atomic import digest_file, read_json

PROFILE = "profiles/kubernetes"
WAITING = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: sys.exit(Path("signalled").touch() or 1))
Path("ready").touch()
time.sleep(600)
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Path:
    """The folder in which kubectl of the tests keeps its jobs."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    monkeypatch.setenv("FAKE_KUBERNETES", str(folder))
    programs = ROOT / "tests/helpers/fake_kubernetes", Path(sys.executable).parent
    monkeypatch.setenv("PATH", ":".join([*map(str, programs), os.environ["PATH"]]))
    return folder


def command(*arguments: str, settings: dict | None = None) -> list[str]:
    profile = ["--workflow-profile", PROFILE, "--seconds-between-status-checks", "1"]
    return [sys.executable, "-m", "snakemake", *arguments, *profile, *config_options(settings)]


@pytest.mark.exhaustive
def test_pods_fetch_the_maps_from_s3(cluster, tmp_path, s3):  # noqa: F811
    project = Project.new(tmp_path / "project")
    profile = project.folder / PROFILE / "profile.yaml"
    profile.write_text(profile.read_text().replace("secret= sh", "secret=s3 sh"))
    write_folder(project.folder / "data")
    with tarfile.open(tmp_path / "maps.tar", "w") as tar:
        tar.add(project.folder / "data/saliency", "maps")
    s3.upload_file(str(tmp_path / "maps.tar"), "maps", "maps.tar")
    sha256 = digest_file(tmp_path / "maps.tar")
    lists = {"train_list": "train.csv", "val_list": "val.csv"}
    settings = {
        "dataset": {"root": "data", "masks": "masks", **lists},
        "saliency": {"location": "s3://maps/maps.tar", "sha256": sha256},
        "runtime": {"inference_threads": 4},
    }
    before = set(project.folder.iterdir())
    wanted = project.results / "saliency/manifest.json"
    done = run(command("results/demo/saliency/manifest.json", settings=settings), project.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = read_json(wanted)
    assert manifest["archive_sha256"] == sha256 and not manifest["problems"]
    assert manifest["count"] and (project.results / "saliency/maps").is_dir()
    assert {path.name for path in set(project.folder.iterdir()) - before} == {
        "results",
        ".snakemake",
    }
    written = [path for path in project.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if b"X-Amz-Signature" in path.read_bytes()]

    sent = [json.loads(path.read_text()) for path in sorted(cluster.glob("*.json"))]
    names = [job["metadata"]["generateName"] for job in sent]
    assert names == ["i2crc-download-saliency-", "i2crc-prepare-data-"]
    pod = sent[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"cpu": 4, "memory": "4000M"}
    assert container["volumeMounts"][0] == {"name": "project", "mountPath": str(project.folder)}
    library = str(project.folder / "workflow_scripts")
    assert container["env"] == [{"name": "PYTHONPATH", "value": library}]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "i2crc"}


def test_ctrl_c_deletes_the_jobs_which_receive_sigterm(cluster, tmp_path):
    project = Project.new(tmp_path / "project")
    (project.folder / "workflow_scripts/data/render_demo.py").write_text(WAITING)
    snakemake = subprocess.Popen(command("render_demo"), cwd=project.folder)
    while not (project.folder / "ready").exists():
        assert snakemake.poll() is None
        time.sleep(0.1)
    snakemake.send_signal(signal.SIGINT)
    assert snakemake.wait(60)
    deadline = time.monotonic() + 120  # a job that is stopped may wait latency-wait for its files
    while not list(cluster.glob("*.end")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (project.folder / "signalled").exists()


def test_a_gpu_is_asked_for_and_the_log_of_a_failed_job_is_shown(cluster, tmp_path):
    (tmp_path / "job.sh").write_text("echo out of luck; exit 3")
    where = ["env", "image=image:1", "claim=volume"]
    submit = ["sh", ROOT / PROFILE / "submit", "predict", "4", "12000", "120", "2", "job.sh"]
    name = run([*where, *submit], tmp_path).stdout.strip()
    (sent,) = (json.loads(path.read_text()) for path in cluster.glob("*.json"))
    pod = sent["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert pod["activeDeadlineSeconds"] == 7200
    while (state := run(["sh", f"{PROFILE}/status", name], ROOT)).stdout == "running\n":
        time.sleep(0.05)
    assert state.stdout == "failed\n"
    assert "out of luck" in state.stderr and "BackoffLimitExceeded" in state.stderr
    assert run(["sh", f"{PROFILE}/status", "job.batch/gone"], ROOT).stdout == "failed\n"


def test_the_main_job_may_do_what_the_profile_does():
    parts = yaml.safe_load_all((ROOT / PROFILE / "main.yaml").read_text())
    part = {one["kind"]: one for one in parts}
    allowed = {
        (on, verb) for r in part["Role"]["rules"] for on in r["resources"] for verb in r["verbs"]
    }
    assert {("jobs", verb) for verb in ("create", "get", "delete")} <= allowed
    assert {("pods", "list"), ("pods/log", "get")} <= allowed
    (container,) = part["Job"]["spec"]["template"]["spec"]["containers"]
    assert container["workingDir"] == container["volumeMounts"][0]["mountPath"]


def test_all_profiles_ask_for_the_same():
    kubernetes, cluster, slurm = (
        yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text())
        for name in ("kubernetes", "cluster-generic", "slurm")
    )
    differing = {key for key in kubernetes if kubernetes[key] != cluster.get(key)}
    assert differing == {f"cluster-generic-{what}-cmd" for what in ("submit", "status", "cancel")}
    differing = {key for key in kubernetes if kubernetes[key] != slurm.get(key)} - differing
    assert differing == {"executor", "retries"}
