"""How a comparison is run: steps that are stored and resumed, locks, progress, cost, provenance."""
