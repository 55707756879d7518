"""An Azure Resource Manager to try things on: a server on loopback that answers in ARM's shape and refuses what ARM refuses.

It knows the rules that matter to a deployment (names, parents, references, address ranges, what is in use, what is
deleted only softly), keeps its resources on disk, and runs nothing: a virtual machine here is a JSON document. What it
accepts is therefore no proof that Azure will; what it refuses, Azure refuses as well. Each rule names its source.

    arm.py      what a request means: create, look, update, delete, list, act
    kinds/      the resource types, one table a family
    store.py    resources on disk
    http.py     the wire: versions, errors, operations that take time
    data.py     the data planes: secrets of vaults, blobs of storage accounts
    login.py    cloud metadata and tokens, so that clients find everything by themselves
"""
