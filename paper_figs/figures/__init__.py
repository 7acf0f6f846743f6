"""One figure a file, named like it: SECTION, TITLE, COMMAND, compute, caption and draw."""
