"""One figure a file, named like it: SECTION, TITLE, COMMAND, compute, caption, draw; CLAIMS if it has any."""
