"""What learning, keeping and forgetting mean in numbers; needs numpy alone."""
