"""Jobs and their launch forms: `retrain`, and the jobs of the registry."""
