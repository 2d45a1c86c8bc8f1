"""Pictures by the model: samples with fixed seeds, contact sheets, the forgetting report."""
