"""Inputs that nobody thought of: the published document, the machines that read answers, and requests beside each other.

Short forms run with every `make test`; `make fuzz` goes on for as long as it is given.
"""
