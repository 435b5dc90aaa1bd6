"""A stand-in Kubernetes cluster: the API over HTTP, with simulated kubelets and controllers.

Run it with `python -m local.cluster`. From the ground up: `failures`, `kinds`, `selectors`, `merging`, `patches` and
`fields` are pure; `store` keeps the objects; `api`, `deletion`, `eviction`, `apply`, `watches` are what an API server
does with them; `router` and `web` speak HTTP; `controllers/` is everything that acts by itself; `cluster` puts it all
together. docs/stand-in-cluster.md says what is imitated and what is not.
"""
