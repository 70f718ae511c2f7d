"""Knowledge of a pool without its hidden labels: the view, distances, clusters, partitions, walks."""
