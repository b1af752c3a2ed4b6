"""The abuse catalogue, row by row: what a hostile or careless client may do, and that nothing of it lasts."""
