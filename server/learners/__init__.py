"""What the coordinator learns from noisy answers, one learner for each kind of model."""
