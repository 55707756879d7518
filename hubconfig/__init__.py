"""What runs on the hub: JupyterHub's configuration and the parts of it that are code.

Nothing here imports the infrastructure packages; what the hub needs to know arrives as one settings file
(`settings.py`).
"""
