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
from paydown.clients.kube.healers import at_work, native_healer
from paydown.clients.kube.objects import CORDONED_AT, CORDONED_BY, OPT_OUT, STOPPED, NodeState, Owner, Pod
from paydown.clients.kube.pools import pool
from paydown.clients.kube.rights import OPERATOR, READER, Right

__all__ = [
    "CORDONED_AT",
    "CORDONED_BY",
    "OPERATOR",
    "OPT_OUT",
    "READER",
    "STOPPED",
    "Blocked",
    "ClusterApi",
    "Evicted",
    "Gone",
    "NodeState",
    "Owner",
    "Pod",
    "Refused",
    "Right",
    "at_work",
    "connect",
    "native_healer",
    "pool",
]
