"""What pictures and the report show, in numbers: plain functions, and nothing that draws."""
