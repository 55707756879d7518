"""The node agent: what runs on every machine of a semester, on every cloud.

Standard library only, Python 3.9+: it arrives inside the user-data as one zip application
(see :mod:`components.cloud_init`) and is installed as ``/usr/local/sbin/semesterhub-node``.
"""
