"""What an objective would have meant: the answers that the journal still has, judged again by other objectives.

`minutes` counts answers, `rules` says when the alerts of `prometheus/rules` would have fired over them, `suggestion`
compares objectives and proposes one. No I/O: `commands/slo.py` reads the journal and prints.
"""
