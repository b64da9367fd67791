"""What Kubernetes' Pod Security Standards ask of a pod under "restricted", and more: a root file system that is read-only."""


def assert_restricted(pod):
    """`pod`: a PodSpec."""
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & set(pod)
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] > 0 and context["runAsGroup"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all({"persistentVolumeClaim", "emptyDir"} & set(volume) for volume in pod["volumes"])
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        tag = container["image"].rpartition(":")[2]
        assert tag[0].isdigit() and "/" not in tag
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
        assert not any("hostPort" in port for port in container["ports"])
