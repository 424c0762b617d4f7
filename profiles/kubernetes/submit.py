"""Send a job script to Kubernetes as a Job, and print its name.

The volume is mounted where the project lies for the process that calls this, so that every path
means the same to both.
"""

import argparse
import json
import os
import subprocess
import sys

# The first process of a container has to pass signals on itself: a training then writes a
# checkpoint when its pod is taken away.
RUN = 'setsid sh "$0" & job=$!; trap "kill -TERM -$job; wait $job" TERM; wait $job'
GRACE_SECONDS = 120


def job(arguments: argparse.Namespace) -> dict:
    """The Job that runs the script."""
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
        # Data-loading processes hand images over in it; a container has 64 MB of its own.
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    pod = {
        # Of the pod, not of the Job, whose time would run while it waits for a place.
        "activeDeadlineSeconds": arguments.minutes * 60,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "restartPolicy": "Never",  # Snakemake sends a job again, with more memory
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
    parser.add_argument("--image", required=True, help="container image of envs/Dockerfile")
    parser.add_argument("--claim", required=True, help="claim of the volume of the project")
    parser.add_argument("--secret", default="", help="secret whose entries become environment")
    parser.add_argument("--rule", required=True)
    parser.add_argument("--cpus", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True, help="in MB")
    parser.add_argument("--gpus", type=int, required=True)
    parser.add_argument("--minutes", type=int, required=True)
    parser.add_argument("script")
    command = ["kubectl", "create", "--output", "name", "--filename", "-"]
    given = json.dumps(job(parser.parse_args()))
    sys.exit(subprocess.run(command, input=given, text=True).returncode)
