"""The use case: check, deltas, fold, chunks. No HTTP, no llama.cpp, no SQL."""
