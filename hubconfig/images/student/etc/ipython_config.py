"""IPython for students: nothing in it may keep SQLite on the shared home."""

c = get_config()  # noqa: F821  # pyright: ignore
# History in SQLite on NFS locks up and corrupts (homes are shared storage).
c.HistoryManager.enabled = False
