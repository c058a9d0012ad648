"""The coordinator: rounds, aggregation, learners, checkpoints."""
