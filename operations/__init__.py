"""What the tasks do. Each module is importable and tested on its own; `tasks.py` only calls in here."""
