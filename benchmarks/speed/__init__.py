"""What training costs, beside other checkouts and beside other people's code: `python -m benchmarks.speed`.

`plain.py` is the loop that a careful person writes; the code of other projects stays outside of this one, in folders
that options name.
"""
