"""Figures as ratios taken in one run on an idle machine: `python -m bench`, or `python -m bench.NAME` for one of them."""
