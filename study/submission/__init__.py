"""Studies submitted to Ray clusters and Kubernetes."""
