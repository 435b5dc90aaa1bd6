"""Everything in the cluster that acts by itself: kubelets, scheduler, controllers.

One thread runs them all, in a fixed order, whenever an object changed or a delay ran out, so that the same input gives
the same cluster.
"""
