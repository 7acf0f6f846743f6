"""What every layer shares: input, command lines, numbers and tables as text, files and who owns them."""
