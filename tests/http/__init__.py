"""Everything between the socket and a backend, through a real port."""
