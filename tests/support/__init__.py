"""Real parts for tests: servers on real ports, a guard for their event loops, scripts for the scripted engine."""
