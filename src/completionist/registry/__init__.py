"""The models of a server: found, loaded on first use, shared, let go again, and called by other names."""
