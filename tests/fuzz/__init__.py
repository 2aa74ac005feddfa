"""Everything that is handed to the program, broken in every way at hand: no input may raise
anything but UserError, and none may hang. ``make fuzz`` runs many more of them than CI does."""
