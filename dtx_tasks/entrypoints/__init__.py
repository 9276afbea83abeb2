"""What a container runs: a stage and the URI of its document in, an exit code out."""
