"""The invented tools, one module per domain; a tool in ``HELD_OUT`` is never seen in training."""
