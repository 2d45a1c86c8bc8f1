"""The evolving model on the disk: reading it, folding adapters into it, keeping what rounding loses."""
