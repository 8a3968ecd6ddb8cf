"""Question sets as their authors publish them, each question with the category of what it demands. One file per data set."""
