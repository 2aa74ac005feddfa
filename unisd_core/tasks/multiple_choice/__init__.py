"""Multiple-choice tasks: a prompt with lettered options, the letter as metric."""
