"""Kubernetes: the few calls that toil types need, as plain objects, with the library's errors translated.

::

    cluster = kube.connect(entry, observing=False, secrets=aws.secret)
    node = cluster.node("worker-1")
    for pod in cluster.pods(node="worker-1"):
        cluster.evict(pod.namespace, pod.name, pod.uid)

`kubernetes` is imported at the first call, and only its raw `ApiClient`: the typed models cost half a second and 600 MB
at ten thousand pods.
"""

from paydown.clients.kube.cluster import Blocked, ClusterApi, Evicted, Gone, Refused
from paydown.clients.kube.credentials import connect
from paydown.clients.kube.objects import CORDONED_AT, CORDONED_BY, OPT_OUT, NodeState, Owner, Pod

__all__ = [
    "CORDONED_AT",
    "CORDONED_BY",
    "OPT_OUT",
    "Blocked",
    "ClusterApi",
    "Evicted",
    "Gone",
    "NodeState",
    "Owner",
    "Pod",
    "Refused",
    "connect",
]
