"""Raw files of every format as rows, split into days."""
