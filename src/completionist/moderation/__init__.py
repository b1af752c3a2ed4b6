"""What judges texts: an endpoint elsewhere, or a model of this server (contract 8.10)."""
