"""The read model: status, targets, flows, metrics, logs and findings of a running lab, for every reader alike."""
