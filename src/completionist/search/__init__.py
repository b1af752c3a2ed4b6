"""Where sources are found: a SearXNG, or an index of the operator's own documents."""
