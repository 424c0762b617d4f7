"""Submit a job script to Kubernetes as a Job, and print the Job's name.

The volume is mounted at the working directory of this process, so that all paths are the same in
the pod.
"""

import argparse
import json
import os
import subprocess
import sys

# The first process of a container must pass on signals itself. A training then writes a checkpoint
# when its pod is deleted.
RUN = 'setsid sh "$0" & job=$!; trap "kill -TERM -$job; wait $job" TERM; wait $job'
GRACE_SECONDS = 120


def job(arguments: argparse.Namespace) -> dict:
    """Return the description of the Job that runs the script."""
    needs = {
        "cpu": arguments.cpus,
        "memory": f"{arguments.memory}M",
        **({"nvidia.com/gpu": arguments.gpus} if arguments.gpus else {}),
    }
    folder = os.getcwd()
    container = {
        "name": "job",
        "image": arguments.image,
        "command": ["sh", "-c", RUN, arguments.script],
        "workingDir": folder,
        # The image has the packages of requirements.txt; the library comes from the volume.
        "env": [{"name": "PYTHONPATH", "value": f"{folder}/workflow_scripts"}],
        "resources": {"requests": needs, "limits": needs},
        "volumeMounts": [
            {"name": "project", "mountPath": folder},
            {"name": "memory", "mountPath": "/dev/shm"},
        ],
    }
    if arguments.secret:
        container["envFrom"] = [{"secretRef": {"name": arguments.secret}}]
    volumes = [
        {"name": "project", "persistentVolumeClaim": {"claimName": arguments.claim}},
        # Data-loading processes hand over images in shared memory; a container has only 64 MB.
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    pod = {
        # A limit of the pod, because that of the Job would include the time in the queue.
        "activeDeadlineSeconds": arguments.minutes * 60,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "restartPolicy": "Never",  # Snakemake submits a failed job again, with more memory
        "securityContext": {"runAsUser": os.getuid(), "runAsGroup": os.getgid()},
        "containers": [container],
        "volumes": volumes,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"i2crc-{arguments.rule.replace('_', '-')}-"},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 24 * 3600,
            "template": {"spec": pod},
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True, help="container image built from envs/Dockerfile")
    parser.add_argument("--claim", required=True, help="claim of the project's volume")
    parser.add_argument("--secret", default="", help="secret whose entries become environment")
    parser.add_argument("--rule", required=True)
    parser.add_argument("--cpus", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True, help="in MB")
    parser.add_argument("--gpus", type=int, required=True)
    parser.add_argument("--minutes", type=int, required=True)
    parser.add_argument("script")
    command = ["kubectl", "create", "--output", "name", "--filename", "-"]
    description = json.dumps(job(parser.parse_args()))
    sys.exit(subprocess.run(command, input=description, text=True).returncode)
