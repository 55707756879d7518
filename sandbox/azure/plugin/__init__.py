"""A stand-in for Pulumi's provider `azure-native`, for --sandbox only.

It speaks to an ARM emulator on loopback and to nothing else. What a resource type's inputs are it reads from the
installed SDK (`sdk.py`); where they go in ARM's documents is in `table.py` and `bodies.py`; which of them cannot change
in place is in `force_new.py`. The official provider knows all this from Azure's specifications: a green sandbox does
not prove that it agrees.
"""
