"""Inference with llama.cpp: the only package that loads the native library, and only inside a worker process."""
