"""The keeper: which of a semester's two sites may write, and what the other one holds of it.

One container beside the hub on each site (`python3 -m hubconfig.keeper run`). Standard library only.
"""
